"""What widens an account's addresses, as data: delegations that end, and aliases that lead to its own mailbox."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

NO_ALIASES: Final = "no"
OWN_ALIASES: Final = "own"
SHARED_ALIASES: Final = "shared"
FIXES: Final = frozenset({"date", "message-id"})


@dataclass(frozen=True, slots=True)
class Delegation:
    """``login`` may send as ``address`` until ``expires``: the first second that is too late, UTC. ``owner`` vouches for it."""

    login: str
    address: str
    owner: str
    expires: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "address", self.address.lower())

    @property
    def name(self) -> str:
        """What commands, reminders and the journal call it."""
        return f"{self.login} as {self.address}"


@dataclass(frozen=True, slots=True)
class Submission:
    """How mail of accounts is tied and mended.

    ``aliases``: may an account send as an alias that leads to its own mailbox? ``no``; ``own``: to it alone; ``shared``: also
    to others. ``fix`` holds what is added where it is missing; ``rewrite_from`` by login the address that replaces a From
    which the account may not use.
    """

    aliases: str = NO_ALIASES
    fix: frozenset[str] = FIXES
    rewrite_from: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rewrite_from", MappingProxyType(dict(self.rewrite_from)))
