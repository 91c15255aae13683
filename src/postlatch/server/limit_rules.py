"""The parsed ``[limits.*]`` tables: who has which limits, and how those of a new account grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from postlatch.limits.charge import DOMAINS
from postlatch.limits.limit import DAY, Limit, scaled

# What a message costs a client; the other kinds of its table are charged as they happen.
OF_MAIL: Final = frozenset({"messages", "recipients", "new_recipients", "bytes", DOMAINS})

Table = Mapping[str, tuple[Limit, ...]]  # by kind: messages, recipients…


@dataclass(frozen=True, slots=True)
class WarmUp:
    """A new account begins with ``share`` percent of its limits, and gets an equal part of the rest each day."""

    seconds: float = 0.0
    share: int = 20

    def percent(self, age: float) -> int:
        """How much of its limits an account of that age has. A time of birth in the future (the clock went back) is now."""
        if age >= self.seconds:
            return 100
        steps = max(1, -(-int(self.seconds) // DAY))
        step = min(max(age, 0.0) // DAY, steps - 1)
        return int(self.share + (100 - self.share) * step / steps)


@dataclass(frozen=True, slots=True)
class LimitRules:
    """Each table maps a kind to its limits; a kind without limits is not in it."""

    account: Table = field(default_factory=dict)
    right: Table = field(default_factory=dict)
    rights: Mapping[str, Table] = field(default_factory=dict)  # by name, where a right has its own
    client: Table = field(default_factory=dict)
    connections: int = 50
    network_connections: int = 0  # 0: four times ``connections``
    credential: Table = field(default_factory=dict)
    sender_domain: Table = field(default_factory=dict)
    network: Table = field(default_factory=dict)
    relay: Table = field(default_factory=dict)
    warm_up: WarmUp = WarmUp()
    # What RCPT asks before it counts anything: is there a limit on domains that refuses, or one of clients on mail?
    bounds_domains: bool = field(init=False, default=False)
    bounds_clients: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        tables = [self.account, self.credential, self.right, *self.rights.values(), self.sender_domain, self.client]
        domains = any(limit.hard for table in [*tables, self.network, self.relay] for limit in table.get(DOMAINS, ()))
        object.__setattr__(self, "bounds_domains", domains)
        object.__setattr__(self, "bounds_clients", bool(self.network) or not OF_MAIL.isdisjoint(self.client))

    def of(self, scope: str, key: str, kind: str) -> tuple[Limit, ...]:
        """The limits that one key has; empty if there is none. Those of an account without regard to its age."""
        tables: dict[str, Table] = {
            "account": self.account,
            "credential": self.credential,
            "right": self.rights.get(key, self.right),
            "sender_domain": self.sender_domain,
            "client": self.client,
            "network": self.network,
            "relay": self.relay,
        }
        return tables.get(scope, {}).get(kind, ())

    def at_age(self, limits: tuple[Limit, ...], age: float) -> tuple[Limit, ...]:
        """An account's limits at that age."""
        percent = self.warm_up.percent(age)
        return limits if percent == 100 else _share(limits, percent)


@lru_cache(maxsize=1024)
def _share(limits: tuple[Limit, ...], percent: int) -> tuple[Limit, ...]:
    """Cached, so that the limiter sees the same tuple each time."""
    return scaled(limits, percent)
