"""Dangers in the rest of a right: where it holds, for whom, until when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import isfinite

from postlatch.model.address import AddressError, parse_address
from postlatch.model.envelope import Destination, Role
from postlatch.policy.danger_context import Danger, DangerContext, quoted
from postlatch.policy.replies import rfc3339
from postlatch.policy.snapshot import Snapshot


def names(snapshot: Snapshot, _context: DangerContext) -> Iterator[Danger]:
    """Each right has a name of its own: grants and the journal refer to it."""
    seen: set[str] = set()
    for right in snapshot.rights:
        if not right.name:
            yield Danger("rights", 'a right has no name: write name = "…", so that a grant can refer to it')
        elif right.name in seen:
            yield Danger(f"rights.{quoted(right.name)}", f"two rights are named {right.name}: give each a name of its own")
        seen.add(right.name)


def expiry(snapshot: Snapshot, context: DangerContext) -> Iterator[Danger]:
    """A right ends; one that has ended keeps no server down."""
    for right in snapshot.rights:
        key = f"rights.{quoted(right.name)}.expires"
        if not isfinite(right.expires):
            yield Danger(key, f"the right {right.name} never expires: give it a date, and renew it")
        elif context.now >= right.expires:
            when = rfc3339(right.expires)
            yield Danger(key, f"the right {right.name} expired at {when}: renew it or remove it", fatal_at_start=False)


def listeners(snapshot: Snapshot, _context: DangerContext) -> Iterator[Danger]:
    """A right holds on named listeners of role ``relay``, and nowhere else."""
    for right in snapshot.rights:
        key = f"rights.{quoted(right.name)}.listeners"
        if not right.listeners:
            yield Danger(key, f"the right {right.name} names no listener: name those of role relay where it holds")
        for name in sorted(right.listeners):
            listener = snapshot.listeners.get(name)
            if listener is None:
                yield Danger(key, f"the right {right.name} names the listener {name}, which does not exist")
            elif listener.role is not Role.RELAY:
                message = f"the right {right.name} names the listener {name} of role {listener.role}: a right needs role relay"
                yield Danger(key, message)


def networks(snapshot: Snapshot, _context: DangerContext) -> Iterator[Danger]:
    """A right without a network says nothing."""
    for right in snapshot.rights:
        if not right.networks:
            key = f"rights.{quoted(right.name)}.networks"
            yield Danger(key, f"the right {right.name} lists no network: list the addresses that may send, or remove it")


def patterns(snapshot: Snapshot, _context: DangerContext) -> Iterator[Danger]:
    """A pattern is an address, a domain after ``@``, or ``<>``; anything else would never match, or seem to match more."""
    for right in snapshot.rights:
        key = f"rights.{quoted(right.name)}"
        yield from _patterns(f"the right {right.name}", f"{key}.senders", right.senders, null=True)
        yield from _patterns(f"the right {right.name}", f"{key}.recipients", right.recipients, null=False)
    for account in snapshot.accounts.values():
        key = f"accounts.{quoted(account.login)}.send_as"
        yield from _patterns(f"the account {account.login}", key, sorted(account.send_as), null=True)


def rewriting(snapshot: Snapshot, _context: DangerContext) -> Iterator[Danger]:
    """What replaces a From is an address of ours, and one that the right may send as."""
    for right in snapshot.rights:
        key = f"rights.{quoted(right.name)}.rewrite_from"
        domain = right.rewrite_from.rpartition("@")[2]
        if not right.rewrite_from:
            continue
        if snapshot.classify(domain) is not Destination.LOCAL:
            message = f"the right {right.name} writes {right.rewrite_from!a} into From: name an address of a domain of ours"
            yield Danger(key, message)
        elif right.sender_keys and right.sender_keys.isdisjoint({right.rewrite_from.lower(), f"@{domain.lower()}"}):
            yield Danger(key, f"the right {right.name} writes {right.rewrite_from!a} into From: add it to its senders")


def _patterns(owner: str, key: str, given: Iterable[str], *, null: bool) -> Iterator[Danger]:
    for pattern in given:
        if "*" in pattern:
            yield Danger(key, f"{owner} lists {pattern!a}, and a pattern has no wildcard: write ADDRESS or @DOMAIN")
        elif not (null and pattern == "<>") and not _is_pattern(pattern):
            yield Danger(key, f"{owner} lists {pattern!a}, which is neither ADDRESS nor @DOMAIN in lower-case ASCII form")


def _is_pattern(pattern: str) -> bool:
    text = f"x{pattern}" if pattern.startswith("@") else pattern
    try:
        address = parse_address(text, smtputf8=True)
    except AddressError:
        return False
    # A domain is compared as it is written here: a U-label would never match.
    return address.key == text.lower()


RIGHT_CHECKS = (names, expiry, listeners, networks, patterns, rewriting)
