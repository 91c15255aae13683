"""How two audits differ."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import count
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, UNSURE_STYLE, Line, Style, Table

# What is said of each list, with a sign for who sees no colours.
_LISTS: tuple[tuple[str, str, str, Style | None], ...] = (
    ("worse", "Worse", "x", BAD_STYLE),
    ("unsure", "Not to be seen any more", "?", UNSURE_STYLE),
    ("better", "Better", "+", GOOD_STYLE),
    ("new", "New", "*", None),
    ("gone", "Gone", "-", None),
)


def compare(data: dict[str, Any]) -> list[Line | Table]:
    """The verdict in a line, then each difference as a sentence, the bad news first."""
    counts = {name: len(data.get(name) or ()) for name, *_ in _LISTS}
    if counts["worse"]:
        lines: list[Line | Table] = [Line(f"[x] Worse in {count(counts['worse'], 'point')}.", BAD_STYLE)]
    elif any(change.get("what") == "verdict" for change in data.get("unsure") or ()):
        lines = [Line("[?] Nothing is known to be worse, but there is no verdict any more.", UNSURE_STYLE)]
    elif any(counts.values()):
        lines = [Line("[+] Nothing is worse.", GOOD_STYLE)]
    else:
        lines = [Line("[+] Nothing changed.", GOOD_STYLE)]
    for name, heading, sign, style in _LISTS:
        if counts[name]:
            lines.append(Line(f"{heading}:", style))
            lines += [Line(f"  {sign} {change.get('sentence')}") for change in data[name]]
    lines.append(Line(f"{count(int(data.get('same') or 0), 'point')} as before."))
    return lines
