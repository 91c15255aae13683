"""What a posture is told in: checks with their states, and the faults in them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from postlatch.audit.printable import printable
from postlatch.audit.values import Finding, Severity


class State(StrEnum):
    """What was found. ``unknown``: could not be seen, so it is neither good nor bad."""

    GOOD = "good"
    BAD = "bad"
    WARN = "warn"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    INFO = "info"


class Check(NamedTuple):
    """One thing that was looked at. ``id`` is stable (``spf.lookups``); ``detail`` is one printable sentence."""

    id: str
    title: str
    state: State
    detail: str
    findings: tuple[Finding, ...] = ()


# What is worth a fault of its own, and what is only worth knowing.
_STATES: Final = {
    Severity.CRITICAL: State.BAD,
    Severity.HIGH: State.BAD,
    Severity.MEDIUM: State.BAD,
    Severity.LOW: State.WARN,
    Severity.INFO: State.INFO,
}
_ORDER: Final = tuple(Severity)


def fault(name: str, severity: Severity, message: str, why: str, fix: str) -> Finding:
    """A finding whose texts may hold what strangers chose."""
    return Finding(name, severity, printable(message), printable(why), printable(fix))


def check(name: str, title: str, state: State, detail: str, findings: Iterable[Finding] = ()) -> Check:
    """A check whose detail may hold what strangers chose."""
    return Check(name, title, state, printable(detail), tuple(findings))


def judged(name: str, title: str, detail: str, findings: Iterable[Finding], *, seen: bool = True) -> Check:
    """The state follows from the findings: of medium or worse it is bad, of low a warning.

    Without any of these it is good, or unknown if not all was ``seen``.
    """
    faults = tuple(sorted(findings, key=lambda one: _ORDER.index(one.severity)))
    state = _STATES[faults[0].severity] if faults else State.GOOD
    if not seen and state in {State.GOOD, State.INFO}:
        state = State.UNKNOWN
    return check(name, title, state, faults[0].message if faults and state is not State.UNKNOWN else detail, faults)


def unknown(name: str, title: str, why: str) -> Check:
    """It could not be seen."""
    return check(name, title, State.UNKNOWN, why)


def several(texts: Iterable[str], most: int = 5) -> str:
    """``a, b and 7 more``."""
    listed = list(texts)
    shown = ", ".join(listed[:most])
    return shown if len(listed) <= most else f"{shown} and {len(listed) - most} more"
