r"""SMTP conversations as files, played against a server in three ways: line by line, octet by octet, and pipelined.

A transcript is text. Each line begins with what it is:

    # a comment
    config: role=mx max_size=100     settings, for the peer
    C: MAIL FROM:<a@example.com>     the client sends this line and CR LF; \r \n \t \0 \xHH and \\ are octets
    C- 12345                         the client sends these octets and nothing behind them
    A: 550 5.7.1 No                  what the owner of the server answers to the next question that the line above brings up
    O: shutdown 421 4.3.2 Bye        what the owner does of its own accord
    S: 250 2.1.0 OK                  the server sends this line and CR LF
    E: Mail sender=a@example.com     the server tells this event (or one that begins with these words)

What the server sends is compared whole, at the place where it is due. Of events, those that are listed must come, in this
order. A question for which there is no ``A:`` is answered by the peer's default.

``play`` needs a ``Peer``; ``SessionPeer`` is one around ``postlatch.smtp.server.ServerSession``. Write your own to play the
same files against a socket.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from postlatch.model.address import Address
from postlatch.model.envelope import RecipientParams, Role, SenderParams
from postlatch.model.reply import Reply
from postlatch.smtp.events import (
    AuthResponse,
    AuthStart,
    BodyChunk,
    BodyEnd,
    BodyStart,
    Mail,
    Question,
    Rcpt,
    ServerEvent,
    StartTls,
    TransactionDropped,
)
from postlatch.smtp.server import ServerConfig, ServerSession

_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|[rnt0\\])")
_OCTETS = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
# A client must wait for the reply to these (RFC 2920 section 3.1), so nothing is pipelined behind them.
_LAST_IN_GROUP = re.compile(rb"(?:EHLO|HELO|DATA|STARTTLS|AUTH|QUIT)\b", re.IGNORECASE)


class Mode(Enum):
    """How the client's octets are cut."""

    LINES = "line by line"
    OCTETS = "octet by octet"
    PIPELINED = "pipelined"


class TranscriptMismatch(AssertionError):
    """The server did not follow the transcript; the message says where, what was due and what came."""


class Peer(Protocol):
    """Something that can play the server's part."""

    def send(self, data: bytes, answers: Sequence[str]) -> None:
        """The client sends ``data``; questions that come up are answered from ``answers``, then by default."""
        ...

    def act(self, action: str) -> None:
        """The owner acts (``O:``)."""
        ...

    def heard(self) -> bytes:
        """What the server has sent since the last call."""
        ...

    def told(self) -> list[str]:
        """The events since the last call, as text."""
        ...

    def given(self) -> list[str]:
        """Every answer given so far, defaults included."""
        ...


@dataclass(slots=True)
class Step:
    """Octets of the client, or an action of the owner, and what must follow from it. ``line`` is its line in the file."""

    line: int
    data: bytes = b""
    action: str = ""
    answers: list[str] = field(default_factory=list)
    server: bytes = b""
    events: list[str] = field(default_factory=list)


