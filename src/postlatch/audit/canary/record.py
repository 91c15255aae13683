"""What ``postlatch audit canary --record FILE`` writes on one machine and an audit on another reads: one JSON object a line."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any, Final

from postlatch.audit.canary.values import Arrival, CanaryError
from postlatch.audit.printable import printable

SCHEMA: Final = "postlatch.audit.canary/1"
_MAX_LINE: Final = 65_536
_A_LOOK: Final = 8_388_608  # octets that are read at most in one look
_MAX_ARRIVALS: Final = 10_000
_MAX_RECEIVED: Final = 50


def as_line(arrival: Arrival) -> str:
    """One arrival, with its line end. Fields may be added, never renamed."""
    data = {"schema": SCHEMA, **arrival._asdict(), "received": list(arrival.received), "at": round(arrival.at, 3)}
    return json.dumps(data) + "\n"


def read_line(line: bytes) -> Arrival | None:
    """The arrival of a line; None for what is none. Any octets give an answer."""
    try:
        data = json.loads(line) if len(line) <= _MAX_LINE else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("token"), str):
        return None
    received = data.get("received")
    texts = received[:_MAX_RECEIVED] if isinstance(received, list) else []
    at = data.get("at")
    return Arrival(
        _text(data, "token"),
        _text(data, "sender"),
        _text(data, "recipient"),
        bounce=data.get("bounce") is not False,  # only what says that it is the message itself proves a relay
        received=tuple(_shown(text) for text in texts if isinstance(text, str)),
        client=_text(data, "client"),
        at=float(at) if isinstance(at, (int, float)) and abs(at) < 1e12 else 0.0,
    )


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    return _shown(value) if isinstance(value, str) else ""


def _shown(text: str) -> str:
    """What was printable stays as it is: its backslashes are the writer's."""
    return text[:500] if text.isascii() and text.isprintable() else printable(text.encode("utf-8", "surrogatepass"))


class RecordReader:
    """The arrivals of ``run`` in a record that grows, or is copied here again and again. CanaryError if it is not there."""

    def __init__(self, path: Path, *, run: str) -> None:
        self._path = path
        self._run = run
        self._file = (0, 0)  # device and inode
        self._offset = 0
        self._arrivals: list[Arrival] = []
        self._look()

    async def arrivals(self) -> list[Arrival]:
        """As of `Canary`."""
        await asyncio.to_thread(self._look)
        return list(self._arrivals)

    def _look(self) -> None:
        shown = printable(str(self._path), 200)
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                if (status.st_dev, status.st_ino) != self._file or status.st_size < self._offset:
                    self._file, self._offset, self._arrivals = (status.st_dev, status.st_ino), 0, []
                    self._offset = max(0, status.st_size - _A_LOOK)  # what is older is of older audits
                file.seek(self._offset)
                octets = file.read(_A_LOOK)
        except FileNotFoundError:
            raise CanaryError(f"There is no {shown}: start `postlatch audit canary --record` first, which makes it") from None
        except OSError as error:
            why = printable(error.strerror or str(error))
            raise CanaryError(f"{shown} cannot be read ({why}): it must be the file that audit canary --record wrote") from None
        whole, end, _ = octets.rpartition(b"\n")
        self._offset += len(whole) + len(end)
        if not end and len(octets) == _A_LOOK:
            self._offset += _A_LOOK  # no line at all: skip it
        for line in whole.split(b"\n"):
            self._keep(read_line(line))

    def _keep(self, arrival: Arrival | None) -> None:
        if arrival is not None and arrival.token.startswith(f"{self._run}-") and len(self._arrivals) < _MAX_ARRIVALS:
            self._arrivals.append(arrival)
