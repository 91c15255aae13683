"""The MX records, and the addresses of the hosts that they name. RFC 5321 section 5.1, RFC 7505."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final

from postlatch.audit.posture.hosts import MailHost, MailHosts
from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, several, unknown
from postlatch.audit.values import Finding, Severity
from postlatch.senderauth.spf.names import can_be_asked

_EXISTS: Final = ("mx.exists", "Mail hosts")
_LOST: Final = "mail to the domain is delayed or lost"


async def check_mx(subject: Subject, tools: Tools) -> list[Check]:
    """Whether mail can arrive at all."""
    hosts, domain = subject.hosts, subject.domain
    if hosts.failed:
        return [unknown(*_EXISTS, f"the MX records of {domain}: {hosts.failed}")]
    if not hosts.exists:
        gone = fault(
            "mx.no-domain", Severity.HIGH, f"{domain} does not exist", "no mail can arrive", "register it, or correct the name"
        )
        return [check(*_EXISTS, State.ABSENT, gone.message, [gone])]
    if hosts.null:
        return [judged(*_EXISTS, "a null MX: the domain takes no mail (RFC 7505)", _beside_null(hosts))]
    if not hosts.hosts:
        none = fault(
            "mx.none",
            Severity.HIGH,
            f"{domain} has no MX record and no address",
            "no mail can arrive",
            f"publish: {domain}. MX 10 mail.{domain}. (or MX 0 . if it takes none)",
        )
        return [check(*_EXISTS, State.ABSENT, none.message, [none])]
    if hosts.implicit:
        implicit = fault(
            "mx.implicit",
            Severity.LOW,
            f"{domain} has no MX record, so mail goes to its own address",
            "that is the address of a web server on most domains",
            f"publish: {domain}. MX 10 {domain}.",
        )
        return [judged(*_EXISTS, "", [implicit]), _addresses(hosts, tools)]
    return [judged(*_EXISTS, several(dict.fromkeys(hosts.names)), []), _names(hosts), _addresses(hosts, tools)]


def _beside_null(hosts: MailHosts) -> Iterable[Finding]:
    if len(hosts.names) > 1:
        yield fault(
            "mx.null-and-others",
            Severity.HIGH,
            "there are MX records beside the null MX",
            "senders do not know whether the domain takes mail (RFC 7505 section 3)",
            "delete the null MX, or all the others",
        )


def _names(hosts: MailHosts) -> Check:
    faults = []
    for name in dict.fromkeys(hosts.names[:20]):
        if hosts.names.count(name) > 1:
            faults.append(
                fault(
                    "mx.duplicate", Severity.LOW, f"{name} stands in two MX records", "one of them does nothing", "delete one"
                )
            )
        if _is_number(name) or not can_be_asked(name):
            faults.append(
                fault(
                    "mx.no-name",
                    Severity.HIGH,
                    f"the MX record names {name}, which is no host name",
                    _LOST,
                    "an MX record must name a host, which has A and AAAA records (RFC 5321 section 5.1)",
                )
            )
    faults += [_alias(host) for host in hosts.hosts if host.alias]
    return judged("mx.names", "Names of the mail hosts", f"{len(set(hosts.names))} different, none an alias", faults)


def _alias(host: MailHost) -> Finding:
    return fault(
        "mx.alias",
        Severity.LOW,
        f"{host.name} is an alias of {host.alias}",
        "an MX record must not name an alias: some senders do not follow it (RFC 2181 section 10.3)",
        f"name {host.alias} in the MX record",
    )


def _addresses(hosts: MailHosts, tools: Tools) -> Check:
    faults, failed = [], []
    for host in hosts.hosts:
        if host.failed:
            failed.append(host.name)
        elif not host.addresses:
            faults.append(
                fault(
                    "mx.no-address",
                    Severity.HIGH,
                    f"{host.name} has no address",
                    _LOST,
                    f"publish A and AAAA records for {host.name}",
                )
            )
        if private := [str(address) for address in host.addresses if not tools.may_reach(address)]:
            faults.append(
                fault(
                    "mx.private",
                    Severity.HIGH,
                    f"{host.name} has {several(private)}, which is not reachable from the Internet",
                    _LOST,
                    "publish only public addresses; give your own network its view of the zone if it needs one",
                )
            )
    faults += _same(hosts)
    shown = several(f"{host.name} {several(map(str, host.addresses), 2)}" for host in hosts.closely)
    detail = f"not answered for {several(failed)}" if failed else shown
    return judged("mx.addresses", "Addresses of the mail hosts", detail, faults, seen=not failed)


def _same(hosts: MailHosts) -> Iterable[Finding]:
    where = {address: host.name for host in reversed(hosts.hosts) for address in host.addresses}
    for host in hosts.hosts:
        if twice := [address for address in host.addresses if where[address] != host.name]:
            yield fault(
                "mx.same-address",
                Severity.LOW,
                f"{host.name} and {where[twice[0]]} are the same machine, {twice[0]}",
                "when it fails, the other MX record does not help",
                "keep one of them, or give the second a machine of its own",
            )


def _is_number(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