class Transcript:
    """A parsed conversation."""

    def __init__(self, name: str, settings: dict[str, str], steps: Sequence[Step]) -> None:
        self.name = name
        self.settings = settings
        self.steps = tuple(steps)

    @classmethod
    def load(cls, path: Path) -> Transcript:
        """Read a file in UTF-8; ValueError if a line is of no known kind."""
        return cls.parse(path.read_text("utf-8"), path.name)

    @classmethod
    def parse(cls, text: str, name: str = "transcript") -> Transcript:
        """Parse the text of a transcript; ValueError if a line is of no known kind."""
        settings: dict[str, str] = {}
        steps = [Step(1)]  # what the server says before anyone else
        for number, line in enumerate(text.split("\n"), start=1):
            kind, content = line[:2], line[3:]
            if not line.strip() or line.startswith("#"):
                continue
            if line.startswith("config: "):
                settings |= dict(item.split("=", 1) for item in line[8:].split())
            elif kind in {"C:", "C-"}:
                steps.append(Step(number, data=_octets(content) + (b"\r\n" if kind == "C:" else b"")))
            elif kind == "O:":
                steps.append(Step(number, action=content))
            elif kind == "A:":
                steps[-1].answers.append(content)
            elif kind == "S:":
                steps[-1].server += _octets(content) + b"\r\n"
            elif kind == "E:":
                steps[-1].events.append(content)
            else:
                raise ValueError(f"{name}, line {number}: begins with none of C: C- A: O: S: E: config: #")
        return cls(name, settings, steps)

    def play(self, peer: Peer, mode: Mode = Mode.LINES, answers: Sequence[str] = ()) -> None:
        """Play the client; TranscriptMismatch if the server does not follow.

        Pipelining joins questions of several steps, so that mode needs all answers in order: pass ``given()`` of a peer that
        has played this transcript line by line.
        """
        rest = list(answers)
        for group in _groups(self.steps) if mode is Mode.PIPELINED else ([step] for step in self.steps):
            before = len(peer.given())
            _send(peer, group, mode, rest if mode is Mode.PIPELINED else group[0].answers)
            del rest[: len(peer.given()) - before]
            self._compare(group, peer.heard(), peer.told())

    def _compare(self, group: Sequence[Step], heard: bytes, told: Sequence[str]) -> None:
        due = b"".join(step.server for step in group)
        if heard != due:
            raise TranscriptMismatch(f"{self._place(group)}: the server sent\n{_show(heard)}\nwhere due was\n{_show(due)}")
        rest = iter(told)
        for step in group:
            for event in step.events:
                if not any(f"{other} ".startswith(f"{event} ") for other in rest):
                    raise TranscriptMismatch(f"{self._place(group)}: no event {event!r} among {list(told)}")

    def _place(self, group: Sequence[Step]) -> str:
        last = f" to {group[-1].line}" if len(group) > 1 else ""
        return f"{self.name}, line {group[0].line}{last}"


def _send(peer: Peer, group: Sequence[Step], mode: Mode, answers: Sequence[str]) -> None:
    data = b"".join(step.data for step in group)
    if group[0].action:
        peer.act(group[0].action)
    elif mode is Mode.OCTETS:
        before = len(peer.given())
        for octet in data:
            peer.send(bytes((octet,)), answers[len(peer.given()) - before :])
    elif data:
        peer.send(data, answers)


