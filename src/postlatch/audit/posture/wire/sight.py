"""What was seen of TLS at one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from postlatch.audit.posture.wire.answer import ServerHello
from postlatch.audit.posture.wire.line import Failure, Greeting, Place


class Outcome(StrEnum):
    """How a server took an offer. ``closed``: without a word, which many do to refuse. ``unseen``: nothing is known."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    CLOSED = "closed"
    UNSEEN = "unseen"


class Heard(NamedTuple):
    """The answer to one hello. ``why`` for what was not seen."""

    outcome: Outcome
    hello: ServerHello | None = None
    why: str = ""


class Trust(NamedTuple):
    """Whether the chain leads to an authority of this machine: None if that was not seen. ``code`` is OpenSSL's."""

    good: bool | None = None
    code: int = 0
    why: str = "no handshake was completed"


UNASKED: Final = Heard(Outcome.UNSEEN, why="it was not asked")
NOBODY: Final = Greeting()
_UNTRIED: Final = Trust()


@dataclass(slots=True)
class Sight:
    """All of it. ``failure``: there was no TLS to look at. ``weak`` has the answers to each family of suites."""

    place: Place
    greeting: Greeting = NOBODY
    failure: Failure | None = None
    versions: dict[int, Heard] = field(default_factory=dict)
    weak: dict[str, list[Heard]] = field(default_factory=dict)
    finite_field: Heard = UNASKED
    reordered: Heard = UNASKED
    control: Heard = UNASKED
    leaf: bytes = b""
    chain: tuple[bytes, ...] = ()
    trust: Trust = _UNTRIED

    @property
    def accepted(self) -> tuple[int, ...]:
        """The versions that it takes, old ones first."""
        return tuple(sorted(v for v, heard in self.versions.items() if heard.outcome is Outcome.ACCEPTED))

    @property
    def old(self) -> tuple[int, ...]:
        """Those of them whose suites can be asked for one by one: all but TLS 1.3."""
        return tuple(version for version in self.accepted if version < 0x0304)

    def is_no(self, heard: Heard) -> bool:
        """A refusal for certain. A closed connection is one if the server still takes a good offer afterwards."""
        closed = heard.outcome is Outcome.CLOSED and self.control.outcome is Outcome.ACCEPTED
        return closed or heard.outcome is Outcome.REFUSED
