"""The names of the addresses: PTR records that lead back, and the name in the greeting. RFC 1912 section 2.1."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from postlatch.audit.posture.families.places import choose
from postlatch.audit.posture.hosts import MailHost
from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, several, unknown
from postlatch.audit.posture.wire.line import Place
from postlatch.audit.values import Finding, Severity
from postlatch.model.dns import DnsError
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.reputation.names import Names, looks_dynamic, names_of
from postlatch.senderauth.spf.names import can_be_asked

_PTR: Final = ("fcrdns.ptr", "Reverse DNS of the mail hosts")
_BANNER: Final = ("fcrdns.banner", "The name that the mail hosts greet with")


class _Address(NamedTuple):
    host: MailHost
    address: IPAddress
    names: Names


async def check_fcrdns(subject: Subject, tools: Tools) -> list[Check]:
    """Each address of each mail host: the hosts that receive are, for most domains, those that send."""
    pairs = [(host, address) for host in subject.hosts.closely for address in host.addresses if tools.may_reach(address)]
    if not pairs:
        return [check(*_PTR, State.INFO, "there are no mail hosts with addresses")]
    named = await asyncio.gather(*(names_of(tools.resolver, address) for _, address in pairs))
    found = [_Address(host, address, names) for (host, address), names in zip(pairs, named, strict=True)]
    return [_judge(found), await _banners(found, subject, tools)]


def _judge(found: list[_Address]) -> Check:
    faults, failed = [], []
    for one in found:
        if not one.names.known:
            failed.append(str(one.address))
        elif finding := _fault_of(one):
            faults.append(finding)
    confirmed = several(f"{one.address} {one.names.confirmed[0]}" for one in found if one.names.confirmed)
    detail = f"not answered for {several(failed)}" if failed else confirmed
    return judged(*_PTR, detail, faults, seen=not failed)


def _fault_of(one: _Address) -> Finding | None:
    why, address = "many receivers refuse or distrust mail from such an address", one.address
    pointer = f"ask the provider of the address to publish: {address.reverse_pointer}. PTR {one.host.name}."
    if not one.names.claimed:
        return fault("fcrdns.no-ptr", Severity.MEDIUM, f"{address} ({one.host.name}) has no PTR record", why, pointer)
    if not one.names.confirmed:
        claimed = one.names.claimed[0]
        message = f"the PTR record of {address} names {claimed}, which does not lead back to it"
        kind = "A" if address.version == 4 else "AAAA"
        return fault("fcrdns.unconfirmed", Severity.MEDIUM, message, why, f"publish: {claimed}. {kind} {address}, or {pointer}")
    if all(looks_dynamic(name, address) for name in one.names.confirmed):
        message = f"the name of {address}, {one.names.confirmed[0]}, looks like that of a customer's line"
        return fault("fcrdns.generic", Severity.LOW, message, why, pointer)
    return None


async def _banners(found: list[_Address], subject: Subject, tools: Tools) -> Check:
    if tools.sightings is None:
        return unknown(*_BANNER, "nothing may be connected to")
    firsts = {one.host.name: one for one in found if one.address == choose(one.host.addresses, tools)}
    asked = [Place(one.host.name, one.address, subject.request.smtp_port) for one in firsts.values()]
    sights = await asyncio.gather(*(tools.sightings.see(place) for place in asked))
    faults, good, unseen = [], [], []
    for one, sight in zip(firsts.values(), sights, strict=True):
        name = sight.greeting.banner
        if not name:
            unseen.append(f"{one.host.name} ({sight.failure})")
            continue
        leads = await _leads_to(name, one, tools)
        if leads is None:
            unseen.append(f"{one.host.name} (the DNS did not answer for {name})")
        elif leads:
            good.append(name)
        else:
            faults.append(
                fault(
                    "fcrdns.banner",
                    Severity.LOW,
                    f"{one.host.name} greets as {name}, which does not lead to {one.address}",
                    "if it says the same when it sends, receivers distrust it (RFC 5321 section 4.1.1.1)",
                    f"let it greet with the name of its PTR record, {(one.names.confirmed or (one.host.name,))[0]}",
                )
            )
    detail = several(good) + (f"; not seen: {several(unseen)}" if unseen else "")
    return judged(*_BANNER, detail.removeprefix("; "), faults, seen=not unseen)


async def _leads_to(name: str, one: _Address, tools: Tools) -> bool | None:
    if name in one.names.confirmed:
        return True
    if "." not in name or not can_be_asked(name):
        return False
    try:
        return one.address in await tools.resolver.addresses(name)
    except DnsError as error:
        return None if error.temporary else False
