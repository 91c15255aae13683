"""A page for people: one file that loads nothing, runs nothing, and prints well. Every value is escaped in one place."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from importlib import resources
from typing import Final

from postlatch.audit.report.sections import Cell, Grid, Section
from postlatch.audit.report.words import PRODUCT, Tone, counted, one_line
from postlatch.audit.values import Finding, Severity

STYLE: Final = resources.files(__package__).joinpath("report.css").read_text("ascii")
_HASH: Final = base64.b64encode(sha256(STYLE.encode()).digest()).decode()
# A page that came by mail and is opened from a disk: nothing in it may load, run or send, whatever a server had it say.
POLICY: Final = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"

_MARKS: Final[dict[Tone, str]] = {"good": "\u2713", "bad": "\u2715", "unsure": "?"}
_SEVERITY_TONES: Final[dict[Severity, str]] = {Severity.CRITICAL: "bad", Severity.HIGH: "bad", Severity.MEDIUM: "unsure"}


def text(value: object) -> str:
    """As HTML text or attribute; control and bidirectional characters as their codes, line ends kept."""
    return escape("\n".join(map(one_line, str(value).split("\n"))))


def html(title: str, sections: Sequence[Section], *, version: str, now: float, things: str = "servers") -> str:
    """The whole page, in ASCII, so that no character set and no pipe can spoil it. ``things``: what is judged."""
    body = [
        f'<header><p class="kicker">{text(title)}</p><h1>{text(headline(sections, things))}</h1>',
        f'<p class="quiet">Made by {PRODUCT} {text(version)} on {_time(now)}.</p>',
        _summary(sections) if sections else "",
        "</header><main>",
        *(_section(number, section) for number, section in enumerate(sections, 1)),
        _details(sections),
        f"</main><footer><p>{PRODUCT} {text(version)}, {_time(now)}. {_FOOT}</p></footer>",
    ]
    return _document(title, "\n".join(filter(None, body))).encode("ascii", "xmlcharrefreplace").decode("ascii")


_FOOT: Final = "A verdict holds for what was asked, when and from where it was asked."


def headline(sections: Sequence[Section], things: str) -> str:
    """How it stands, in a sentence: the bad news first."""
    if not sections:
        return "Nothing was judged"
    bad = [section for section in sections if section.tone == "bad"]
    unsure = [section for section in sections if section.tone == "unsure"]
    if len(sections) == 1:
        return f"{sections[0].name}: {sections[0].verdict[0].lower()}{sections[0].verdict[1:]}"
    if bad:
        return f"{len(bad)} of {len(sections)} {things} {'needs' if len(bad) == 1 else 'need'} action now"
    if unsure:
        return f"{len(unsure)} of {len(sections)} {things} could not be judged"
    return f"All {len(sections)} {things} are as they should be"


def _document(title: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style></head>\n<body>{body}</body></html>\n"
    )


def _summary(sections: Sequence[Section]) -> str:
    graded = any(section.grade for section in sections)
    rows = "".join(
        f'<tr><th scope="row"><a href="#s{number}">{_breakable(section.name)}</a></th>'
        f"<td>{_badge(section.tone, section.verdict)}</td>"
        + (f'<td class="number">{text(section.grade or "-")}</td>' if graded else "")
        + f'<td class="number">{len(section.findings)}</td></tr>'
        for number, section in enumerate(sections, 1)
    )
    grade = '<th scope="col" class="number">Grade</th>' if graded else ""
    head = f'<th scope="col">What</th><th scope="col">Verdict</th>{grade}<th scope="col" class="number">Findings</th>'
    table = f'<table class="summary" aria-label="Summary"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="scroll" role="region" tabindex="0" aria-label="Summary">{table}</div>'


def _breakable(name: str) -> str:
    """A host name that may go on in the next line after a dot."""
    return text(name).replace(".", ".<wbr>")


def _badge(tone: Tone, words: str) -> str:
    return f'<span class="badge {tone}"><span aria-hidden="true">{_MARKS[tone]}</span> {text(words)}</span>'


def _section(number: int, section: Section) -> str:
    grade = f'<p class="grade {section.tone}"><span>Grade</span> {text(section.grade)}</p>' if section.grade else ""
    parts = [
        f'<section aria-labelledby="s{number}"><div class="verdict {section.tone}">',
        f'<div><h2 id="s{number}">{text(section.name)}</h2><p class="word">',
        f'<span aria-hidden="true">{_MARKS[section.tone]}</span> {text(section.verdict)}</p>',
        f"<p>{text(section.summary)}</p></div>{grade}</div>",
        _told("What it means", section.means),
        _told("What to do", section.do),
        _told("What would decide it", section.decide),
        _sentences(section.sentences),
        _findings(number, section.findings),
        *(_grid(f"s{number}g{index}", grid, 3) for index, grid in enumerate(section.overview)),
        _facts(section.facts),
        "</section>",
    ]
    return "\n".join(filter(None, parts))


def _told(heading: str, words: str) -> str:
    return f"<h3>{heading}</h3><p>{text(words)}</p>" if words else ""


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    pairs = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in facts)
    return f"<h3>How it was found out</h3><dl>{pairs}</dl>" if pairs else ""


def _sentences(sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return f"<h3>Who can send without logging in</h3><ul>{items}</ul>" if items else ""


def _findings(number: int, findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    title = f"{counted(len(findings), 'finding')}, the most urgent first" if len(findings) > 1 else "The finding"
    items = "".join(_finding(f"s{number}f{index}", finding) for index, finding in enumerate(findings, 1))
    return f'<h3>{title}</h3><ol class="findings">{items}</ol>'


def _finding(name: str, finding: Finding) -> str:
    tone = _SEVERITY_TONES.get(finding.severity, "quiet")
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    parts = [
        f'<li class="finding"><h4 id="{name}"><span class="severity {tone}">{finding.severity.value}</span> ',
        f"{text(finding.message)}</h4>",
        f'<p class="quiet code">{text(place)}</p>' if place else "",
        f'<p class="label">Impact</p><p>{text(finding.why)}</p>' if finding.why else "",
        f'<p class="label">Fix</p><p class="fix">{text(finding.fix)}</p>' if finding.fix else "",
        _transcript(name, finding.transcript),
        f'<p class="quiet code">{text(finding.id)}</p></li>',
    ]
    return "".join(parts)


def _transcript(name: str, spoken: Sequence[str]) -> str:
    if not spoken:
        return ""
    rows = "\n".join(f'<span class="{_speaker(line)}">{text(line)}</span>' for line in spoken)
    label = f'aria-labelledby="{name}t {name}"'
    return (
        f'<p class="label" id="{name}t">Evidence: what was said</p>'
        f'<pre tabindex="0" role="region" {label}><code>{rows}</code></pre>'
    )


def _speaker(line: str) -> str:
    return {"C:": "client", "S:": "server"}.get(line[:2], "note")


def _details(sections: Sequence[Section]) -> str:
    grids = [
        _grid(f"d{number}g{index}", grid, 3)
        for number, section in enumerate(sections, 1)
        for index, grid in enumerate(section.details)
    ]
    if not grids:
        return ""
    heading = '<h2 id="details">Everything that was asked</h2>'
    return f'<section class="appendix" aria-labelledby="details">{heading}{"".join(grids)}</section>'


def _grid(name: str, grid: Grid, level: int) -> str:
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in grid.columns)
    rows = "".join(f"<tr>{_row(row)}</tr>" for row in grid.rows)
    note = f'<p class="quiet">{text(grid.note)}</p>' if grid.note else ""
    table = f'<table aria-labelledby="{name}"><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table>'
    region = f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{name}">{table}</div>'
    return f'<h{level} id="{name}">{text(grid.heading)}</h{level}>{note}{region}'


def _row(cells: Sequence[Cell]) -> str:
    first, *rest = cells
    return f'<th scope="row">{text(first.text)}</th>' + "".join(map(_cell, rest)) + "\n"


def _cell(cell: Cell) -> str:
    words = f"<code>{text(cell.text)}</code>" if cell.code else text(cell.text)
    if cell.tone is None:
        return f'<td class="none">{words}</td>' if cell.faint else f"<td>{words}</td>"
    return f'<td class="{cell.tone}"><span class="mark" aria-hidden="true">{_MARKS[cell.tone]}</span> {words}</td>'


def _time(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{moment:%Y-%m-%d %H:%M} UTC</time>'
