"""What others report: the sums of each domain, each report, and what to do about the sources that fail."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from postlatch.cli.render.words import count, text
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, Line, Table

_WORST = 20  # sources in the summary

_ADVICE = {
    "dmarc": "If such a source is yours, let it sign with DKIM as your domain, or name it in the domain's SPF record "
    "(postlatch dns DOMAIN). If it is not, it uses your name: with p=reject receivers turn it away.",
    "tls": "Look at the certificate and the MTA-STS or TLSA records of the host that is named (postlatch dns DOMAIN).",
}


def reports(data: dict[str, Any]) -> list[Line | Table]:
    """Domains first, then reports, then failures in words."""
    found: list[dict[str, Any]] = data.get("reports") or []
    if not found:
        return [Line("There are no reports. They come once the DNS names your report addresses: postlatch dns DOMAIN.")]
    lines: list[Line | Table] = [_domains(found), Line(), _each(found)]
    if not all(report.get("verified", True) for report in found):
        lines += [
            Line(),
            Line("Unverified: no domain vouched for the mail that brought it. Anybody may have written it.", BAD_STYLE),
        ]
    for kind in ("dmarc", "tls"):
        lines += _failures([report for report in found if report.get("kind") == kind], kind)
    if not any(report.get("failed") for report in found):
        lines += [Line(), Line("Nothing failed.", GOOD_STYLE)]
    return lines


def _domains(found: Iterable[dict[str, Any]]) -> Table:
    sums: dict[tuple[str, str], list[int]] = {}
    for report in found:
        kind = text(report.get("kind")) + ("" if report.get("verified", True) else ", unverified")
        mine = sums.setdefault((text(report.get("domain")), kind), [0, 0, 0])
        for place, name in enumerate(("messages", "passed", "failed")):
            mine[place] += int(report.get(name) or 0)
    rows = [(domain, kind, *(f"{number:,}" for number in numbers)) for (domain, kind), numbers in sorted(sums.items())]
    return Table(("DOMAIN", "KIND", "MESSAGES", "PASSED", "FAILED"), rows)


def _each(found: Iterable[dict[str, Any]]) -> Table:
    rows = [
        (
            text(report.get("end")),
            text(report.get("domain")),
            text(report.get("kind")),
            text(report.get("reporter")),
            text(report.get("author")) if report.get("verified", True) else "unverified",
            text(report.get("passed")),
            text(report.get("failed")),
            text(report.get("report_id")),
        )
        for report in found
    ]
    return Table(("UNTIL", "DOMAIN", "KIND", "REPORTER", "SENT BY", "PASSED", "FAILED", "REPORT"), rows)


def _failures(found: Iterable[dict[str, Any]], kind: str) -> list[Line | Table]:
    """The worst sources, each with its sentence, and what to do about them."""
    told = [source for report in found for source in report.get("sources") or []]
    if not told:
        return []
    told.sort(key=lambda source: -int(source.get("messages") or 0))
    lines: list[Line | Table] = [Line(), Line(f"What failed ({kind}):", BAD_STYLE)]
    lines += [Line(f"  {text(source.get('why'))}") for source in told[:_WORST]]
    if len(told) > _WORST:
        lines.append(Line(f"  and {count(len(told) - _WORST, 'source')} more: --json shows them"))
    return [*lines, Line(_ADVICE[kind])]
