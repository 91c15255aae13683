"""What one session showed of who its client is: for whoever watches whether addresses are true."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from postlatch.model.envelope import IPAddress


class Header(StrEnum):
    """What there was of the PROXY protocol. The last two name the sender of the header or of what came instead of it."""

    NONE = "none"  # neither expected nor sent
    TRUSTED = "trusted"  # the client's address is what a listed proxy says
    ANONYMOUS = "anonymous"  # from a listed proxy that names no client (LOCAL, UNKNOWN)
    MISSING = "missing"  # a listed proxy sent none, or none that is valid
    UNEXPECTED = "unexpected"  # sent where none is expected


class Sighting(NamedTuple):
    """One session, at its end. ``helo`` is what the client said last, empty if it said nothing; ``account`` likewise."""

    listener: str
    client: IPAddress
    helo: str = ""
    account: str = ""
    header: Header = Header.NONE
    proxy: str = ""
