"""Results that were written to files, read back with distrust: a file may hold anything."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from postlatch.audit.printable import MOST, printable
from postlatch.audit.probes.values import Stand
from postlatch.audit.values import AuditVerdict, Severity

SCHEMA: Final = "postlatch.audit/1"
MAX_OCTETS: Final = 50_000_000
_MAX_TARGETS: Final = 10_000
_MAX_PLACES: Final = 200
_MAX_FINDINGS: Final = 10_000  # of one target; each is looked through for each place
_MAX_ANSWERS: Final = 200_000  # of one target
GRADES: Final = ("F", "D", "C", "B", "A")  # worst first
_STANDS: Final = (Stand.BROKE, Stand.TAKEN, Stand.UNDECIDED, Stand.HELD, Stand.ABSENT)
_ORDER: Final = tuple(Severity)


class HistoryError(ValueError):
    """Not a result of an audit; says what it is and where it went wrong."""


class Key(NamedTuple):
    """What is the same thing in two results: a finding or a question, by its name and the place."""

    id: str
    place: str


class Seen(NamedTuple):
    """One target in one result. Of several findings or answers with one key the worst counts.

    What was asked with random names (a mailbox that nobody has) differs from run to run; the vector and the place do not.
    """

    target: str
    verdict: AuditVerdict
    grade: str
    at: float
    findings: Mapping[Key, Severity]
    titles: Mapping[Key, str]
    answers: Mapping[Key, Stand]


class Result(NamedTuple):
    """A file: its targets by their names. ``failed`` says why an audit could not be made at all, else empty."""

    targets: Mapping[str, Seen]
    failed: str = ""
    at: float = 0.0


def read(octets: bytes) -> Result:
    """HistoryError if this is no result of ``postlatch audit --json``."""
    if len(octets) > MAX_OCTETS:
        raise HistoryError(f"is larger than {MAX_OCTETS // 1_000_000} MB; no audit writes so much")
    try:
        data = json.loads(octets)
    except (ValueError, RecursionError) as error:
        raise HistoryError(f"is no JSON: {_shown(str(error), 100)}") from None
    return result(data)


def result(data: Any) -> Result:
    """Of JSON that was parsed."""
    whole = _object(data, "the whole")
    if whole.get("schema") != SCHEMA:
        shown = _shown(str(whole.get("schema", "nothing")), 60)
        raise HistoryError(f"is no result of postlatch audit --json: its schema is {shown}, not {SCHEMA}")
    rows = _list(whole.get("targets"), "targets", _MAX_TARGETS)
    seen = [_target(_object(row, f"targets[{number}]"), f"targets[{number}]") for number, row in enumerate(rows)]
    failed = whole.get("failed")
    return Result({one.target: one for one in seen}, _shown(str(failed)) if failed else "", _number(whole.get("at", 0), "at"))


def _target(row: dict[str, Any], where: str) -> Seen:
    try:
        verdict = AuditVerdict(str(row.get("verdict")))
    except ValueError:
        raise HistoryError(f"{where}.verdict is {_shown(str(row.get('verdict')), 60)}, which is no verdict") from None
    places = [_text(one, f"{where}.places") for one in _list(row.get("places", []), f"{where}.places", _MAX_PLACES)]
    findings: dict[Key, Severity] = {}
    titles: dict[Key, str] = {}
    for number, entry in enumerate(_list(row.get("findings"), f"{where}.findings", _MAX_FINDINGS)):
        key, severity, title = _finding(entry, f"{where}.findings[{number}]", places)
        if key not in findings or _ORDER.index(severity) < _ORDER.index(findings[key]):
            findings[key], titles[key] = severity, title
    answers: dict[Key, Stand] = {}
    for number, entry in enumerate(_list(row.get("vectors"), f"{where}.vectors", _MAX_ANSWERS)):
        key, stand = _answer(entry, f"{where}.vectors[{number}]")
        if key not in answers or _STANDS.index(stand) < _STANDS.index(answers[key]):
            answers[key] = stand
    grade = _text(row.get("grade", "-"), f"{where}.grade")
    at = _number(row.get("at", 0), f"{where}.at")
    return Seen(_text(row.get("target"), f"{where}.target"), verdict, grade, at, findings, titles, answers)


def _finding(entry: Any, where: str, places: list[str]) -> tuple[Key, Severity, str]:
    row = _object(entry, where)
    title = _text(row.get("title"), f"{where}.title")
    try:
        severity = Severity(str(row.get("severity")))
    except ValueError:
        raise HistoryError(f"{where}.severity is {_shown(str(row.get('severity')), 60)}, which is none") from None
    # The place stands in the title; "192.0.2.1:25" stands in "192.0.2.1:25 after STARTTLS" too, so the longest one counts.
    place = max((place for place in places if place and place in title), key=len, default="")
    return Key(_text(row.get("id"), f"{where}.id"), place), severity, title


def _answer(entry: Any, where: str) -> tuple[Key, Stand]:
    row = _object(entry, where)
    try:
        stand = Stand(str(row.get("stand")))
    except ValueError:
        raise HistoryError(f"{where}.stand is {_shown(str(row.get('stand')), 60)}, which is no answer") from None
    return Key(_text(row.get("id"), f"{where}.id"), _text(row.get("place"), f"{where}.place")), stand


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise HistoryError(f"is no result of an audit: {where} is no object")
    return value


def _list(value: Any, where: str, most: int) -> list[Any]:
    if not isinstance(value, list):
        raise HistoryError(f"is no result of an audit: {where} is no list")
    if len(value) > most:
        raise HistoryError(f"is no result of an audit: {where} has {len(value)} members")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise HistoryError(f"is no result of an audit: {where} is no text")
    return _shown(value)


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise HistoryError(f"is no result of an audit: {where} is no time")
    return float(value)


def _shown(text: str, most: int = MOST) -> str:
    """Printable; JSON can hold half a character, as no octets can."""
    return printable(text.encode("utf-8", "surrogatepass"), most)