def _groups(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Steps that a client may send without waiting: only after EHLO, and up to a command whose reply it must see."""
    esmtp = in_body = in_auth = False
    group: list[Step] = []
    for step in steps:
        if step.action and group:
            yield group
            group = []
        group.append(step)
        if in_body:
            in_body = step.data != b".\r\n"
            last = not (in_body or esmtp)
        else:
            last = not esmtp or in_auth or bool(step.action) or _LAST_IN_GROUP.match(step.data) is not None
            esmtp = _is_esmtp(step, esmtp=esmtp)
            in_body = step.server.startswith(b"354")
            in_auth = step.server.startswith(b"334")
        if last:
            yield group
            group = []
    if group:
        yield group


def _is_esmtp(step: Step, *, esmtp: bool) -> bool:
    word = step.data[:4].upper()
    if word in {b"EHLO", b"HELO"} and step.server.startswith(b"250"):
        return word == b"EHLO"
    return esmtp and not step.server.startswith(b"220")


def _octets(text: str) -> bytes:
    out = b""
    last = 0
    for match in _ESCAPE.finditer(text):
        code = match[1]
        out += text[last : match.start()].encode() + (_OCTETS.get(code) or bytes.fromhex(code[1:]))
        last = match.end()
    return out + text[last:].encode()


def _show(data: bytes) -> str:
    return "\n".join(f"  S: {line}" for line in data.decode("latin-1").split("\r\n")[:-1]) or f"  nothing ({data!r})"


class SessionPeer:
    """A ``ServerSession`` and an owner who says yes unless told otherwise.

    Settings are the fields of ``ServerConfig``; ``greet=no`` leaves ``start`` to an ``O: start``. An answer is a reply
    (``550 5.7.1 No``), ``close`` and a reply, ``334 text`` (a challenge, not encoded), nothing (the default), or ``shutdown``
    and a reply, which asks for a shutdown while the question is open and then answers by default. ``history`` holds all events:
    the pieces of a body as one before its BodyEnd, those of a dropped body not at all.
    """

    def __init__(self, settings: dict[str, str]) -> None:
        greet = settings.get("greet", "yes") == "yes"
        self.session = ServerSession(_config({key: value for key, value in settings.items() if key != "greet"}))
        self.history: list[str] = []
        self._told = 0
        self._out = b""
        self._given: list[str] = []
        self._body = b""
        if greet:
            self.session.start()
            self._drain([])

    def send(self, data: bytes, answers: Sequence[str]) -> None:
        """Feed the session and answer what it asks."""
        self.session.receive(data)
        self._drain(list(answers))

    def act(self, action: str) -> None:
        """``start``, ``refuse REPLY`` or ``shutdown REPLY``."""
        verb, _, text = action.partition(" ")
        match verb:
            case "start":
                self.session.start()
            case "refuse":
                self.session.refuse(_reply(text))
            case _:
                self.session.shutdown(_reply(text))
        self._drain([])

    def heard(self) -> bytes:
        """What the session has put out since the last call."""
        out, self._out = self._out, b""
        return out

    def told(self) -> list[str]:
        """The events since the last call."""
        new = self.history[self._told :]
        self._told = len(self.history)
        return new

    def given(self) -> list[str]:
        """Every answer given so far."""
        return self._given

    def _drain(self, answers: list[str]) -> None:
        while (event := self.session.next_event()) is not None:
            self._note(event)
            if isinstance(event, Question):
                answer = (answers.pop(0) if answers else "") or _default(event)
                self._given.append(answer)
                self._answer(event, answer)
        self._out += self.session.output()

    def _note(self, event: ServerEvent) -> None:
        if isinstance(event, BodyChunk):
            self._body += event.data
            return
        if self._body and isinstance(event, BodyEnd):
            self.history.append(describe(BodyChunk(self._body)))
        if isinstance(event, BodyEnd | TransactionDropped):
            self._body = b""
        self.history.append(describe(event))

    def _answer(self, question: Question, answer: str) -> None:
        word, _, text = answer.partition(" ")
        if word == "shutdown":
            self.session.shutdown(_reply(text))
            answer = _default(question)
            word, _, text = answer.partition(" ")
        match question:
            case StartTls():
                self.session.tls_started()
            case BodyStart() if word == "354":
                self.session.accept_body()
            case AuthStart() | AuthResponse() if word == "334":
                self.session.challenge(text.encode())
            case AuthStart() | AuthResponse() if word == "235":
                self.session.authenticated(_reply(answer))
            case _:
                close = word == "close"
                self.session.answer(_reply(text if close else answer), close=close)


def _default(question: Question) -> str:
    match question:
        case Mail():
            return "250 2.1.0 OK"
        case Rcpt():
            return "250 2.1.5 OK"
        case BodyStart():
            return "354"
        case BodyEnd():
            return "250 2.0.0 Queued"
        case AuthStart() | AuthResponse():
            return "235 2.7.0 Authenticated"
        case StartTls():
            return "handshake"


def _reply(text: str) -> Reply:
    code, _, rest = text.partition(" ")
    enhanced, _, message = rest.partition(" ")
    return Reply(int(code), enhanced, message)


def _config(settings: dict[str, str]) -> ServerConfig:
    values: dict[str, Any] = {"hostname": "mx.example.com", "role": Role.MX}
    for key, value in settings.items():
        if key == "role":
            values[key] = Role(value)
        elif key == "mechanisms":
            values[key] = tuple(value.split(","))
        elif key in {"tls_offered", "tls_active"}:
            values[key] = value == "yes"
        else:
            values[key] = int(value) if value.isdigit() else value
    return ServerConfig(**values)


def describe(event: ServerEvent) -> str:
    """An event as the text of an ``E:`` line: its name and ``field=value`` words. ESMTP parameters only if they were given."""
    words = [type(event).__name__]
    for item in fields(event):
        value = getattr(event, item.name)
        if isinstance(value, SenderParams | RecipientParams):
            plain = type(value)()
            words += [
                f"{f.name}={_word(getattr(value, f.name))}"
                for f in fields(value)
                if getattr(value, f.name) != getattr(plain, f.name)
            ]
        else:
            words.append(f"{item.name}={_word(value)}")
    return " ".join(words)


def _word(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case bytes():
            return repr(value)[2:-1]
        case frozenset():
            return ",".join(sorted(value))
        case Address():
            return value.text
        case _:
            return str(value)
