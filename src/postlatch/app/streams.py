"""Long outputs, page by page: following the journal, exporting it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from postlatch.app.answer import Answer, CommandFailed

Ask = Callable[[str, dict[str, Any]], Answer]

_POLL = 0.5  # seconds


def _asked(ask: Ask, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = ask(command, arguments)
    if answer.status not in {0, 1}:
        raise CommandFailed(answer)
    return answer.data


def follow(ask: Ask, arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The last events, then each new one, until the reader has enough."""
    after = 0
    for event in _asked(ask, "journal.tail", arguments)["events"]:
        after = event["seq"]
        yield event
    while True:
        for event in _asked(ask, "journal.read", {"after": after})["events"]:
            after = event["seq"]
            yield event
        time.sleep(_POLL)


def export(ask: Ask, arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every event of a time range, or every signed head."""
    command = "journal.heads" if arguments.get("heads") else "journal.export"
    after = 0
    while True:
        page = _asked(ask, command, {**arguments, "after": after})
        yield from page["events"]
        if page["after"] is None:
            return
        after = page["after"]
