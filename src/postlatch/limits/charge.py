"""What an action costs whom, and what the limiter says to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from postlatch.limits.limit import Limit

CLIENT: Final = "client"
NETWORK: Final = "network"
SENDER_DOMAIN: Final = "sender_domain"
DOMAINS: Final = "domains"  # the kind that counts different ones

# Their keys are chosen by others: there may be any number, and the longest unused are forgotten when there are too many.
FORGETTABLE: Final = frozenset({CLIENT, NETWORK, SENDER_DOMAIN})

NOTHING: Final[frozenset[str]] = frozenset()


@dataclass(init=False, slots=True, unsafe_hash=True)
class Charge:
    """What one action costs one key.

    ``scope`` is ``account``, ``credential``, ``right``, ``sender_domain``, ``client``, ``network`` or ``relay``; ``key`` the
    login, the right's name, the client's prefix and so on; ``kind`` ``messages``, ``recipients``, ``new_recipients``,
    ``bytes``, ``domains``, ``commands`` or ``auth_failures``. ``scope`` and ``kind`` hold no space. Pass the same ``limits``
    tuple each time (a setting's, not a copy): it is compared by identity first. A ``cost`` below 1 always fits and counts
    nothing. Of ``domains`` the cost is how many ``items`` there are. ``full_key`` is (scope, key, kind).
    """

    full_key: tuple[str, str, str]
    scope: str
    key: str
    kind: str
    limits: tuple[Limit, ...]
    cost: int
    items: frozenset[str]

    def __init__(
        self, scope: str, key: str, kind: str, limits: tuple[Limit, ...], cost: int = 1, items: frozenset[str] = NOTHING
    ) -> None:
        self.full_key = (scope, key, kind)
        self.scope = scope
        self.key = key
        self.kind = kind
        self.limits = limits
        self.cost = cost
        self.items = items


class Reached(NamedTuple):
    """A limit that is spent, or whose count is not known.

    ``name`` is like ``account messages 30/minute``, and ``key`` whose. ``retry_at`` (seconds since 1970) is the first time at
    which the same charges fit, if nothing else is charged meanwhile. ``day_spent`` is true if that limit is one of a day.
    ``hold``: every limit in the way says to accept and hold. ``unknown``: nothing is spent as far as memory says, but the
    count was lost or cannot be kept, and the limit says to wait then.
    """

    name: str
    retry_at: float
    day_spent: bool
    hold: bool = False
    unknown: bool = False
    key: str = ""


class Warned(NamedTuple):
    """So much was counted that somebody should look. ``seconds`` is the length of the window, ``amount`` what is permitted."""

    scope: str
    key: str
    kind: str
    limit: Limit
    used: int


class Usage(NamedTuple):
    """How full one limit of one key is. ``retry_at`` is 0.0 while one more fits."""

    scope: str
    key: str
    kind: str
    limit: Limit
    used: int
    retry_at: float
    warned_at: float
