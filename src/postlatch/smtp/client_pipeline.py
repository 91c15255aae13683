"""Commands out, replies in, in step: which reply answers which command. RFC 2920."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from postlatch.smtp.client_replies import ReplyParser, WireReply
from postlatch.smtp.client_states import Awaits
from postlatch.smtp.client_transaction import Transaction


class Step(NamedTuple):
    """One reply that is to come. ``number`` is the index of the recipient that it concerns, -1 for all."""

    awaits: Awaits
    transaction: Transaction | None = None
    number: int = -1


Command = tuple[Step, bytes]  # what it awaits, and its line with CR LF
NOTHING: Final = Step(Awaits.NOTHING)


class Pipeline:
    """The line of awaited replies and, for a server without PIPELINING, the line of commands that wait for their turn."""

    __slots__ = ("_out", "_parser", "_pending", "_unsent", "pipelining")

    def __init__(self, first: Step) -> None:
        self.pipelining = False
        self._parser = ReplyParser()
        self._pending: deque[Step] = deque((first,))
        self._unsent: deque[Command] = deque()
        self._out: list[bytes] = []

    @property
    def quiet(self) -> bool:
        """True if no reply is to come and no command waits."""
        return not (self._pending or self._unsent)

    @property
    def has_rest(self) -> bool:
        """True if octets were received behind the last reply that was given out."""
        return self._parser.has_rest

    @property
    def head(self) -> Step | None:
        """What the next reply will answer."""
        return self._pending[0] if self._pending else None

    @property
    def next_unsent(self) -> Awaits | None:
        """What the next command that waits for its turn is; None if none waits."""
        return self._unsent[0][0].awaits if self._unsent else None

    def send(self, commands: Iterable[Command]) -> None:
        """Queue commands. They leave at once under PIPELINING, else one by one."""
        self._unsent.extend(commands)
        self._pump()

    def write(self, data: bytes, awaits: Iterable[Step] = ()) -> None:
        """Send what is no command, and note the replies that it will bring."""
        self._out.append(data)
        self._pending.extend(awaits)

    def drop_unsent(self) -> None:
        """Forget the commands that did not leave yet: they have lost their sense."""
        self._unsent.clear()

    def clear(self) -> None:
        """Nothing more is awaited or sent."""
        self._unsent.clear()
        self._pending.clear()
        self._out.clear()

    def feed(self, data: bytes) -> None:
        """Take octets, then ask ``next_reply`` until it gives None."""
        self._parser.feed(data)

    def next_reply(self) -> tuple[Step | None, WireReply] | None:
        """The next reply with what it answers (None: nothing was asked); None if there is none yet; may raise ReplyError."""
        reply = self._parser.next_reply()
        if reply is not None:
            return (self._pending.popleft() if self._pending else None), reply
        self._pump()
        return None

    def take_output(self) -> bytes:
        """The octets to send now."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    def _pump(self) -> None:
        unsent = self._unsent
        while unsent and (self.pipelining or not self._pending):
            step, line = unsent.popleft()
            self._pending.append(step)
            self._out.append(line)
