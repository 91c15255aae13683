"""Dangers in domains and aliases: names that take in more than one domain, and mail of ours that would leave or get lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import isfinite

from postlatch.model.address import Address, AddressError, parse_domain
from postlatch.model.envelope import Destination
from postlatch.policy.aliases import expand
from postlatch.policy.danger_context import Danger, DangerContext, quoted
from postlatch.policy.mailboxes import is_listed
from postlatch.policy.replies import rfc3339
from postlatch.policy.snapshot import LocalDomain, Snapshot


def names(snapshot: Snapshot, context: DangerContext) -> Iterator[Danger]:
    """A domain is one name, exactly, that one party can own."""
    for table, domain in _all(snapshot):
        key = f"{table}.{quoted(domain)}"
        if "*" in domain:
            yield Danger(key, f"the domain {domain!a} has a wildcard: name each domain, none stands for its subdomains")
        elif _normal(domain) is None:
            yield Danger(key, f"{domain!a} is not a domain name: write it like example.com, without dots at its ends")
        elif _normal(domain) != domain:
            yield Danger(key, f"the domain {domain!a} is compared as {_normal(domain)}: write it so")
        elif context.is_public_suffix(domain):
            message = f"{domain} is a public suffix, under which anybody registers domains: name your own domain below it"
            yield Danger(key, message)


def twice(snapshot: Snapshot, context: DangerContext) -> Iterator[Danger]:
    """No domain is configured two times: which of the two holds would be a guess."""
    for domain in snapshot.local_domains:
        if domain in snapshot.relay_domains:
            message = f"{domain} is in domains and in relay_domains: it is either ours or relayed to"
            yield Danger(f"relay_domains.{quoted(domain)}", message)
    written = context.domain_names or (*snapshot.local_domains, *snapshot.relay_domains)
    spellings = Counter(normal for normal in map(_normal, dict.fromkeys(written)) if normal is not None)
    for domain, count in spellings.items():
        if count > 1:
            message = f"{domain} is configured {count} times in different spellings: keep one, in lower case"
            yield Danger(f"domains.{quoted(domain)}", message)


def relay_domains(snapshot: Snapshot, context: DangerContext) -> Iterator[Danger]:
    """A relay domain is a right too: somebody answers for it, until a date."""
    for domain in snapshot.relay_domains.values():
        key = f"relay_domains.{quoted(domain.name)}"
        if not domain.owner.strip():
            yield Danger(f"{key}.owner", f"the relay domain {domain.name} has no owner: name who answers for it")
        if not isfinite(domain.expires):
            yield Danger(f"{key}.expires", f"the relay domain {domain.name} never expires: give it a date, and renew it")
        elif context.now >= domain.expires:
            message = f"the relay domain {domain.name} expired at {rfc3339(domain.expires)}: renew it or remove it"
            yield Danger(f"{key}.expires", message, fatal_at_start=False)


def aliases(snapshot: Snapshot, _context: DangerContext) -> Iterator[Danger]:
    """An alias leads to mailboxes of ours that exist: forwarding to foreign addresses does not exist here. AUDIT J04, J05."""
    for domain in snapshot.local_domains.values():
        key = f"domains.{quoted(domain.name)}.aliases"
        for name, targets in domain.aliases.items():
            place = f"the alias {name} of {domain.name}"
            yield from _targets(snapshot, f"{key}.{quoted(name)}", place, targets)
            if _is_endless(snapshot, Address(name, domain.name, f"{name}@{domain.name}"), targets):
                yield Danger(f"{key}.{quoted(name)}", f"{place} only leads back to itself: point it to a mailbox")


def catch_all(snapshot: Snapshot, _context: DangerContext) -> Iterator[Danger]:
    """A catch-all keeps the mail here, and stands beside a list of recipients only."""
    for domain in snapshot.local_domains.values():
        key = f'domains.{quoted(domain.name)}.aliases."*"'
        yield from _targets(snapshot, key, f"the catch-all of {domain.name}", domain.catch_all)
        if domain.catch_all and domain.recipients is None:
            message = (
                f"{domain.name} has a catch-all and asks its next hop for recipients: every name would be known;"
                " list the recipients, or remove the catch-all"
            )
            yield Danger(key, message)


def _targets(snapshot: Snapshot, key: str, place: str, targets: tuple[Address, ...]) -> Iterator[Danger]:
    for target in targets:
        destination = snapshot.classify(target.domain)
        if destination is Destination.FOREIGN:
            message = (
                f"{place} leads to {target.text!a}, outside our domains: forwarding to foreign addresses does not exist here"
            )
            yield Danger(key, message)
        elif destination is Destination.RELAY:
            yield Danger(key, f"{place} leads to {target.text!a} in a relay domain: point it to a mailbox of a domain of ours")
        elif is_listed(snapshot, target) is False and not _is_alias(snapshot, target):
            yield Danger(key, f"{place} leads to {target.text!a}, which is no mailbox or alias: list it, or correct the alias")


def _is_alias(snapshot: Snapshot, target: Address) -> bool:
    domain: LocalDomain = snapshot.local_domains[target.domain]
    return target.local.lower() in domain.aliases


def _is_endless(snapshot: Snapshot, alias: Address, targets: tuple[Address, ...]) -> bool:
    ours = all(snapshot.classify(target.domain) is Destination.LOCAL for target in targets)
    return ours and not expand(snapshot, alias)


def _all(snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    yield from (("domains", domain) for domain in snapshot.local_domains)
    yield from (("relay_domains", domain) for domain in snapshot.relay_domains)


def _normal(domain: str) -> str | None:
    try:
        return parse_domain(domain)
    except AddressError:
        return None


DOMAIN_CHECKS = (names, twice, relay_domains, aliases, catch_all)
