"""Printing answers: JSON for programs, clean aligned text for people. Whatever a stranger sent is escaped on its way out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from postlatch.cli.backend import GOOD, UNUSABLE, Answer
from postlatch.cli.text import Line, Table, clean, present

INTERRUPTED = 130  # as a shell reports SIGINT


def color_wish() -> bool | None:
    """False if the user wants no colour anywhere (no-color.org); None: only on a terminal."""
    return False if os.environ.get("NO_COLOR") else None


def show(command: str, answer: Answer, *, as_json: bool) -> int:
    """Print an answer: its result to standard output, what went wrong to standard error. Returns the exit status."""
    if as_json:
        _show_json(command, answer)
    elif _has_result(command, answer):
        from postlatch.cli.render import render  # noqa: PLC0415 (help and errors need no renderings)

        echo(render(command, answer.data))
    if answer.status != GOOD:
        _show_errors(command, answer)
    return answer.status


def _has_result(command: str, answer: Answer) -> bool:
    fields = set(answer.data) - {"schema", "errors"}
    return bool(fields) or (command == "check" and bool(answer.data))


def _show_errors(command: str, answer: Answer) -> None:
    errors = [] if command == "check" else answer.data.get("errors", [])
    for error in errors:
        click.echo(clean(place(error)), err=True)
    if answer.message:
        for number, line in enumerate(answer.message.splitlines()):
            click.echo(("" if number else "Error: ") + clean(line), err=True)
    elif answer.status == UNUSABLE and not answer.data:
        click.echo(f"Error: {command.replace('.', ' ')} failed, and no reason was given", err=True)


def place(error: dict[str, Any]) -> str:
    """``file:line: key: message`` of one problem in the configuration."""
    line = error.get("line")
    where = f"{error.get('file', '')}:{line}" if line is not None else str(error.get("file") or "")
    return ": ".join(filter(None, (where, str(error.get("key") or ""), str(error.get("message") or ""))))


def _show_json(command: str, answer: Answer) -> None:
    if command == "journal.tail" and answer.data:
        for event in answer.data["events"]:  # a tail is NDJSON, whether it is followed or not
            click.echo(to_json(event))
        return
    data = answer.data or {"schema": "postlatch.error/1", "status": answer.status, "message": answer.message}
    click.echo(to_json(data, indent=2 if _is_terminal() else None))


def to_json(data: Any, indent: int | None = None) -> str:
    """Pure printable ASCII, so that no terminal is ever commanded by it."""
    return json.dumps(data, indent=indent).replace("\x7f", "\\u007f")


def show_stream(command: str, records: Iterator[dict[str, Any]], *, as_json: bool) -> int:
    """Print records as they come, one a line, until they end, the reader goes away, or the user interrupts."""
    from postlatch.cli.render import render_record  # noqa: PLC0415 (as above)

    try:
        for record in records:
            if as_json:
                click.echo(to_json(record))
            else:
                echo([render_record(command, record)])
    except BrokenPipeError:
        # The reader (head, less) has what it wanted. What Python flushes at its end must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return INTERRUPTED
    return GOOD


def echo(blocks: list[Line | Table]) -> None:
    """Lines and tables to standard output, as wide as the terminal; off a terminal, as wide as they need."""
    width = _width() if _is_terminal() else None
    for text, style in present(blocks, width):
        click.echo(click.style(_encodable(text), **style) if style else _encodable(text))


def _encodable(text: str) -> str:
    """What the terminal's character set lacks (LANG=C) is escaped, not an error."""
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _is_terminal() -> bool:
    return sys.stdout.isatty()


def _width() -> int:
    import shutil  # noqa: PLC0415 (only on a terminal)

    return shutil.get_terminal_size().columns
