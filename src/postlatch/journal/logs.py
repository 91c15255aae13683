"""Log lines: the journal's events with the journal's names and ids, one line each, for a console or as JSON.

A line is printable ASCII whatever a client said: a newline or an escape sequence in HELO is ``\\n`` and ``\\u001b`` in the line.
Everything goes through structlog, so ``structlog.get_logger().info(name, field=…)`` of any room comes out in the same way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog

from postlatch.journal.codec import plain, record
from postlatch.journal.times import when_exactly
from postlatch.model.clock import Clock
from postlatch.model.events import Event

Fields = MutableMapping[str, Any]

# What a person must see. Everything else that happens is `info`.
LEVELS: Mapping[str, Literal["warning", "error"]] = {
    "account.suspended": "warning",
    "alert.raised": "warning",
    "clock.jumped": "warning",
    "delivery.held": "warning",
    "policy.refused": "error",
    "store.failed": "error",
}
_INFO = 20
_BARE = re.compile(r"[A-Za-z0-9@.:/+_<>\[\]-]+")


def configure(style: Literal["console", "json"], stream: TextIO, clock: Clock) -> None:
    """Send all log lines to ``stream``. ``clock`` dates the lines that are not events. Call once at the start."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.ExceptionRenderer(),
            _Date(clock),
            _json_line if style == "json" else _console_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_INFO),
        logger_factory=lambda *_: _Lines(stream),
        cache_logger_on_first_use=False,
    )


def log_event(event: Event) -> None:
    """Write one event of the journal as a log line: 10 µs. Never raises for what a field holds or for the stream."""
    fields = record(event)
    del fields["event"]
    getattr(structlog.get_logger(), LEVELS.get(event.name, "info"))(event.name, **fields)


class _Date:
    """A processor: ``at`` becomes RFC 3339, and a line without one gets it from the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, _logger: object, _method: str, fields: Fields) -> Fields:
        at = fields.get("at")
        fields["at"] = when_exactly(at if isinstance(at, int | float) else self._clock.now())
        return fields


def _json_line(_logger: object, _method: str, fields: Fields) -> str:
    head = {"at": fields.pop("at"), "level": fields.pop("level"), "event": fields.pop("event")}
    return _ascii({**head, **fields})


def _console_line(_logger: object, _method: str, fields: Fields) -> str:
    lead = f"{fields.pop('at')} {fields.pop('level'):<7} {_bare(fields.pop('event'))}"
    return " ".join([lead, *(f"{_bare(name)}={_bare(value)}" for name, value in fields.items() if value not in {None, ""})])


def _bare(value: object) -> str:
    """A value as it is if nothing in it could be taken for another field, else as a JSON string."""
    if isinstance(value, str) and _BARE.fullmatch(value):
        return value
    return _ascii(value)


def _ascii(value: object) -> str:
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        text = json.dumps(plain(value))
    return text.replace("\x7f", "\\u007f")


class _Lines:
    """Where structlog's lines end. A full disk or a closed pipe loses lines, never mail."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            return

    debug = info = warning = error = critical = write
