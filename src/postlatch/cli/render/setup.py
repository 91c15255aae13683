"""``init``, ``backup`` and ``restore``."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import count, size, text
from postlatch.cli.text import HEADING_STYLE, Line, Table


def init(data: dict[str, Any]) -> list[Line | Table]:
    """What was made, the password (this once), and what to do next."""
    lines: list[Line | Table] = [Line(f"{text(data.get('config'))} is written for {text(data.get('domain'))}.", HEADING_STYLE)]
    lines += [Line(f"  {file}") for file in data.get("files") or []]
    if data.get("administrator"):
        lines += [Line(), Line(f"Administrator:  {data['administrator']}")]
    if data.get("password"):
        lines += [Line(f"Password:       {data['password']}"), Line("                It is shown this once; keep it now.")]
    steps = data.get("next") or []
    if steps:
        lines += [Line(), Line("Next:", HEADING_STYLE), *(Line(f"  {number}. {step}") for number, step in enumerate(steps, 1))]
    return lines


def backup(data: dict[str, Any]) -> list[Line | Table]:
    """What was written."""
    messages = data.get("messages")
    held = f", with {count(messages, 'message')} in the queue" if isinstance(messages, int) else ""
    return [Line(f"Backup written: {text(data.get('file'))} ({size(data.get('size'))}{held}).")]


def restore(data: dict[str, Any]) -> list[Line | Table]:
    """What was restored, and how to go on."""
    held = data.get("held")
    lines: list[Line | Table] = [Line(f"Restored into {text(data.get('directory'))}.")]
    if isinstance(held, int) and held:
        lines.append(
            Line(f"{count(held, 'recipient')} held, since they may have been delivered after the backup. Look, then release:")
        )
        lines += [Line("  postlatch queue list --state held"), Line("  postlatch queue release --state held")]
    return lines
