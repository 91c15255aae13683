"""All families at once, within one time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

from postlatch.audit.posture.families.bimi import check_bimi
from postlatch.audit.posture.families.caa import check_caa
from postlatch.audit.posture.families.dane import check_dane
from postlatch.audit.posture.families.dkim import check_dkim
from postlatch.audit.posture.families.dmarc import check_dmarc
from postlatch.audit.posture.families.dnsbl import check_dnsbl
from postlatch.audit.posture.families.dnssec import check_dnssec
from postlatch.audit.posture.families.fcrdns import check_fcrdns
from postlatch.audit.posture.families.ipv6 import check_ipv6
from postlatch.audit.posture.families.mta_sts import check_mta_sts
from postlatch.audit.posture.families.mx import check_mx
from postlatch.audit.posture.families.spf import check_spf
from postlatch.audit.posture.families.tls import check_tls
from postlatch.audit.posture.families.tls_rpt import check_tls_rpt
from postlatch.audit.posture.grade import RULE, first, grade
from postlatch.audit.posture.hosts import MailHosts, find_hosts
from postlatch.audit.posture.subject import Request, Subject, Tools
from postlatch.audit.posture.values import Check, State, unknown
from postlatch.audit.values import Finding, Severity

_HOSTS_SHARE: Final = 3  # of the time, at most the third part is spent on finding the mail hosts
_BAD: Final = frozenset({Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM})

Family = Callable[[Subject, Tools], Awaitable[list[Check]]]

# In the order in which they protect: the result and what to fix first follow it.
FAMILIES: Final[dict[str, tuple[str, Family]]] = {
    "mx": ("Mail hosts", check_mx),
    "spf": ("SPF", check_spf),
    "dmarc": ("DMARC", check_dmarc),
    "dkim": ("DKIM", check_dkim),
    "tls": ("TLS", check_tls),
    "mta-sts": ("MTA-STS", check_mta_sts),
    "dane": ("DANE", check_dane),
    "dnssec": ("DNSSEC", check_dnssec),
    "fcrdns": ("Reverse DNS", check_fcrdns),
    "dnsbl": ("Block lists", check_dnsbl),
    "tls-rpt": ("TLS reports", check_tls_rpt),
    "ipv6": ("IPv6", check_ipv6),
    "caa": ("CAA", check_caa),
    "bimi": ("BIMI", check_bimi),
}


class PostureResult(NamedTuple):
    """``looked_up`` is False if the DNS answered nothing of what matters."""

    domain: str
    grade: str
    checks: tuple[Check, ...]
    first: tuple[Finding, ...]
    seconds: float
    looked_up: bool = True

    @property
    def bad(self) -> bool:
        """Something of medium severity or worse was found."""
        return any(finding.severity in _BAD for check in self.checks for finding in check.findings)


async def examine(request: Request, tools: Tools, seconds: float) -> PostureResult:
    """What has no answer after ``seconds`` is unknown. Never raises for what the DNS or a server can do."""
    began = tools.clock.monotonic()
    try:
        async with asyncio.timeout(seconds / _HOSTS_SHARE):
            hosts = await find_hosts(tools.resolver, request.domain)
    except TimeoutError:
        hosts = MailHosts(failed="the DNS did not answer in time")
    subject = Subject(request, hosts)
    tasks = {name: asyncio.ensure_future(family(subject, tools)) for name, (_, family) in FAMILIES.items()}
    try:
        await asyncio.wait(tasks.values(), timeout=max(0.01, seconds - (tools.clock.monotonic() - began)))
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        if tools.sightings is not None:
            await tools.sightings.close()
    checks = tuple(check for name, task in tasks.items() for check in _of(name, task, seconds))
    spent = tools.clock.monotonic() - began
    return PostureResult(request.domain, grade(checks), checks, first(checks), round(spent, 2), _was_looked_up(checks))


def _of(name: str, task: asyncio.Future[list[Check]], seconds: float) -> list[Check]:
    if task.cancelled():
        return [unknown(f"{name}.time", FAMILIES[name][0], f"this was not done within {seconds:.0f} s")]
    if (error := task.exception()) is not None:  # of one family: the others were seen
        return [unknown(f"{name}.failed", FAMILIES[name][0], f"the check failed ({type(error).__name__}): please report this")]
    return task.result()


def _was_looked_up(checks: tuple[Check, ...]) -> bool:
    states = {check.id: check.state for check in checks}
    core = ("mx.exists", "spf.record", "dmarc.record")
    return any(states.get(name, State.UNKNOWN) is not State.UNKNOWN for name in core)


def as_data(result: PostureResult) -> dict[str, Any]:
    """``postlatch.audit-posture/1`` without its schema."""
    return {
        "domain": result.domain,
        "grade": result.grade,
        "rule": RULE,
        "first": [_finding(finding) for finding in result.first],
        "checks": [
            {
                "id": one.id,
                "title": one.title,
                "state": one.state.value,
                "detail": one.detail,
                "findings": [_finding(finding) for finding in one.findings],
            }
            for one in result.checks
        ],
        "seconds": result.seconds,
    }


def _finding(one: Finding) -> dict[str, Any]:
    return {"id": one.id, "severity": one.severity.value, "message": one.message, "why": one.why, "fix": one.fix}
