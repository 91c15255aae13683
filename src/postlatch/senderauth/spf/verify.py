"""SPF of one transaction: RFC 7208. `check_spf` for MAIL FROM, `check_helo` for HELO; neither raises anything."""

from __future__ import annotations

import asyncio

from postlatch.model.dns import Resolver
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.results import Result, SpfResult
from postlatch.senderauth.spf.evaluate import Evaluation, Verdict
from postlatch.senderauth.spf.identity import Identity
from postlatch.senderauth.spf.names import to_domain
from postlatch.senderauth.spf.problem import CheckError
from postlatch.senderauth.spf.text import printable

TIMEOUT = 20.0  # seconds; section 4.6.4 asks for at least these
_POSTMASTER = "postmaster"


async def check_spf(
    resolver: Resolver,
    *,
    client: IPAddress,
    helo: str,
    sender: str | None,
    receiver: str,
    now: float,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - section 4.6.4: what it decides is a result
) -> SpfResult:
    """May ``client`` send for the domain of MAIL FROM? For ``<>`` the HELO name is asked (section 2.4)."""
    if not sender or sender == "<>":
        return await check_helo(resolver, client=client, helo=helo, receiver=receiver, now=now, timeout=timeout)
    local_part, _, domain = sender.rpartition("@")
    return await _check(resolver, "mfrom", (client, local_part or _POSTMASTER, domain, helo, receiver, now), timeout)


async def check_helo(
    resolver: Resolver,
    *,
    client: IPAddress,
    helo: str,
    receiver: str,
    now: float,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - as above
) -> SpfResult:
    """May ``client`` call itself ``helo``? (section 2.3)"""
    return await _check(resolver, "helo", (client, _POSTMASTER, helo, helo, receiver, now), timeout)


async def _check(resolver: Resolver, scope: str, who: tuple[IPAddress, str, str, str, str, float], seconds: float) -> SpfResult:
    client, local_part, text, helo, receiver, now = who
    domain = to_domain(text)
    if domain is None:
        reason = f"{printable(text, 255)} is no domain name that could have an SPF record (RFC 7208 section 4.3)"
        return SpfResult(Result.NONE, printable(text, 255), scope, reason=reason)
    evaluation = Evaluation(resolver, Identity(_unmapped(client), local_part, domain, helo, receiver, now))
    result, deadline = await _evaluated(evaluation, domain, seconds)
    if isinstance(result, CheckError):
        term = printable(result.term)
        return SpfResult(result.result, domain, scope, None, term, evaluation.terms, printable(str(result)))
    lookups = evaluation.terms
    explanation = await _explained(evaluation, result, deadline)
    return SpfResult(result.result, domain, scope, explanation, printable(result.term), lookups, printable(result.reason))


async def _evaluated(evaluation: Evaluation, domain: str, seconds: float) -> tuple[Verdict | CheckError, float | None]:
    """What came of it, and until when the explanation may take."""
    try:
        async with asyncio.timeout(seconds) as clock:
            return await evaluation.check_host(domain), clock.when()
    except CheckError as error:
        return error, None
    except TimeoutError:
        reason = f"the DNS did not answer all questions within {seconds:g} seconds (RFC 7208 section 4.6.4)"
    except Exception as error:  # noqa: BLE001 - whatever a resolver makes of a stranger's answer, it is no result of SPF
        reason = f"the DNS gave no usable answer: {type(error).__name__} (RFC 7208 section 2.6.6)"
    return CheckError(Result.TEMPERROR, reason), None


async def _explained(evaluation: Evaluation, verdict: Verdict, deadline: float | None) -> str | None:
    """The result stands, with or without its explanation (section 6.2)."""
    try:
        async with asyncio.timeout_at(deadline):
            return await evaluation.explanation(verdict)
    except Exception:  # noqa: BLE001 - as above
        return None


def _unmapped(client: IPAddress) -> IPAddress:
    """Section 5: an IPv4 client is one, whatever kind of socket it came in by."""
    return getattr(client, "ipv4_mapped", None) or client
