"""``reputation`` and ``greylist``: a score with its reasons, and who is asked to come back."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import count, text, when
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, UNSURE_STYLE, Line, Style, Table

_ACTIONS: dict[str, tuple[str, Style]] = {
    "none": ("nothing is done", GOOD_STYLE),
    "mark": ("its mail is marked", UNSURE_STYLE),
    "greylist": ("it is greylisted", UNSURE_STYLE),
    "refuse": ("it is refused", BAD_STYLE),
}


def reputation(data: dict[str, Any]) -> list[Line | Table]:
    """The score and what follows from it, its parts, and the lists that could not be asked."""
    what, style = _ACTIONS.get(text(data.get("action")), ("", UNSURE_STYLE))
    lines: list[Line | Table] = [Line(f"{text(data.get('client'))} has a score of {text(data.get('score'))}: {what}", style)]
    lines += [
        Line(f"  {int(reason.get('weight') or 0):+d}  {text(reason.get('sign'))}: {text(reason.get('why'))}")
        for reason in data.get("reasons") or []
    ]
    lines += [
        Line(f"   0  {text(one.get('zone'))}: {text(one.get('result'))}, {text(one.get('why'))}", UNSURE_STYLE)
        for one in data.get("lists") or []
        if one.get("why")
    ]
    if not data.get("checked"):
        lines.append(Line("reputation.check is false in the configuration: nobody is judged yet."))
    return lines


def entries(data: dict[str, Any]) -> list[Line | Table]:
    """Who waits and who came back, then the groups that need not."""
    found, allowed = data.get("entries") or [], data.get("allowed") or []
    if not found and not allowed:
        return [Line("The greylist is empty.")]
    lines: list[Line | Table] = []
    if found:
        rows = [
            (
                text(one.get("state")),
                text(one.get("group")),
                text(one.get("sender")),
                text(one.get("recipient")),
                when(one["retry_at"]) if one.get("retry_at") else "",
            )
            for one in found
        ]
        lines += [Table(("STATE", "GROUP", "SENDER", "RECIPIENT", "MAY COME BACK"), rows)]
    if (more := int(data.get("count") or 0) - len(found)) > 0:
        lines += [Line(f"and {count(more, 'entry', 'entries')} more")]
    if allowed:
        groups = [(text(one.get("group")), text(one.get("successes")), when(one.get("until"))) for one in allowed]
        lines += [Line(), Line("Let through without delay:"), Table(("GROUP", "CAME BACK", "UNTIL"), groups)]
    return lines
