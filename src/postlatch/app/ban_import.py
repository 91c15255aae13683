"""``ban import FILE``: reads the file here, as whoever gave the command, and hands it over in pieces."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from postlatch.app.answer import UNUSABLE, Answer
from postlatch.app.ban_files import LONGEST_LINE, MOST_LINES, export_lines
from postlatch.app.commands.ban import AT_ONCE

Ask = Callable[[str, dict[str, Any]], Answer]
_SHOWN = 100
_OCTETS = 100_000  # of one request; what is no text takes six times as much in JSON


def import_bans(ask: Ask, arguments: dict[str, Any]) -> Answer:
    """The answer of ``ban import``. What was taken before something went wrong stays taken, and the answer says so."""
    imported = refused = 0
    named: list[dict[str, Any]] = []
    try:
        for piece in _pieces(arguments["file"]):
            answer = ask("ban.import", {**_rest(arguments), "lines": piece})
            if answer.status:
                note = f" ({imported} bans of the lines before are in force)" if imported else ""
                return answer._replace(message=f"{answer.message}{note}")
            imported, refused = imported + answer.data["imported"], refused + answer.data["refused"]
            named = [*named, *answer.data["not_taken"]][:_SHOWN]
    except OSError as error:
        return Answer(UNUSABLE, {}, f"{arguments['file']}: {error.strerror or error}")
    data = {"imported": imported, "refused": refused, "not_taken": named, "schema": "postlatch.ban.import/1"}
    return Answer(0, data, "")


def export_bans(answer: Answer, arguments: dict[str, Any]) -> Answer:
    """The answer of ``ban export``, with its lines."""
    if answer.status:
        return answer
    data = {**answer.data}
    lines = list(export_lines(arguments.get("format", "plain"), data.pop("bans"), data.pop("now")))
    return answer._replace(data={**data, "lines": lines})


def _rest(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if name != "file"}


def _pieces(name: str) -> Iterator[list[tuple[int, str]]]:
    if name == "-":
        yield from pieces(sys.stdin.buffer)
        return
    with Path(name).open("rb") as file:
        yield from pieces(file)


def pieces(file: BinaryIO) -> Iterator[list[tuple[int, str]]]:
    """Numbered lines, as many at once as a request holds; the rest of a line that is too long is passed over."""
    piece: list[tuple[int, str]] = []
    octets = 0
    for number in range(1, MOST_LINES + 1):
        line = file.readline(LONGEST_LINE + 2)
        if not line:
            break
        whole = line
        while whole and not whole.endswith(b"\n"):  # the rest of a line that is too long
            whole = file.readline(LONGEST_LINE + 2)
        piece.append((number, line.decode("utf-8", "replace").rstrip("\r\n")))
        octets += len(line)
        if len(piece) >= AT_ONCE or octets >= _OCTETS:
            yield piece
            piece, octets = [], 0
    if piece:
        yield piece
