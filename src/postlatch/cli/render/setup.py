"""``init``, ``backup``, ``restore`` and ``salvage``."""

from __future__ import annotations

from typing import Any

from postlatch.cli.render.words import count, size, text
from postlatch.cli.text import BAD_STYLE, HEADING_STYLE, Line, Table


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


def salvage(data: dict[str, Any]) -> list[Line | Table]:
    """What was saved, what was not, and what to do next."""
    lines: list[Line | Table] = [Line(f"Saved into {text(data.get('file'))}; {text(data.get('damaged'))} is as it was.")]
    messages, held = int(data.get("messages") or 0), int(data.get("held") or 0)
    lines.append(Line(f"  {count(messages, 'message')} in the queue, {count(held, 'recipient')} of them held now"))
    if data.get("without_body"):
        lines.append(Line(f"  {count(int(data['without_body']), 'message')} of these without a whole body", BAD_STYLE))
    lines += [Line(f"  {count(int(data.get(f'{name}s') or 0), name)}") for name in ("account", "right", "ban")]
    lines.append(Line(f"  {count(int(data.get('events') or 0), 'event')} of the journal"))
    lost = data.get("lost") or {}
    if data.get("tables") or lost:
        lines.append(Line("NOT ALL could be saved:", BAD_STYLE))
        lines += [Line(f"  the table {table} could not be read through") for table in data.get("tables") or []]
        lines += [Line(f"  {name}: {count(int(number), 'entry', 'entries')} in quarantine") for name, number in lost.items()]
    steps = data.get("next") or []
    lines += [Line(), Line("Next:", HEADING_STYLE), *(Line(f"  {number}. {step}") for number, step in enumerate(steps, 1))]
    return lines
