"""Are the mail hosts in lists by which others refuse mail? RFC 5782."""

from __future__ import annotations

import asyncio
from typing import Final

from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, several, unknown
from postlatch.audit.values import Severity
from postlatch.model.dns import Resolver
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.reputation.dnsbl import DnsList, Said, ask_address, examine
from postlatch.senderauth.spf.names import can_be_asked

_LISTED: Final = ("dnsbl.listed", "Block lists")
# Lists that answer who asks without an account, and are in wide use. Spamhaus refuses public resolvers.
DEFAULT: Final = ("zen.spamhaus.org", "bl.spamcop.net", "psbl.surriel.com")
_MOST_LISTS: Final = 20
_MOST_ADDRESSES: Final = 10


async def check_dnsbl(subject: Subject, tools: Tools) -> list[Check]:
    """Each list is tested with its test entries first: one that does not work, or refuses us, says nothing."""
    addresses = [a for host in subject.hosts.closely for a in host.addresses if tools.may_reach(a)]
    addresses = list(dict.fromkeys(addresses))[:_MOST_ADDRESSES]
    if not addresses:
        return [check(*_LISTED, State.INFO, "there are no addresses to ask about")]
    zones = [zone.strip(".").lower() for zone in subject.request.dnsbl or DEFAULT]
    zones = [zone for zone in dict.fromkeys(zones) if can_be_asked(zone)][:_MOST_LISTS]
    results = await asyncio.gather(*(_ask(tools.resolver, zone, addresses) for zone in zones))
    faults, unseen, clean = [], [], []
    for zone, (listed, why) in zip(zones, results, strict=True):
        for address, text in listed:
            said = f": {text}" if text else ""
            faults.append(
                fault(
                    "dnsbl.listed",
                    Severity.HIGH,
                    f"{address} is in {zone}{said}",
                    "receivers that use this list refuse mail from it",
                    f"find out what was sent and stop it, then ask {zone} to take the address out",
                )
            )
        if why:
            unseen.append(f"{zone} ({why})")
        elif not listed:
            clean.append(zone)
    if not zones:
        return [unknown(*_LISTED, "no list could be asked")]
    detail = f"in none of {several(clean)}" if clean else ""
    detail += f"{'; ' if clean else ''}not known: {several(unseen)}" if unseen else ""
    return [judged(*_LISTED, detail, faults, seen=not unseen)]


async def _ask(resolver: Resolver, zone: str, addresses: list[IPAddress]) -> tuple[list[tuple[IPAddress, str]], str]:
    one = DnsList(zone, 1)
    health = await examine(resolver, one)
    if not health.usable:
        return [], health.why
    answers = await asyncio.gather(*(ask_address(resolver, one, address) for address in addresses))
    listed = [(a, answer.text) for a, answer in zip(addresses, answers, strict=True) if answer.said is Said.LISTED]
    why = next((answer.why for answer in answers if answer.said in {Said.ERROR, Said.UNKNOWN}), "")
    return listed, why
