"""Greylisting: the first mail of a sender to a recipient is asked to come back. All in memory; time is an argument. RFC 6647.

What comes from one network, or from one domain for which SPF passes, is one group: who sends from many addresses comes back
from another one. A group that came back often enough is let through.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeVar

from postlatch.model.address import Address
from postlatch.model.envelope import IPAddress
from postlatch.policy.networks import IPNetwork
from postlatch.store.greylist import Changes, Group, Kept, Triplet

Key = tuple[str, str, str]
T = TypeVar("T")
_DIGITS: Final = re.compile(r"[0-9]+")
_COUNTED: Final = 3600.0  # seconds between two successes of a group that count
STEP: Final = 1000  # entries that are written at once: mail has its turn between two steps
MOST_OF_GROUP: Final = 1000  # that wait: more is no mail server's queue
_LONGEST: Final = 320  # characters of an address


@dataclass(frozen=True, slots=True)
class GreylistRules:
    """The ``[greylisting]`` table. Times in seconds. ``least``: the score from which on a stranger is greylisted; None: any."""

    delay: float = 300.0
    window: float = 2 * 86_400.0
    keep: float = 35 * 86_400.0
    allow_after: int = 5
    most: int = 50_000
    least: int | None = None
    exempt: tuple[IPNetwork, ...] = ()
    exempt_domains: frozenset[str] = frozenset()


def group_of(client: IPAddress, spf_domain: str) -> str:
    """The domain for which SPF passed, else the client's /24 or /64."""
    if spf_domain:
        return f"spf:{spf_domain}"
    if isinstance(client, IPv4Address):
        return f"{IPv4Address(int(client) >> 8 << 8)}/24"
    return f"{IPv6Address(int(client) >> 64 << 64)}/64"


def sender_key(sender: Address | None) -> str:
    """One form for all messages of a sender: without tags, and without the numbers that lists put into return paths (VERP)."""
    if sender is None:
        return ""
    local = _DIGITS.sub("#", sender.local.lower().partition("+")[0])
    return _storable(f"{local}@{sender.domain}")


def _storable(text: str) -> str:
    return text[:_LONGEST].encode("utf-8", "backslashreplace").decode("utf-8")


