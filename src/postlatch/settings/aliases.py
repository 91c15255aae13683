"""Aliases lead to mailboxes of our own: not abroad (that is forwarding), not into nothing, not in a circle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from postlatch.model.address import AddressError, parse_address
from postlatch.settings.kinds import quote, suggest
from postlatch.settings.origin import Origin
from postlatch.settings.problem import Problem
from postlatch.settings.raw import domain_tables, sub_table, texts
from postlatch.settings.tomlines import KeyPath
from postlatch.settings.values import parse_alias_name, parse_alias_target, whole_address


@dataclass(frozen=True, slots=True)
class _Domain:
    """``mailboxes`` is None where the next hop is asked. ``aliases`` map a local part to whole addresses, all lower case."""

    mailboxes: frozenset[str] | None
    aliases: Mapping[str, tuple[str, ...]]

    def knows(self, local: str) -> bool:
        plain = local.partition("+")[0]
        named = self.mailboxes is None or bool({local, plain} & (self.mailboxes | self.aliases.keys()))
        return named or "*" in self.aliases or local == "postmaster"


def check_aliases(origin: Origin) -> Iterator[Problem]:
    """Every alias that leads nowhere good."""
    domains = {domain: _read(domain, table) for _, domain, table in domain_tables(origin.data, "domains")}
    for raw, domain, table in domain_tables(origin.data, "domains"):
        yield from _repeated(origin, raw, table)
        for name, targets in sub_table(table, "aliases").items():
            path: KeyPath = ("domains", raw, "aliases", name)
            faults = [
                fault
                for place, target in texts(targets)
                if (fault := _target_fault(origin, (*path, place), target, domain, domains))
            ]
            yield from faults
            if targets == []:
                yield origin.problem(path, "leads nowhere: name the mailboxes that get its mail")
            elif not faults and not _reaches_mailbox(f"{_local(name)}@{domain}", domains):
                yield origin.problem(path, "leads only to itself: name a mailbox that gets its mail")


def _read(domain: str, table: Mapping[str, Any]) -> _Domain:
    listed = table.get("recipients", [])
    aliases = {
        _local(name): tuple(filter(None, (_key(target, domain) for _, target in texts(targets))))
        for name, targets in sub_table(table, "aliases").items()
    }
    return _Domain(frozenset(_local(text) for _, text in texts(listed)) if isinstance(listed, list) else None, aliases)


def _local(text: str) -> str:
    """A local part as it is compared; what is none stays as it is, and is reported elsewhere."""
    try:
        return parse_alias_name(text)
    except ValueError:
        return text


def _key(target: str, domain: str) -> str:
    """The target as lower-case ``local@domain``, empty if it is no address."""
    try:
        return parse_address(whole_address(parse_alias_target(target), domain), smtputf8=True).key
    except (ValueError, AddressError):
        return ""


def _repeated(origin: Origin, raw: str, table: Mapping[str, Any]) -> Iterator[Problem]:
    seen: set[str] = set()
    for name in sub_table(table, "aliases"):
        if _local(name) in seen:
            yield origin.problem(
                ("domains", raw, "aliases", name), f"{quote(name)} is given twice: local parts compare without case"
            )
        seen.add(_local(name))


def _target_fault(origin: Origin, path: KeyPath, target: str, domain: str, domains: Mapping[str, _Domain]) -> Problem | None:
    local, _, home = _key(target, domain).rpartition("@")
    if not home:
        return None
    if home not in domains:
        message = f"{quote(target)} is not in a domain of ours: mail is not forwarded abroad; name a mailbox of [domains]"
        return origin.problem(path, message, danger=True)
    if not domains[home].knows(local):
        known = sorted((domains[home].mailboxes or frozenset()) | domains[home].aliases.keys())
        message = (
            f"{quote(local)} is neither a recipient nor an alias of {home}{suggest(local, known)}: its mail would go to nobody"
        )
        return origin.problem(path, message)
    return None


def _reaches_mailbox(start: str, domains: Mapping[str, _Domain]) -> bool:
    """Follow the aliases from ``start``; what was seen before is not followed again."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        address = waiting.pop()
        if address in seen:
            # An alias that names its own mailbox ("alice" to "alice" and "bob") delivers to it.
            continue
        seen.add(address)
        local, _, home = address.rpartition("@")
        domain = domains.get(home)
        if domain is None or domain.mailboxes is None or local in domain.mailboxes:
            return True
        targets = domain.aliases.get(local) or domain.aliases.get("*", ())
        if not targets:
            return True  # a tagged address, postmaster's own mailbox, or a fault that was reported already
        waiting.extend(targets)
    return False
