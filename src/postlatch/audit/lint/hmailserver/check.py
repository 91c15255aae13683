"""Who could relay by the security ranges of hMailServer."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from postlatch.audit.lint.hmailserver import ranges
from postlatch.audit.lint.hmailserver.ranges import SecurityRange, load
from postlatch.audit.lint.reading import Budget
from postlatch.audit.lint.survey import CLOSED, Answer, judged
from postlatch.audit.values import Finding, LintResult, Severity, Verdict

_STEPS: Final = 5_000_000
_WIDE: Final = {4: 2**16, 6: 2**96}


def lint(path: Path, client: IPv4Address | IPv6Address | None) -> LintResult:
    """``path``: exported ranges as .json, .csv or .sql. LintError if it holds none."""
    found = sorted(load(path), key=lambda range_: -range_.priority)
    budget = Budget(_STEPS)

    def answer(address: IPv4Address | IPv6Address) -> Answer:
        budget.spend(1 + len(found) // 4)
        range_ = next((range_ for range_ in found if address in range_.range), None)
        return CLOSED if range_ is None else _through(range_)

    return judged((network for range_ in found for network in range_.range.networks()), client, answer, _faults(found))


def _through(range_: SecurityRange) -> Answer:
    options = range_.options
    if not options & ranges.SMTP:
        return CLOSED
    if options & ranges.REMOTE_TO_REMOTE and not options & ranges.AUTH_REMOTE_TO_REMOTE:
        return _open(range_, "hmailserver.external-to-external", "external senders to external recipients without a login", "")
    if options & ranges.LOCAL_TO_REMOTE and not options & ranges.AUTH_LOCAL_TO_REMOTE:
        how = ", if the sender is said to be at a local domain"
        return _open(range_, "hmailserver.local-to-external", "local senders to external recipients without a login", how)
    return CLOSED


_FIXES: Final = {
    "hmailserver.external-to-external": "untick 'External to external e-mail addresses' under deliveries, or require "
    "SMTP authentication for it (rangeoptions: clear 512, or set 65536)",
    "hmailserver.local-to-external": "require SMTP authentication for 'Local to external e-mail addresses' "
    "(rangeoptions: set 16384)",
}


def _open(range_: SecurityRange, id_: str, what: str, how: str) -> Answer:
    finding = Finding(
        id_,
        Severity.CRITICAL,
        f"the IP range {range_.name!r} lets mail pass from {what}, and strangers are in it",
        "anybody can send mail to anybody through this server; the sender is whatever the client says",
        _FIXES[id_],
        range_.row.file,
        range_.row.line,
    )
    return Answer(Verdict.OPEN, f"the IP range {range_.name!r} lets mail pass from {what}{how}", finding=finding)


def _faults(found: list[SecurityRange]) -> Iterator[Finding]:
    for range_ in found:
        if not range_.options & ranges.SMTP or range_.range.size <= _WIDE[range_.range.version]:
            continue
        if not range_.options & ranges.TLS_FOR_AUTH:
            yield Finding(
                "hmailserver.clear-password",
                Severity.MEDIUM,
                f"the IP range {range_.name!r} takes logins without TLS",
                "passwords may cross the network in clear, and who reads them can send as their owners",
                "tick 'Require SSL/TLS for authentication' (rangeoptions: set 131072)",
                range_.row.file,
                range_.row.line,
            )
