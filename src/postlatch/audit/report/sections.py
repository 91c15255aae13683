"""What a page shows, whatever it is about: audits, linted configurations, posture. One section each, all of the same parts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple, cast

from postlatch.audit.posture.values import Check, State
from postlatch.audit.probes.values import Stand
from postlatch.audit.report.table import cell
from postlatch.audit.report.words import FAMILIES, STANDS, VERDICTS, Tone, counted, family, family_name, rank
from postlatch.audit.result import TargetResult, as_data
from postlatch.audit.values import Finding, LintResult, Verdict

_TONES: Final[dict[Stand, Tone]] = {Stand.BROKE: "bad", Stand.TAKEN: "bad", Stand.UNDECIDED: "unsure", Stand.HELD: "good"}
_BY_SIGN: Final[dict[str, Tone]] = {STANDS[stand][1]: tone for stand, tone in _TONES.items()}


class Cell(NamedTuple):
    """A cell of a table. A tone is never all that tells: the text does as well."""

    text: str
    tone: Tone | None = None
    code: bool = False  # what was typed or said, in the letters of a terminal
    faint: bool = False  # nothing to look at


class Grid(NamedTuple):
    """A table; the first cell of a row is its heading."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


class Section(NamedTuple):
    """One thing that was judged.

    ``means`` and ``do`` are for whoever decides, ``facts`` pairs of name and value, ``overview`` and ``details`` tables: the
    details of all sections stand at the end of the page.
    """

    name: str
    verdict: str
    tone: Tone
    summary: str
    means: str = ""
    do: str = ""
    grade: str = ""
    decide: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    findings: tuple[Finding, ...] = ()
    sentences: tuple[str, ...] = ()
    overview: tuple[Grid, ...] = ()
    details: tuple[Grid, ...] = ()


def audit_section(result: TargetResult) -> Section:
    """Of an audited server."""
    words = VERDICTS[result.verdict]
    return Section(
        result.target,
        words.name,
        words.tone,
        result.summary,
        words.means,
        words.do,
        "" if result.grade == "-" else result.grade,
        result.decide,
        _facts(result),
        result.findings,
        overview=(_matrix(result),) if result.outcomes else (),
        details=(_vectors(result),) if result.outcomes else (),
    )


