"""What a server session is made of before it knows a single command: octets in, events, questions and replies out, an end."""

from __future__ import annotations

from abc import ABC, abstractmethod

from postlatch.model.reply import Reply
from postlatch.smtp import replies
from postlatch.smtp.config import ServerConfig, greeting
from postlatch.smtp.events import (
    AuthResponse,
    AuthStart,
    BodyEnd,
    BodyStart,
    Closed,
    Question,
    Reason,
    Rejected,
    ServerEvent,
    StartTls,
    TransactionDropped,
)
from postlatch.smtp.lines import BareLineFeed, LineBuffer, LineTooLong
from postlatch.smtp.patience import Patience
from postlatch.smtp.states import TABLE, Input, State, Verb


class Conversation(ABC):
    """The mechanics of ``ServerSession``, which is the class to use."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._patience = Patience(config)
        self._state = State.SILENT
        self._lines = LineBuffer()
        self._out = bytearray()
        self._events: list[ServerEvent] = []  # one or two, so a list; an empty deque is 600 octets
        self._question: Question | None = None
        self._farewell: Reply | None = None  # to be said behind the answer to the open question
        self._esmtp = False  # greeted by EHLO
        self._open = False  # a transaction is

    @property
    def waiting(self) -> bool:
        """True while an event awaits its answer."""
        return self._question is not None

    @property
    def esmtp(self) -> bool:
        """True after EHLO."""
        return self._esmtp

    @property
    def in_transaction(self) -> bool:
        """True from the acceptance of MAIL to BodyEnd's answer or TransactionDropped."""
        return self._open

    def start(self) -> None:
        """Greet, unless the client spoke first."""
        if self._state is State.SILENT:
            self._move(Input.GREETED)
            self._send(greeting(self._config))

    def refuse(self, reply: Reply) -> None:
        """Instead of ``start``: this reply, and the end."""
        if self._state is State.SILENT:
            self._close(Reason.REFUSED, reply)

    def receive(self, data: bytes) -> None:
        """Take octets from the client. Before ``start`` they are early talk, which ends the session unread."""
        if self._state is State.SILENT and data:
            self._close(Reason.EARLY_TALKER, replies.SYNCHRONISATION)
        if self._state is not State.CLOSED:
            self._lines.data += data

    def next_event(self) -> ServerEvent | None:
        """The next event; None if octets or an answer are needed first. Nothing follows ``Closed``."""
        while not self._events and self._question is None and self._step():
            pass
        return self._events.pop(0) if self._events else None

    def output(self) -> bytes:
        """What is to be sent now; the next call gives only what came since."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def shutdown(self, reply: Reply) -> None:
        """End the session for a reason of ours: at once, or behind the answer if a question is open."""
        if self._question is None:
            self._close(Reason.SHUTDOWN, reply)
        elif isinstance(self._question, StartTls):
            self._close(Reason.SHUTDOWN)  # a reply would land in the middle of the handshake
        else:
            self._farewell = reply

    @abstractmethod
    def _step(self) -> bool:
        """Do one thing with the buffered octets; False if they do not suffice."""

    def _line(self, limit: int) -> bytes | None:
        """The next line; None if it is not there yet, or the session ended over it."""
        try:
            return self._lines.line(limit)
        except LineTooLong:
            self._close(Reason.LINE_TOO_LONG, replies.LINE_TOO_LONG)
        except BareLineFeed:
            self._close(Reason.BARE_LF, replies.BARE_LF)
        return None

    def _ask(self, question: Question) -> None:
        self._question = question
        self._events.append(question)

    def _take(self, *kinds: type[Question]) -> Question:
        """The open question, no longer open."""
        question = self._question
        if not isinstance(question, kinds):
            raise RuntimeError(f"{type(question).__name__} is not answered by this call")  # noqa: TRY004 (a matter of turn)
        self._question = None
        return question

    def _did_not_wait(self, question: Question) -> bool:
        """True, and closed, if octets arrived before a reply that the client had to wait for.

        Never for BodyEnd: the message may be on disk already, and its 250 is not taken back.
        """
        if not self._lines.data:
            return False
        match question:
            case BodyStart():
                must_wait = not question.chunking
            case AuthStart() | AuthResponse():
                must_wait = True
            case _:
                must_wait = not (self._esmtp or isinstance(question, BodyEnd))
        if must_wait:
            self._close(Reason.PIPELINING, replies.SYNCHRONISATION)
        return must_wait

    def _move(self, cause: Verb | Input) -> None:
        step = TABLE[self._state][cause]
        assert isinstance(step, State)
        self._state = step

    def _send(self, reply: Reply) -> None:
        self._out += reply.encode()

    def _reject(self, verb: str, reply: Reply) -> None:
        """Refuse a command by ourselves."""
        self._record(verb, reply)
        self._send(reply)
        self._leave_if_due()

    def _record(self, verb: str, reply: Reply) -> None:
        self._events.append(Rejected(verb, reply))
        if reply.permanent:
            self._patience.error()

    def _drop(self, reason: Reason) -> None:
        """The transaction is over without a message."""
        if self._open:
            self._open = False
            self._events.append(TransactionDropped(reason))

    def _leave_if_due(self) -> bool:
        """Close if patience is lost or a shutdown waits; True if the session is closed."""
        lost = self._patience.lost
        if lost is not None:
            self._close(*lost)
        elif self._farewell is not None:
            self._close(Reason.SHUTDOWN, self._farewell)
        return self._state is State.CLOSED

    def _close(self, reason: Reason, reply: Reply | None = None) -> None:
        if self._state is State.CLOSED:
            return
        if reply is not None:
            self._send(reply)
        self._drop(reason)
        self._state = State.CLOSED
        self._question = None
        self._lines.clear()
        self._events.append(Closed(reason))
