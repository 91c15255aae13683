"""Dangers in listeners, the host name, the smarthost and the alerts."""

from __future__ import annotations

from collections.abc import Iterator

from postlatch.model.address import AddressError, parse_domain
from postlatch.model.envelope import Destination, Role
from postlatch.policy.danger_context import Danger, DangerContext, quoted
from postlatch.policy.mailboxes import is_listed, locate
from postlatch.policy.networks import union
from postlatch.policy.rules_party import SUBMISSION_ROLES
from postlatch.policy.snapshot import Snapshot


def hostname(snapshot: Snapshot, _context: DangerContext) -> Iterator[Danger]:
    """The name of this server is one that others can look up."""
    try:
        name = parse_domain(snapshot.hostname)
    except AddressError:
        yield Danger("hostname", f"the host name {snapshot.hostname!a} is not a domain name: write it like mx.example.com")
        return
    labels = name.split(".")
    if len(labels) == 1 or "localhost" in labels or labels[-1] in {"localdomain", "local"}:
        message = f"the host name {name} means something else on every machine: write the full public name, like mx.example.com"
        yield Danger("hostname", message)


def submission_tls(snapshot: Snapshot, context: DangerContext) -> Iterator[Danger]:
    """Passwords travel only under TLS, so a listener that asks for one must have it."""
    for listener in snapshot.listeners.values():
        if listener.role in SUBMISSION_ROLES and not listener.local and not (listener.tls and context.tls_certificate):
            message = f"the listener {listener.name} asks for passwords and has no TLS: set tls.certificate and tls.key"
            yield Danger(f"listeners.{quoted(listener.name)}.role", message)


def proxies(_snapshot: Snapshot, context: DangerContext) -> Iterator[Danger]:
    """Whoever may speak the PROXY protocol can be any client it likes. AUDIT I03."""
    for name, networks in context.proxies.items():
        covered = union(networks)
        if 0 in {network.prefixlen for network in covered.v4} | {network.prefixlen for network in covered.v6}:
            message = (
                f"the listener {name} trusts a proxy at every address, so any client could claim any address: list the proxies"
            )
            yield Danger(f"listeners.{quoted(name)}.proxies", message)


def addresses(_snapshot: Snapshot, context: DangerContext) -> Iterator[Danger]:
    """Two listeners at one address: which role a client meets would be chance."""
    seen: dict[str, str] = {}
    for name, given in context.listener_addresses.items():
        for address in given:
            if address in seen and not address.endswith(":0"):
                message = f"the listeners {seen[address]} and {name} are both at {address}: give each an address of its own"
                yield Danger(f"listeners.{quoted(name)}.address", message)
            seen[address] = name


def smarthost(_snapshot: Snapshot, context: DangerContext) -> Iterator[Danger]:
    """A password is sent only to a server whose name has been verified. CVE-2016-0772."""
    if context.smarthost_username and context.smarthost_tls != "verify":
        message = 'the smarthost gets a user name and password over TLS that is not verified: set outbound.tls = "verify"'
        yield Danger("outbound.username", message)


def alerts(snapshot: Snapshot, context: DangerContext) -> Iterator[Danger]:
    """An alert reaches somebody."""
    for recipient in context.alert_recipients:
        ours = locate(snapshot, recipient) is not Destination.FOREIGN
        if ours and is_listed(snapshot, recipient) is False:
            yield Danger("alerts.to", f"alerts go to {recipient.text!a}, which is no mailbox here: list it, or name another")


def local(snapshot: Snapshot, context: DangerContext) -> Iterator[Danger]:
    """The socket that needs no TLS is one of the file system, and nothing that a network reaches."""
    for listener in snapshot.listeners.values():
        if listener.local and (listener.role is not Role.SUBMISSION or listener.name in context.listener_addresses):
            message = (
                f"the listener {listener.name} is the Unix socket of the sendmail command: give the other one another name"
            )
            yield Danger(f"listeners.{quoted(listener.name)}.name", message)


SERVER_CHECKS = (hostname, submission_tls, local, proxies, addresses, smarthost, alerts)
