"""``verify`` and ``spf``: each result in words, with its reason."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import count, text
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, UNSURE_STYLE, Line, Style, Table

_STYLES: dict[str, Style] = {"pass": GOOD_STYLE, "fail": BAD_STYLE, "permerror": BAD_STYLE, "softfail": BAD_STYLE}
_ASKED = {"reject": "reject it", "quarantine": "quarantine it", "none": "do nothing special with it"}


def spf(data: dict[str, Any]) -> list[Line | Table]:
    """The result, what decided, and why."""
    lines = [_result("SPF", data, text(data.get("domain"))), *_reason(data)]
    if data.get("mechanism"):
        lines.append(Line(f"     decided by: {data['mechanism']}"))
    lines.append(Line(f"     {count(int(data.get('lookups') or 0), 'DNS look-up')} of the 10 that are allowed"))
    if data.get("explanation"):
        lines.append(Line(f"     the domain's owner says: {data['explanation']}"))
    return list(lines)


def verify(data: dict[str, Any]) -> list[Line | Table]:
    """Each check by itself, then what it comes to, and the field to expect in the message."""
    found, arc, dmarc = data.get("spf") or {}, data.get("arc") or {}, data.get("dmarc") or {}
    lines: list[Line | Table] = spf(found)
    signatures = data.get("dkim") or []
    if not signatures:
        lines.append(Line("DKIM none: the message is not signed", UNSURE_STYLE))
    for one in signatures:
        name = f"{text(one.get('domain'))}, selector {text(one.get('selector'))}, {text(one.get('algorithm'))}"
        lines += [_result("DKIM", one, name), *_reason(one)]
    seals = count(int(arc["instance"]), "seal") if arc.get("instance") else "a message without seals"
    lines += [_result("ARC", arc, seals), *_reason(arc)]
    lines += [_result("DMARC", dmarc, text(dmarc.get("from_domain"))), *_reason(dmarc), *_asked(dmarc)]
    lines += [Line(), Line("As a field of the message:")]
    field = str(data.get("authentication_results") or "").replace("\t", "  ")
    lines += [Line(f"  {line}") for line in field.split("\n")]
    return lines


def _result(name: str, data: dict[str, Any], about: str) -> Line:
    result = text(data.get("result"))
    return Line(f"{name} {result} for {about}", _STYLES.get(result, UNSURE_STYLE))


def _reason(data: dict[str, Any]) -> list[Line]:
    return [Line(f"     {data['reason']}")] if data.get("reason") else []


def _asked(dmarc: dict[str, Any]) -> list[Line]:
    if not dmarc.get("policy_domain") or dmarc.get("result") != "fail":
        return []
    asked = _ASKED.get(str(dmarc.get("disposition")), "")
    return [Line(f"     the policy of {dmarc['policy_domain']} asks to {asked}")]
