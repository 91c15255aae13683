"""Log lines: the journal's events under the journal's names and ids, one line each, for a console or as JSON.

A line is printable ASCII whatever a client said: a newline or an escape sequence in HELO is ``\\n`` and ``\\u001b`` in it.
``structlog.get_logger().warning(name, field=…)`` of any room comes out in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Final, Literal, TextIO

import structlog

from postlatch.journal.codec import RESERVED, record, to_json
from postlatch.journal.times import when_exactly
from postlatch.model.clock import Clock
from postlatch.model.events import Event

Style = Literal["console", "json"]

# What a person must see. Every other event is `info`.
LEVELS: Final[Mapping[str, str]] = {
    "account.suspended": "warning",
    "alert.raised": "warning",
    "clock.jumped": "warning",
    "delivery.held": "warning",
    "directory.failed": "warning",
    "directory.lied": "error",
    "masking.found": "error",
    "policy.refused": "error",
    "store.failed": "error",
}
_INFO: Final = 20
_GATHERED: Final = 1000  # lines
_PADDED: Final = {level: f"{level:<7}" for level in ("debug", "info", "warning", "error", "critical")}
_BARE: Final = re.compile(r"[A-Za-z0-9@.:/+_<>\[\]-]+")  # nothing that could be taken for a space, a quote or another field


class _Output:
    """Where lines go. A full disk or a closed pipe loses lines, never mail."""

    def __init__(self) -> None:
        self.style: Style = "console"
        self.stream: TextIO | None = None
        self.gathers = False
        self._waiting: list[str] = []

    def put(self, at: float, level: str, name: str, fields: Mapping[str, Any]) -> None:
        line = _json_line(at, level, name, fields) if self.style == "json" else _console_line(at, level, name, fields)
        if self.gathers and level == "info" and len(self._waiting) < _GATHERED:
            self._waiting.append(line)
        else:
            self.write(line)

    def write(self, line: str) -> None:
        self._waiting.append(line)
        self.flush()

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if self.stream is None or not waiting:
            return
        try:
            self.stream.write("\n".join(waiting) + "\n")
            self.stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            return

    # What structlog calls.

    def debug(self, line: str) -> None:
        self.write(line)

    def info(self, line: str) -> None:
        self.write(line)

    def warning(self, line: str) -> None:
        self.write(line)

    def error(self, line: str) -> None:
        self.write(line)

    def critical(self, line: str) -> None:
        self.write(line)


_output = _Output()


def configure(style: Style, stream: TextIO, clock: Clock, *, gathers: bool = False) -> None:
    """Send all log lines to ``stream``. ``clock`` dates those that are not events. Until this is called there are none.

    ``gathers``: events of level info wait for ``flush_log`` or for something more serious, so that a busy relay does not make
    a system call for each of them.
    """
    _output.style, _output.stream, _output.gathers = style, stream, gathers
    structlog.configure(
        processors=[structlog.processors.ExceptionRenderer(), _Render(clock)],
        wrapper_class=structlog.make_filtering_bound_logger(_INFO),
        logger_factory=lambda *_: _output,
        cache_logger_on_first_use=False,
    )


def log_event(event: Event) -> None:
    """Write one event of the journal as a log line (8 µs). Never raises for what a field holds, nor for the stream.

    Events are so many that they go past structlog's processors, which double the price, straight to the same renderer.
    """
    fields = event.fields
    if not RESERVED.isdisjoint(fields):
        fields = record(event)
        del fields["at"], fields["event"]
    _output.put(event.at, LEVELS.get(event.name, "info"), event.name, fields)


def flush_log() -> None:
    """Write what has gathered. Call it a few times a second, and at the end."""
    _output.flush()


class _Render:
    """structlog's last processor."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, _logger: object, level: str, fields: MutableMapping[str, Any]) -> str:
        name = str(fields.pop("event"))
        render = _json_line if _output.style == "json" else _console_line
        return render(self._clock.now(), level, name, fields)


def _json_line(at: float, level: str, name: str, fields: Mapping[str, Any]) -> str:
    head = {"at": when_exactly(at), "level": level, "event": name}
    if head.keys().isdisjoint(fields):
        return to_json({**head, **fields})
    return to_json(head | {f"{field}_" if field in head else field: value for field, value in fields.items()})


def _console_line(at: float, level: str, name: str, fields: Mapping[str, Any]) -> str:
    parts = [when_exactly(at), _PADDED.get(level, level), _name(name)]
    for field, value in fields.items():
        if value is not None and value != "":  # what says nothing is left out of a line for people
            parts.append(f"{_name(field)}={_shown(value)}")
    return " ".join(parts)


@lru_cache(maxsize=256)  # names are few
def _name(text: str) -> str:
    return _shown(text)


def _shown(value: object) -> str:
    """A value as it is if that is clear, else as JSON."""
    if isinstance(value, str):
        return _shown_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if type(value) is int:
        return str(value)
    if type(value) is float and 0.001 <= value < 1e15:  # outside, JSON's form has an exponent or is no number
        return repr(value)
    if type(value) is list and len(value) == 1 and isinstance(value[0], str) and _BARE.fullmatch(value[0]):
        return f'["{value[0]}"]'  # one recipient, one grant: nearly always
    return to_json(value)


@lru_cache(maxsize=4096)  # listeners, clients, senders, rules, replies: most are seen again and again
def _shown_text(text: str) -> str:
    return text if _BARE.fullmatch(text) else to_json(text)
