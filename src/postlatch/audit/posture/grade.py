"""One letter for all of it, by a rule that everybody can check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from postlatch.audit.posture.values import Check, State
from postlatch.audit.values import Finding, Severity

RULE: Final = (
    "F: a critical finding, or four high ones. D: a high one. C: three medium ones. B: a medium one. "
    "A: nothing of medium or worse. "
    "A+: also SPF, DKIM, DMARC and its policy, DNSSEC, the TLS versions and ciphers are good, and DANE or an enforced MTA-STS. "
    "?: SPF, DMARC or the mail hosts could not be seen, and nothing that was seen is critical or high."
)
_CORE: Final = ("spf.record", "dmarc.record", "mx.exists")
_BEST: Final = (
    *("spf.record", "spf.all", "spf.lookups", "spf.range", "dkim.keys", "dmarc.record", "dmarc.policy", "dmarc.subdomains"),
    *("dnssec.domain", "tls.offered", "tls.versions", "tls.ciphers", "tls.expiry"),
)
_FEW: Final = 3  # medium findings: so many are not a slip any more
_MANY: Final = 4  # high findings
_ORDER: Final = tuple(Severity)


def grade(checks: Sequence[Check]) -> str:
    """By `RULE`. A place that has the same fault as another adds nothing: kinds of findings are counted."""
    kinds = {(finding.id, finding.severity) for check in checks for finding in check.findings}
    count = {severity: sum(1 for _, one in kinds if one is severity) for severity in Severity}
    if count[Severity.CRITICAL] or count[Severity.HIGH] >= _MANY:
        return "F"
    if count[Severity.HIGH]:
        return "D"
    states = {check.id: check.state for check in checks}
    if any(states.get(name, State.UNKNOWN) is State.UNKNOWN for name in _CORE):
        return "?"
    if count[Severity.MEDIUM]:
        return "C" if count[Severity.MEDIUM] >= _FEW else "B"
    return "A+" if _is_best(states) else "A"


def _is_best(states: dict[str, State]) -> bool:
    encrypted = _is_good(states, "dane.match") or (_is_good(states, "mta-sts.policy") and _is_good(states, "mta-sts.mx"))
    return encrypted and all(_is_good(states, name) for name in _BEST)


def _is_good(states: dict[str, State], name: str) -> bool:
    return states.get(name) in {State.GOOD, State.INFO}


def first(checks: Sequence[Check], most: int = 5) -> tuple[Finding, ...]:
    """What to fix first: the worst, and of equals in the order in which the families protect. One of each kind."""
    by_kind: dict[str, Finding] = {}
    for check in checks:
        for finding in check.findings:
            if finding.severity is not Severity.INFO:
                by_kind.setdefault(finding.id, finding)
    return tuple(sorted(by_kind.values(), key=lambda one: _ORDER.index(one.severity))[:most])
