"""An audit for a terminal: the verdict first, then what to fix in which order, the evidence, and what was asked.

80 columns, in words and signs: nothing needs a colour. Made from the JSON of a result, so that a result that was read back from
a file is shown like a fresh one. Everything is cleaned here of what could command a terminal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any, Final, NamedTuple

from postlatch.audit.probes.values import Stand
from postlatch.audit.report.words import (
    FAMILIES,
    STAND_ORDER,
    STANDS,
    VERDICTS,
    Tone,
    counted,
    family,
    family_name,
    one_line,
)
from postlatch.audit.values import AuditVerdict

WIDTH: Final = 80
_LABEL: Final = 44
_CELL: Final = 9
_A_ROW: Final = (WIDTH - _LABEL) // _CELL


class Said(NamedTuple):
    """One line. ``tone`` may colour it; ``heading`` may be bold."""

    text: str = ""
    tone: Tone | None = None
    heading: bool = False


def lines(target: Mapping[str, Any]) -> list[Said]:
    """All about one target: a member of ``targets`` in ``postlatch.audit/1``."""
    findings = list(target.get("findings") or ())
    return [
        *_verdict(target),
        *_fixes(findings),
        *_evidence(findings),
        *_asked(list(target.get("vectors") or ())),
    ]


def _verdict(target: Mapping[str, Any]) -> Iterator[Said]:
    words = VERDICTS.get(AuditVerdict(target["verdict"]), VERDICTS[AuditVerdict.INCONCLUSIVE])
    grade = "no grade" if target.get("grade") in {"-", None} else f"grade {target['grade']}"
    yield Said(one_line(f"[{words.sign}] {target['target']}: {words.name.upper()} ({grade})"), words.tone)
    yield from _wrapped(str(target.get("summary") or ""), "    ")
    if target.get("decide"):
        yield from _wrapped(f"To decide it: {target['decide']}", "    ")
    if target.get("server"):
        yield from _wrapped(f"Seems to be {target['server']}.", "    ")
    yield from _wrapped(_counts(target), "    ")


def _counts(target: Mapping[str, Any]) -> str:
    asked = sum(one.get("stand") != Stand.ABSENT.value for one in target.get("vectors") or ())
    parts = [
        counted(asked, "question"),
        counted(int(target.get("connections") or 0), "connection"),
        counted(int(target.get("messages") or 0), "message"),
        f"{float(target.get('seconds') or 0):.1f} s",
    ]
    if at := target.get("at"):
        parts.append(datetime.fromtimestamp(float(at), UTC).strftime("begun %Y-%m-%d %H:%M:%S UTC"))
    return ", ".join(parts) + "."


def _fixes(findings: Sequence[Mapping[str, Any]]) -> Iterator[Said]:
    if not findings:
        return
    yield from (Said(), Said("What to fix, in this order", heading=True))
    for number, finding in enumerate(findings, 1):
        severity = str(finding.get("severity"))
        tone: Tone = "bad" if severity in {"critical", "high"} else "unsure"
        first, *rest = _wrapped(f"{finding.get('title')} [{finding.get('id')}]", f"{number:>2}. {severity.upper()}: ", "    ")
        yield first._replace(tone=tone if severity not in {"low", "info"} else None)
        yield from rest
        if finding.get("impact"):
            yield from _wrapped(str(finding["impact"]), "    Why: ", "         ")
        if finding.get("fix"):
            yield from _wrapped(str(finding["fix"]), "    Fix: ", "         ")


def _evidence(findings: Sequence[Mapping[str, Any]]) -> Iterator[Said]:
    shown = [(number, finding) for number, finding in enumerate(findings, 1) if finding.get("transcript")]
    if not shown:
        return
    yield from (Said(), Said("Evidence", heading=True))
    for number, finding in shown:
        yield from _wrapped(str(finding.get("id")), f"{number:>2}. ", "    ")
        for spoken in finding["transcript"]:
            yield from _wrapped(str(spoken), "    | ", "    |    ")


def _asked(vectors: Sequence[Mapping[str, Any]]) -> Iterator[Said]:
    """Families of questions by places; a cell is the worst answer's sign, how many there were of it, and of how many."""
    if not vectors:
        return
    quiet, vectors = _quiet(vectors)
    places = list(dict.fromkeys(str(one.get("place")) for one in vectors))
    yield from (Said(), Said("What was asked", heading=True))
    for number, place in enumerate(places, 1):
        yield from _wrapped(place, f" {number:>2}  ", "     ")
    families = sorted({family(str(one.get("id"))) for one in vectors}, key=_family_order)
    for start in range(0, len(places), _A_ROW):
        columns = list(enumerate(places, 1))[start : start + _A_ROW]
        yield Said(" " * _LABEL + "".join(f"{number:>{_CELL}}" for number, _ in columns))
        for key in families:
            cells = (cell([one for one in vectors if _is_at(one, key, place)]) for _, place in columns)
            name = one_line(family_name(key))[: _LABEL - 6]
            yield Said(f"  {name + ' ':.<{_LABEL - 4}}  " + "".join(f"{text:>{_CELL}}" for text in cells))
    signs = ", ".join(f"{STANDS[stand][1]} {STANDS[stand][0]}" for stand in reversed(STAND_ORDER))
    if quiet:
        yield from _wrapped(f"One question each, and nothing was taken: {', '.join(quiet)}.", "  ")
    yield from _wrapped(f"Signs: {signs}. x2/31: two of 31 answers.", "  ")


def _quiet(vectors: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[Mapping[str, Any]]]:
    """The places that one question alone was put to and that held, which are worth no column; and the other questions."""
    times = Counter(str(one.get("place")) for one in vectors)
    good = {Stand.HELD.value, Stand.ABSENT.value}
    quiet = [str(one["place"]) for one in vectors if times[str(one.get("place"))] == 1 and one.get("stand") in good]
    if len(quiet) == len(times):  # then they are all that there is
        return [], list(vectors)
    return quiet, [one for one in vectors if str(one.get("place")) not in quiet]


def _is_at(one: Mapping[str, Any], key: str, place: str) -> bool:
    return family(str(one.get("id"))) == key and str(one.get("place")) == place


def _family_order(key: str) -> tuple[int, str]:
    known = list(FAMILIES)
    return (known.index(key) if key in FAMILIES else len(known), key)


def cell(vectors: Sequence[Mapping[str, Any]]) -> str:
    """``+31``, ``x2/31``; only what is worse than held needs two numbers."""
    stands = [Stand(one["stand"]) for one in vectors]
    worst = next((stand for stand in STAND_ORDER if stand in stands), None)
    if worst is None or worst is Stand.ABSENT:
        return STANDS[Stand.ABSENT][1]
    asked = [stand for stand in stands if stand is not Stand.ABSENT]
    number = asked.count(worst)
    return f"{STANDS[worst][1]}{number}" + ("" if number == len(asked) else f"/{len(asked)}")


def _wrapped(text: str, first: str, rest: str | None = None) -> Iterator[Said]:
    """At most ``WIDTH`` columns where words allow; a word that is longer (an address) stays whole, to be copied."""
    indent = first if rest is None else rest
    for number, part in enumerate(text.split("\n")):
        begins = indent if number else first
        pieces = wrap(
            one_line(part),
            WIDTH,
            initial_indent=begins,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        yield from map(Said, pieces or [begins.rstrip()])
