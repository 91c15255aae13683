"""The queue: recipients, messages, and what was done to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from postlatch.cli.render.words import NOTHING, count, size, text, when
from postlatch.cli.text import HEADING_STYLE, Line, Table


def recipients(data: dict[str, Any]) -> list[Line | Table]:
    """One row a recipient."""
    entries = data.get("recipients") or []
    if not entries and data.get("next"):
        return [Line(f"Nothing matched so far, and the queue is long. Go on: --after {data['next']}")]
    if not entries:
        return [Line("No queued recipients.")]
    rows = [
        (
            text(entry.get("id")),
            text(entry.get("state")),
            text(entry.get("recipient")),
            sender(entry.get("sender")),
            size(entry.get("size")),
            text(entry.get("attempts")),
            when(entry.get("next_attempt")),
            text(entry.get("last_reply")),
        )
        for entry in entries
    ]
    lines: list[Line | Table] = [Table(("ID", "STATE", "RECIPIENT", "SENDER", "SIZE", "TRIES", "NEXT TRY", "LAST REPLY"), rows)]
    if data.get("next"):
        lines += [Line(), Line(f"There are more: --after {data['next']}")]
    return lines


def sender(value: Any) -> str:
    """The null sender as people write it."""
    return str(value) if value else "<>"


def messages(data: dict[str, Any]) -> list[Line | Table]:
    """Each message with its facts and its recipients."""
    lines: list[Line | Table] = []
    for message in data.get("messages") or []:
        lines += [Line()] if lines else []
        lines += _message(message)
    return lines or [Line("No such message.")]


_FACTS = (
    ("received", "received_at", when),
    ("from", "sender", sender),
    ("size", "size", size),
    ("account", "account", text),
    ("client", "client", text),
    ("listener", "listener", text),
    ("helo", "helo", text),
    ("Message-ID", "header_message_id", text),
    ("kind", "kind", text),
    ("priority", "priority", text),
)


def _message(message: dict[str, Any]) -> list[Line | Table]:
    lines: list[Line | Table] = [Line(f"Message {text(message.get('message_id'))}", HEADING_STYLE)]
    for name, field, show in _FACTS:
        if field in message and (value := show(message[field])) != NOTHING:
            lines.append(Line(f"  {name:<10}  {value}"))
    for recipient in message.get("recipients") or []:
        lines += _recipient(recipient)
    return lines


def _recipient(entry: dict[str, Any]) -> list[Line]:
    """A recipient's story, as far as there is one."""
    original = entry.get("original")
    named = f" (sent to {original})" if original and original != entry.get("recipient") else ""
    grant = " ".join(str(entry[field]) for field in ("grant", "grant_ref") if entry.get(field))
    facts = [
        ("grant", grant or "none: a domain of ours"),
        ("attempts", text(entry.get("attempts"))),
        ("next try", when(entry.get("next_attempt"))),
        ("finished", when(entry.get("finished_at"))),
        ("last reply", text(entry.get("last_reply"))),
        ("from host", text(entry.get("last_remote"))),
        (
            "note",
            "may have been delivered twice (the relay stopped in the middle)" if entry.get("possible_duplicate") else NOTHING,
        ),
    ]
    head = Line(f"  {text(entry.get('id'))}  {text(entry.get('state'))}  {text(entry.get('recipient'))}{named}")
    return [head, *(Line(f"    {name:<10}  {value}") for name, value in facts if value != NOTHING)]


def changed(verb: str) -> Callable[[dict[str, Any]], list[Line | Table]]:
    """A rendering of how many recipients an operator's action met."""

    def render(data: dict[str, Any]) -> list[Line | Table]:
        done, active = _number(data.get("changed_count") or data.get("changed")), _number(data.get("active"))
        lines: list[Line | Table] = [Line(f"{verb} {count(done, 'recipient')}." if done or active else "Nothing matched.")]
        if active:
            verb_form = "is" if active == 1 else "are"
            lines.append(Line(f"{count(active, 'recipient')} {verb_form} under way at this moment and left alone: try again."))
        if data.get("next"):
            lines.append(Line(f"That is not all yet: the queue is long. The same again, with --after {data['next']}"))
        return lines

    return render


def _number(value: Any) -> int:
    return len(value) if isinstance(value, list) else int(value or 0)