class Greylist:
    """All that is remembered, in bounded memory. ``changes`` gives what is to be written to disk."""

    def __init__(self, rules: GreylistRules) -> None:
        self.rules = rules
        self._waiting: OrderedDict[Key, Triplet] = OrderedDict()  # the oldest first
        self._passed: OrderedDict[Key, Triplet] = OrderedDict()  # the least recently used first
        self._groups: OrderedDict[str, Group] = OrderedDict()  # the least recently used first
        self._of_group: dict[str, int] = {}  # how many of it wait
        self._changed: set[Key] = set()
        self._changed_groups: set[str] = set()
        self._gone: set[Key] = set()
        self._gone_groups: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._passed)

    def load(self, kept: Kept) -> None:
        """Take up what was kept, before anything else."""
        for one in sorted(kept.triplets, key=lambda one: one.first_at):
            if not one.passed:
                self._wait(one)
        self._passed.update((one.key, one) for one in kept.triplets if one.passed)
        self._groups.update((group.group, group) for group in kept.groups)

    def judge(self, group: str, sender: Address | None, recipient: Address, now: float) -> float | None:
        """When this sender may come back, or None if the mail may go on now."""
        if self._is_allowed(group, now):
            return None
        key = (group, sender_key(sender), _storable(recipient.key))
        if (passed := self._passed.get(key)) is not None and now - passed.last_at <= self.rules.keep:
            self._pass(passed._replace(last_at=now))
            return None
        waiting = self._waiting.get(key)
        if waiting is None or now - waiting.first_at > self.rules.window or now < waiting.first_at:
            return self._begin(Triplet(*key, now, now, False), now)
        if now < waiting.first_at + self.rules.delay:
            return waiting.first_at + self.rules.delay
        self._drop(key)
        self._pass(waiting._replace(last_at=now, passed=True))
        self._succeed(group, now)
        return None

    def _is_allowed(self, group: str, now: float) -> bool:
        found = self._groups.get(group)
        if found is None or found.successes < self.rules.allow_after or now - found.last_at > self.rules.keep:
            return False
        if now - found.last_at > self.rules.keep / 100:  # not a write for each message
            self._keep_group(found._replace(last_at=now))
        return True

    def _begin(self, one: Triplet, now: float) -> float:
        self._drop(one.key)
        if self._of_group.get(one.group, 0) < MOST_OF_GROUP:
            while len(self) >= self.rules.most:
                self._forget(next(iter(self._waiting or self._passed)))
            self._wait(one)
            self._changed.add(one.key)
            self._gone.discard(one.key)
        return now + self.rules.delay

    def _wait(self, one: Triplet) -> None:
        self._waiting[one.key] = one
        self._of_group[one.group] = self._of_group.get(one.group, 0) + 1

    def _drop(self, key: Key) -> None:
        if self._waiting.pop(key, None) is not None:
            left = self._of_group.get(key[0], 1) - 1
            if left:
                self._of_group[key[0]] = left
            else:
                del self._of_group[key[0]]

    def _pass(self, one: Triplet) -> None:
        self._passed[one.key] = one
        self._passed.move_to_end(one.key)
        self._changed.add(one.key)
        self._gone.discard(one.key)

    def _succeed(self, group: str, now: float) -> None:
        found = self._groups.get(group, Group(group, 0, 0.0, now))
        if now - found.last_at > self.rules.keep:
            found = Group(group, 0, 0.0, now)
        if found.successes == 0 or abs(now - found.counted_at) >= _COUNTED:
            found = found._replace(successes=found.successes + 1, counted_at=now)
        self._keep_group(found._replace(last_at=now))

    def _keep_group(self, group: Group) -> None:
        self._groups[group.group] = group
        self._groups.move_to_end(group.group)
        self._changed_groups.add(group.group)
        self._gone_groups.discard(group.group)
        while len(self._groups) > self.rules.most:
            self._forget_group(next(iter(self._groups)))

    def _forget(self, key: Key) -> None:
        self._drop(key)
        self._passed.pop(key, None)
        self._changed.discard(key)
        self._gone.add(key)

    def _forget_group(self, group: str) -> None:
        self._groups.pop(group, None)
        self._changed_groups.discard(group)
        self._gone_groups.add(group)

    def forget(self, group: str) -> int:
        """All of one group, as if it had never been seen; how many entries."""
        keys = [key for table in (self._waiting, self._passed) for key in table if key[0] == group]
        for key in keys:
            self._forget(key)
        known = group in self._groups
        self._forget_group(group)
        return len(keys) + known

    def prune(self, now: float) -> None:
        """Forget from memory what has lapsed; what is on disk is pruned there."""
        while self._waiting and now - next(iter(self._waiting.values())).first_at > self.rules.window:
            self._drop(next(iter(self._waiting)))
        while self._passed and now - next(iter(self._passed.values())).last_at > self.rules.keep:
            self._passed.popitem(last=False)
        while self._groups and now - next(iter(self._groups.values())).last_at > self.rules.keep:
            self._groups.popitem(last=False)

    def listed(self) -> Iterable[Triplet]:
        """All entries, those that wait first."""
        yield from self._waiting.values()
        yield from self._passed.values()

    def allowed(self, now: float) -> list[Group]:
        """The groups that are let through."""
        least, keep = self.rules.allow_after, self.rules.keep
        return [group for group in self._groups.values() if group.successes >= least and now - group.last_at <= keep]

    def changes(self, most: int = STEP) -> Changes:
        """What is to be written, ``most`` of a kind at a time; it counts as written now."""
        tables = (self._waiting, self._passed)
        triplets = tuple(table[key] for key in _taken(self._changed, most) for table in tables if key in table)
        groups = tuple(self._groups[group] for group in _taken(self._changed_groups, most) if group in self._groups)
        return Changes(triplets, groups, tuple(_taken(self._gone, most)), tuple(_taken(self._gone_groups, most)))

    def unwritten(self, changes: Changes) -> None:
        """They could not be written after all: try again with the next."""
        self._changed |= {one.key for one in changes.triplets}
        self._changed_groups |= {one.group for one in changes.groups}
        self._gone |= set(changes.gone)
        self._gone_groups |= set(changes.gone_groups)


def _taken(changed: set[T], most: int) -> list[T]:
    return [changed.pop() for _ in range(min(most, len(changed)))]