def _facts(result: TargetResult) -> tuple[tuple[str, str], ...]:
    asked = sum(outcome.stand is not Stand.ABSENT for outcome in result.outcomes)
    began = datetime.fromtimestamp(result.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if result.at else ""
    work = ", ".join(
        (counted(asked, "question"), counted(result.connections, "connection"), counted(result.messages, "message"))
    )
    pairs = (
        ("Server", f"seems to be {result.server}" if result.server else ""),
        ("Asked at", ", ".join(result.places)),
        ("Begun", f"{began}, took {result.seconds:.1f} s" if began else ""),
        ("Asked", work),
        ("Evidence", _EVIDENCE[result.evidence.value]),
    )
    return tuple((name, value) for name, value in pairs if value)


_EVIDENCE: Final = {
    "E0": "E0: every message of a stranger for a stranger was refused",
    "E1": "E1: a stranger's recipient was accepted",
    "E2": "E2: a stranger's message was asked for",
    "E3": "E3: a stranger's message was accepted",
    "E4": "E4: a stranger's message arrived where it was sent to",
    "E5": "E5: a bounce arrived at a sender that was made up",
}


def _matrix(result: TargetResult) -> Grid:
    vectors = as_data(result)["vectors"]
    places = list(dict.fromkeys(str(one["place"]) for one in vectors))
    known = list(FAMILIES)
    keys = sorted({family(one["id"]) for one in vectors}, key=lambda key: known.index(key) if key in FAMILIES else len(known))
    rows = []
    for key in keys:
        told = [cell([one for one in vectors if family(one["id"]) == key and one["place"] == place]) for place in places]
        rows.append(
            (
                Cell(family_name(key)),
                *(Cell(_said(text), _BY_SIGN.get(text[0]), faint=text[0] not in _BY_SIGN) for text in told),
            )
        )
    return Grid(f"What was asked of {result.target}, and where", ("Kind of question", *places), tuple(rows))


_SIGNS: Final = {sign: words for words, sign in STANDS.values()}


def _said(text: str) -> str:
    """``2 of 31 broke`` for ``x2/31``."""
    number, _, of = text[1:].partition("/")
    words = _SIGNS[text[0]]
    if not number:
        return words
    return f"{number} of {of} {words}" if of else f"{number} {words}"


def _vectors(result: TargetResult) -> Grid:
    rows = tuple(
        (
            Cell(outcome.vector),
            Cell(str(outcome.place)),
            Cell(outcome.how, code=True),
            Cell(f"{STANDS[outcome.stand][0]}, {outcome.evidence.value}", _TONES.get(outcome.stand)),
            Cell(outcome.why),
        )
        for outcome in result.outcomes
    )
    return Grid(f"Every question to {result.target}", ("No.", "Where", "What was asked", "Answer", "Why"), rows)


_LINTED: Final[dict[Verdict, tuple[str, Tone, str, str]]] = {
    Verdict.OPEN: (
        "Open",
        "bad",
        "Strangers can relay by this configuration: whoever connects can send mail to anybody.",
        "Make the changes below, in this order, and read the configuration again.",
    ),
    Verdict.UNKNOWN: (
        "Unknown",
        "unsure",
        "Whether strangers can relay does not stand in these files alone.",
        "See below what decides, or ask the running server: postlatch audit.",
    ),
    Verdict.CLOSED: (
        "Closed",
        "good",
        "Strangers cannot relay by this configuration.",
        "Nothing has to be done for this. Read it again after every change.",
    ),
}


def lint_section(name: str, result: LintResult) -> Section:
    """Of a configuration that was read."""
    verdict, tone, means, do = _LINTED[result.verdict]
    summary = counted(len(result.findings), "finding") if result.findings else "No findings"
    return Section(
        name, verdict, tone, f"{summary} in the configuration.", means, do, findings=result.findings, sentences=result.can_relay
    )


def findings_section(name: str, findings: Sequence[Finding], verdict: str, tone: Tone, summary: str) -> Section:
    """Of anything else that gives findings. ``_replace`` adds what more there is to say."""
    return Section(name, verdict, tone, summary, findings=tuple(findings))


_STATES: Final[dict[State, tuple[str, Tone | None]]] = {
    State.GOOD: ("good", "good"),
    State.BAD: ("bad", "bad"),
    State.WARN: ("could be better", "unsure"),
    State.ABSENT: ("not there", None),
    State.UNKNOWN: ("not known", "unsure"),
    State.INFO: ("to know", None),
}


def posture_section(domain: str, checks: Sequence[Check]) -> Section:
    """Of what a domain says of itself in DNS and TLS."""
    findings = sorted((finding for one in checks for finding in one.findings), key=lambda finding: rank(finding.severity))
    states = [one.state for one in checks]
    bad, unknown = states.count(State.BAD), states.count(State.UNKNOWN)
    verdict, tone, summary = "Good", "good", f"All {counted(len(checks), 'check')} are good, or there is little to better."
    if bad:
        verdict, tone, summary = "Needs work", "bad", f"{bad} of {counted(len(checks), 'check')} found something that is wrong."
    elif unknown:
        verdict, tone, summary = "Not all known", "unsure", f"{unknown} of {counted(len(checks), 'check')} could not be made."
    rows = tuple(
        (Cell(one.title), Cell(*_STATES[one.state], faint=one.state is State.ABSENT), Cell(one.detail)) for one in checks
    )
    grid = Grid(f"What was looked at for {domain}", ("Check", "State", "What was found"), rows)
    return findings_section(domain, findings, verdict, cast("Tone", tone), summary)._replace(overview=(grid,))
