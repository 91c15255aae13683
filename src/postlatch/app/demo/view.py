"""What the demo shows: decisions with reasons, the queue, the sink. A live screen on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from postlatch.app.demo.sink import Sink

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN = {
    "message.accepted": ("accepted", "green"),
    "connection.refused": ("refused", "red"),
    "sender.refused": ("refused", "red"),
    "recipient.refused": ("refused", "red"),
    "message.refused": ("refused", "red"),
    "delivery.delivered": ("delivered", "cyan"),
    "delivery.deferred": ("deferred", "yellow"),
    "delivery.held": ("held", "yellow"),
    "auth.succeeded": ("login", "green"),
    "auth.failed": ("login failed", "red"),
    "limit.reached": ("limit", "yellow"),
    "relay.probed": ("self-probe", "blue"),
}


def printable(value: object) -> str:
    """Text for a terminal: control characters and everything outside ASCII escaped."""
    return str(value).encode("unicode_escape").decode("ascii")


def describe(event: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """(word, colour, sentence) of an event that the view shows, else None."""
    shown = _SHOWN.get(str(event.get("event")))
    if shown is None:
        return None
    who = event.get("account") or event.get("client") or event.get("listener") or ""
    named = event.get("recipient") or ""
    to = ", ".join(named) if isinstance(named, list) else named
    arrow = f" -> {to}" if to else ""
    reason = event.get("why") or event.get("reply") or event.get("result") or ""
    if event["event"] == "message.accepted":
        reason = ", ".join(event.get("grants") or []) or "for our own domain"
    return shown[0], shown[1], printable(f"{who}{arrow}  {reason}")


class View:
    """Keeps the last lines and the counts; renders them."""

    def __init__(self, sink: Sink, header: list[str]) -> None:
        self._sink = sink
        self._header = header
        self._lines: deque[tuple[str, str, str, str]] = deque(maxlen=40)
        self._counts: Counter[str] = Counter()
        self._queue: Counter[str] = Counter()
        self._plain = not sys.stdout.isatty()
        self._printed_sink = 0

    def event(self, event: Mapping[str, Any]) -> None:
        """Take one journal event in."""
        described = describe(event)
        if described is None:
            return
        word, colour, sentence = described
        self._counts[word] += 1
        at = datetime.fromtimestamp(float(event["at"]), UTC).strftime("%H:%M:%S")
        self._lines.append((at, word, colour, sentence))
        if self._plain:
            sys.stdout.write(f"{at} {word:12} {sentence}\n")

    def queue(self, states: Counter[str]) -> None:
        """The queue's recipients by state."""
        self._queue = states

    def tick(self) -> None:
        """In plain mode: tell what reached the sink since the last call."""
        if self._plain:
            fresh = self._sink.count - self._printed_sink
            for message in list(self._sink.messages)[-fresh:] if fresh else []:
                line = f"{message.sender} -> {', '.join(message.recipients)}: {message.subject}"
                sys.stdout.write(f"         {'sink':12} {printable(line)}\n")
            self._printed_sink = self._sink.count
            sys.stdout.flush()

    @property
    def plain(self) -> bool:
        """True if there is no terminal."""
        return self._plain

    def render(self) -> RenderableType:
        """The live screen."""
        from rich.layout import Layout  # noqa: PLC0415  (rich is loaded late: DESIGN section 7)
        from rich.panel import Panel  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        layout = Layout()
        layout.split_column(
            Layout(name="top", size=len(self._header) + 2), Layout(name="middle"), Layout(name="bottom", size=10)
        )
        layout["top"].update(Panel(Text("\n".join(self._header)), title="postlatch demo (Ctrl-C ends it)"))
        layout["middle"].update(Panel(self._decisions(), title="Decisions"))
        layout["bottom"].split_row(Layout(name="queue"), Layout(name="sink", ratio=2))
        counts = "\n".join(f"{word:13}{count}" for word, count in sorted(self._counts.items()))
        states = ", ".join(f"{count} {state}" for state, count in sorted(self._queue.items())) or "empty"
        layout["bottom"]["queue"].update(Panel(Text(f"Queue: {states}\n{counts}"), title="Counts"))
        sunk = "\n".join(
            printable(f"{m.sender} -> {', '.join(m.recipients)}: {m.subject}") for m in list(self._sink.messages)[-7:]
        )
        layout["bottom"]["sink"].update(Panel(Text(sunk), title=f"Delivered to the outside (sink): {self._sink.count}"))
        return layout

    def _decisions(self) -> RenderableType:
        from rich.text import Text  # noqa: PLC0415

        text = Text(no_wrap=True, overflow="ellipsis")
        for at, word, colour, sentence in list(self._lines)[-22:]:
            text.append(f"{at} ")
            text.append(f"{word:12} ", style=colour)
            text.append(f"{sentence}\n")
        return text
