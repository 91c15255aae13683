"""What every part of the auditor says its findings in."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Severity(StrEnum):
    """How bad a finding is, worst first. Critical: by this alone anybody can send mail to anybody."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


class Finding(NamedTuple):
    """One thing that is wrong, for a person and for programs.

    ``id`` is stable (``postfix.relay-restrictions``). ``message`` says what is so, ``why`` what can come of it, ``fix`` the
    exact change. ``file`` and ``line`` (from 1) where it stands, if it stands in a file. ``transcript`` is the evidence of a
    conversation. All texts are printable, and bounded where a server chose them.
    """

    id: str
    severity: Severity
    message: str
    why: str = ""
    fix: str = ""
    file: str = ""
    line: int | None = None
    transcript: tuple[str, ...] = ()


class Verdict(StrEnum):
    """Whether strangers can relay by a configuration."""

    CLOSED = "closed"
    OPEN = "open"
    UNKNOWN = "unknown"


class LintResult(NamedTuple):
    """What a linter found.

    ``can_relay``: sentences like "198.51.100.7, not logged in, could send to elsewhere.example because …".
    """

    verdict: Verdict
    can_relay: tuple[str, ...]
    findings: tuple[Finding, ...]


class Evidence(StrEnum):
    """How far a message of the auditor got, from refused to proved."""

    E0 = "E0"  # refused at MAIL or RCPT
    E1 = "E1"  # RCPT answered with 2xx
    E2 = "E2"  # DATA answered with 354
    E3 = "E3"  # the final dot answered with 2xx
    E4 = "E4"  # seen at the canary: it was relayed
    E5 = "E5"  # a bounce of it seen at the canary, which is a sender that was made up: backscatter


class AuditVerdict(StrEnum):
    """What a server is, seen from outside, worst first. Open is only what delivered to the canary."""

    OPEN = "open"
    BACKSCATTER = "backscatter"
    ACCEPTS = "accepts"
    SPOOFABLE = "spoofable"
    INCONCLUSIVE = "inconclusive"
    CLOSED = "closed"
