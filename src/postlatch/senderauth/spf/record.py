"""A record as it was parsed: what it says, without who asks."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from postlatch.senderauth.results import Result
from postlatch.senderauth.spf.macro import DomainSpec


class Kind(Enum):
    """The mechanisms; the value is the section of RFC 7208."""

    ALL = "5.1"
    INCLUDE = "5.2"
    A = "5.3"
    MX = "5.4"
    PTR = "5.5"
    IP4 = "5.6, ip4"
    IP6 = "5.6, ip6"
    EXISTS = "5.7"

    @property
    def section(self) -> str:
        """Where it is defined."""
        return self.value[:3]


class Mechanism(NamedTuple):
    """One directive. ``text`` is the term as it stands in the record, with its qualifier.

    ``result`` is what its qualifier says of a match. ``spec`` is None where the name is that of the record itself. ``network``
    is the number of an ip4 or ip6; ``prefix4`` and ``prefix6`` are lengths in bits.
    """

    kind: Kind
    result: Result
    text: str
    spec: DomainSpec | None = None
    network: int = 0
    prefix4: int = 32
    prefix6: int = 128


class Record(NamedTuple):
    """``redirect_text`` is that modifier as it stands in the record."""

    mechanisms: tuple[Mechanism, ...]
    redirect: DomainSpec | None
    redirect_text: str
    explanation: DomainSpec | None
