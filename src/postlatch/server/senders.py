"""Who really sent a stranger's message: what the checks beside the transaction find becomes facts and fields."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from postlatch.model.address import Address
from postlatch.model.envelope import Client
from postlatch.model.events import JsonValue
from postlatch.policy.dmarc import QUARANTINE, DmarcFacts
from postlatch.senderauth import authres
from postlatch.senderauth.check import MessageCheck
from postlatch.senderauth.results import Authentication, DmarcResult, Result
from postlatch.server.headers import HeaderFacts
from postlatch.server.metering import Count

_PAIR: Final = re.compile(r"\\.")
_QUOTED: Final = re.compile(r'"[^"]*(?:"|$)')
QUARANTINED: Final = b"X-Postlatch-Quarantine: dmarc\r\n"


@dataclass(frozen=True, slots=True)
class Senders:
    """How mail of strangers is checked. ``begin(client, helo, sender)`` makes the check of one message.

    ``authserv_id`` is our name in Authentication-Results; ``received_spf``: write that field as well.
    """

    begin: Callable[[Client, str, Address | None], MessageCheck]
    authserv_id: str
    received_spf: bool = False


def author_domain(header: HeaderFacts) -> str:
    """The domain that DMARC asks about: that of From, if all its addresses share one. Else empty: nobody can be asked."""
    domains = {address.domain for address in header.header_from or ()}
    return next(iter(domains)) if len(domains) == 1 else ""


def dmarc_facts(found: Authentication, header: HeaderFacts, *, identity: bool = True) -> DmarcFacts:
    """For the policy. ``identity``: the client's address is its own.

    A From field that shows an author, but none who could be asked (it cannot be read, or names several domains), is how
    forgers get around DMARC: it is asked to be quarantined (RFC 7489 section 6.6.1 leaves it to the receiver).
    """
    domain = author_domain(header)
    if not domain and header.from_count == 1:
        return DmarcFacts(Result.PERMERROR.value, QUARANTINE, "an author who cannot be told", identity=identity)
    return DmarcFacts(found.dmarc.result.value, found.dmarc.disposition.value, domain, _sealer(found), identity)


def _sealer(found: Authentication) -> str:
    """The newest sealer of a whole chain that saw DMARC pass."""
    arc = found.arc
    return arc.sealers[-1] if arc.result is Result.PASS and arc.sealers and _saw_pass(arc.results) else ""


def _saw_pass(results: str) -> bool:
    """What is in quotation marks may be a stranger's words, and is no result."""
    return any(part.split()[:1] == ["dmarc=pass"] for part in _QUOTED.sub("", _PAIR.sub("", results.lower())).split(";"))


def is_verified(dmarc: DmarcResult) -> bool:
    """True if the author's domain vouches for it, and MAIL FROM is in that domain: a report to it is no backscatter."""
    return dmarc.result is Result.PASS and dmarc.spf_aligned


def trace_fields(
    senders: Senders, found: Authentication, client: Client, helo: str, sender: Address | None, *, quarantined: bool
) -> bytes:
    """The fields that go before everything else, ASCII with CRLF."""
    fields = authres.field(senders.authserv_id, found)
    if senders.received_spf:
        who = sender.text if sender is not None else None
        address, receiver = str(client.address), senders.authserv_id
        fields += authres.received_spf(found.spf, client=address, helo=helo, receiver=receiver, sender=who)
    return fields + QUARANTINED if quarantined else fields


def count(counters: Count, found: Authentication) -> None:
    """For the metrics: one result of each check, and one for each signature."""
    results = [("spf", found.spf.result), ("arc", found.arc.result), ("dmarc", found.dmarc.result)]
    for check, result in [*results, *(("dkim", one.result) for one in found.dkim)]:
        counters.inc("postlatch_sender_checks_total", (check, result.value))


def journalled(found: Authentication, why: str) -> dict[str, JsonValue]:
    """The fields of the journal."""
    return {
        "spf": found.spf.result.value,
        "spf_domain": found.spf.domain,
        "dkim": [f"{one.domain}:{one.selector}:{one.result.value}" for one in found.dkim],
        "body_hash": next((one.body_hash for one in found.dkim if one.result is Result.PASS), ""),
        "arc": found.arc.result.value,
        "dmarc": found.dmarc.result.value,
        "from_domain": found.dmarc.from_domain,
        "dmarc_why": why,
    }
