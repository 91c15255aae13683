"""A second opinion about what a session may do, from the RFCs and the table of roles; it shares no code with the server.

A client's part is a list of ``Unit``s, each of which is owed exactly one reply. ``Talk.hear`` walks over units and replies
together: it says what is wrong with a reply, and follows the session by what the server has said.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from hostile_relay import CANARY, LODGER, PRINTER, SUBMISSION

from postlatch.model.envelope import Role

_REPLY_LINE = re.compile(rb"([2-5][0-9]{2})([ -])([\x20-\x7e]*)\r\n")
MAX_REPLY_LINE = 512  # octets with CR LF, RFC 5321 section 4.5.3.1.5
MAX_ERRORS = 10
MAX_FAILED_LOGINS = 3
MAX_IDLE = 100  # commands that move no mail
ALICE = "alice@example.com"
KNOWN = frozenset({"alice", "bob", "postmaster"})


@dataclass(frozen=True, slots=True)
class Said:
    """One reply of the server."""

    code: int
    text: str

    @property
    def good(self) -> bool:
        """2xx or 3xx."""
        return self.code < 400


def read_replies(data: bytes) -> list[Said]:
    """Replies; AssertionError for anything that is not one, is too long, or gives back what a client sent."""
    found, lines, at = [], [], 0
    while at < len(data):
        match = _REPLY_LINE.match(data, at)
        assert match is not None, f"not a reply: {data[at : at + 200]!r}"
        assert match.end() - at <= MAX_REPLY_LINE, f"too long: {match.group()!r}"
        lines.append((int(match[1]), match[3].decode("ascii")))
        at = match.end()
        if match[2] == b" ":
            assert len({code for code, _ in lines}) == 1, f"one reply, two codes: {lines}"
            found.append(Said(lines[0][0], "\n".join(text for _, text in lines)))
            lines = []
    assert not lines, f"a reply without its last line: {lines}"
    assert CANARY.encode() not in data, f"a client's words in a reply: {data!r}"
    return found


class Kind(Enum):
    """What a unit is."""

    LINE = auto()  # a command; ``word`` is its verb, ``argument`` what the model needs of it
    JUNK = auto()  # a mutated command of a kind that moves no octets behind it
    AUTH = auto()  # ``argument`` is right, wrong or ask
    RESPONSE = auto()  # a line of an AUTH dialogue; as AUTH, and cancel
    BODY = auto()  # behind 354, ``content`` is what was meant
    CHUNK = auto()  # BDAT with its octets


@dataclass(frozen=True, slots=True)
class Unit:
    """What is owed one reply. ``data`` are its octets on the wire."""

    kind: Kind
    data: bytes
    word: str = ""
    argument: str = ""
    content: bytes = b""
    last: bool = False


@dataclass(slots=True)
class World:
    """What a person may change while sessions go on."""

    printers: bool = True
    lodger: bool = True
    account: bool = True
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message that was answered 250."""

    queue_id: str
    content: bytes
    recipients: tuple[str, ...]
    role: Role


@dataclass(slots=True)
class Talk:
    """One connection as the model sees it."""

    role: Role
    address: str
    world: World
    secure: bool
    greeted: str = ""  # EHLO or HELO
    login: int | None = None  # the world's generation when alice logged in
    mail: str | None = None  # the sender of the open transaction
    recipients: list[str] = field(default_factory=list)
    heard_rcpt: bool = False
    in_data: bool = False
    chunks: bytes | None = None  # between two BDATs
    dialogue: bool = False
    errors: int = 0
    idle: int = 0
    failed_logins: int = 0
    closed: bool = False
    accepted: list[Accepted] = field(default_factory=list)

    # The walk

    def hear(self, units: Sequence[Unit], replies: list[Said], *, hung_up: bool) -> None:
        """Compare and follow. AssertionError says what the server should not have done."""
        rest = list(replies)
        for unit in units:
            if self.closed:
                break
            assert rest or hung_up, f"no reply to {unit}"
            if not rest:
                self._ended("no reply", unit)
                break
            said = rest.pop(0)
            self.errors += said.code >= 500
            self.idle += unit.kind in {Kind.LINE, Kind.JUNK}
            if said.code == 421:
                self._ended("421", unit)
                break
            _STEPS[unit.kind](self, unit, said)
            if rest and rest[0].code == 421 and self.errors >= MAX_ERRORS:  # it was one mistake too many
                rest.pop(0)
                self.closed = True
        assert not rest, f"replies to nothing: {rest} after {units}"
        assert hung_up == self.closed, f"hung up: {hung_up}, after {units} and {replies}"

    def _ended(self, how: str, unit: Unit) -> None:
        stale = unit.word == "MAIL" and self.login not in {None, self.world.generation}
        assert stale or self.idle > MAX_IDLE, f"{how} to {unit}"
        self._drop()
        self.closed = True

    # Who may do what

    def voucher(self) -> bool:
        """Somebody answers for this client here and now, for mail to anywhere."""
        if self.role is Role.RELAY:
            return (self.address == PRINTER and self.world.printers) or (self.address == LODGER and self.world.lodger)
        if self.role in SUBMISSION:
            return self.secure and self.login is not None and self.world.account
        return False

    def may_send_as(self, sender: str) -> bool:
        """MAIL FROM this address is accepted, where a transaction may begin."""
        if self.role is Role.MX:
            return not sender.lower().endswith("@example.com")
        if self.role in SUBMISSION:
            fresh = self.login == self.world.generation
            return self.voucher() and fresh and plain(sender) == ALICE
        return self.voucher()

    def may_reach(self, recipient: str) -> bool:
        """RCPT TO this address is accepted, where there is a transaction."""
        text = plain(recipient)
        if text == "postmaster":
            return self.role is Role.MX
        local, _, domain = text.rpartition("@")
        if domain == "example.com":
            return local in KNOWN and (self.role is Role.MX or self.voucher())
        if domain == "branch.example":
            return local == "known" and (self.role is Role.MX or self.voucher())
        return self.role is not Role.MX and self.voucher()

    def may_commit(self, content: bytes) -> bool:
        """What was granted at RCPT still holds, and the header is one that this role takes."""
        senders = [line[5:].strip().strip(b"<>") for line in header_lines(content) if line.lower().startswith(b"from:")]
        if self.role is Role.MX:
            return len(senders) <= 1
        if not self.voucher():
            return False
        if self.role is Role.RELAY:
            return len(senders) <= 1
        return senders == [ALICE.encode()]

    # A unit and its reply

    def _line(self, unit: Unit, said: Said) -> None:
        getattr(self, f"_{unit.word.lower()}")(unit, said)

    def _ehlo(self, unit: Unit, said: Said) -> None:
        assert said.code == 250
        self._drop()
        self.greeted = unit.word
        assert ("STARTTLS" in said.text) == (unit.word == "EHLO" and not self.secure)
        assert ("AUTH" in said.text) == (unit.word == "EHLO" and self.secure and self.role in SUBMISSION)

    _helo = _ehlo

    def _starttls(self, _unit: Unit, said: Said) -> None:
        assert said.good == (self.greeted == "EHLO" and not self.secure), said
        if said.good:
            assert said.code == 220
            self._drop()
            self.secure, self.greeted = True, ""

    def _mail(self, unit: Unit, said: Said) -> None:
        expected = bool(self.greeted) and self.mail is None and self.may_send_as(unit.argument)
        assert said.good == expected, f"{said} to {unit}"
        if said.good:
            self.mail, self.recipients, self.heard_rcpt = unit.argument, [], False

    def _rcpt(self, unit: Unit, said: Said) -> None:
        expected = self.mail is not None and self.chunks is None and self.may_reach(unit.argument)
        assert said.good == expected, f"{said} to {unit}"
        if said.good:
            self.recipients.append(unit.argument)

    def _data(self, unit: Unit, said: Said) -> None:
        assert said.good == (bool(self.recipients) and self.chunks is None), f"{said} to {unit}"
        self.in_data = said.good
        assert not said.good or said.code == 354

    def _rset(self, _unit: Unit, said: Said) -> None:
        assert said.code == 250
        self._drop()

    def _noop(self, _unit: Unit, said: Said) -> None:
        assert said.code == 250

    def _help(self, _unit: Unit, said: Said) -> None:
        assert said.code == 214

    def _vrfy(self, _unit: Unit, said: Said) -> None:
        assert said.code == 252, "it must not tell who is known"

    def _expn(self, _unit: Unit, said: Said) -> None:
        assert said.code == 502

    def _quit(self, _unit: Unit, said: Said) -> None:
        assert said.code == 221
        self._drop()
        self.closed = True

    def _junk(self, unit: Unit, said: Said) -> None:
        """Nobody says what a mutated line must be answered, only what it must not bring about."""
        word = unit.data[:4].upper()
        if not said.good:
            return
        if word == b"MAIL":
            sender = path_of(unit.data)
            assert self.greeted
            assert self.mail is None
            assert self.may_send_as(sender), f"{said} to {unit}"
            self.mail, self.recipients = sender, []
        elif word == b"RCPT":
            recipient = path_of(unit.data)
            assert self.mail is not None
            assert self.chunks is None
            assert self.may_reach(recipient), f"{said} to {unit}"
            self.recipients.append(recipient)
        elif word == b"RSET":
            self._drop()
        else:
            assert word in {b"NOOP", b"VRFY", b"HELP"}, f"{said} to {unit}"

    def _auth(self, unit: Unit, said: Said) -> None:
        possible = self.role in SUBMISSION and self.secure and self.greeted == "EHLO"
        if not possible or self.login is not None or self.mail is not None:
            assert said.code in {502, 503, 530}, f"{said} to {unit}"
            return
        self._login(unit, said)

    def _response(self, unit: Unit, said: Said) -> None:
        self.dialogue = False
        self._login(unit, said)

    def _login(self, unit: Unit, said: Said) -> None:
        match unit.argument:
            case "right":
                assert said.code == 235, f"{said} to {unit}"
                self.login = self.world.generation
            case "ask":
                assert said.code == 334, f"{said} to {unit}"
                self.dialogue = True
            case "wrong":
                assert said.code in {334, 501, 535}, f"{said} to {unit}"
                if said.code == 334:  # LOGIN asks twice
                    assert unit.kind is Kind.RESPONSE
                    self.dialogue = True
                    return
                self.failed_logins += 1
                self.closed = self.failed_logins >= MAX_FAILED_LOGINS
            case _:
                assert said.code in {501, 504}, f"{said} to {unit}"

    def _body(self, unit: Unit, said: Said) -> None:
        self.in_data = False
        self._end(unit.content, said)

    def _chunk(self, unit: Unit, said: Said) -> None:
        if not self.recipients:
            assert said.code in {503, 554}, f"{said} to {unit}"
            return
        content = (self.chunks or b"") + unit.content
        if unit.last:
            self._end(content, said)
        elif is_faulty(content.removesuffix(b"\r")):
            self._faulty(said)
        else:
            assert said.code == 250
            self.chunks = content

    def _end(self, content: bytes, said: Said) -> None:
        if is_faulty(content):
            self._faulty(said)
            return
        assert said.good == self.may_commit(content), f"{said} to {content!r} by {self}"
        if said.good:
            queue_id = said.text.rpartition("queued as ")[2]
            self.idle = 0
            self.accepted.append(Accepted(queue_id, content, tuple(dict.fromkeys(self.recipients)), self.role))
        self._drop()

    def _faulty(self, said: Said) -> None:
        assert said.code == 554
        self._drop()
        self.closed = True

    def _drop(self) -> None:
        self.mail, self.recipients, self.chunks, self.in_data = None, [], None, False


_STEPS = {
    Kind.LINE: Talk._line,
    Kind.JUNK: Talk._junk,
    Kind.AUTH: Talk._auth,
    Kind.RESPONSE: Talk._response,
    Kind.BODY: Talk._body,
    Kind.CHUNK: Talk._chunk,
}


def is_faulty(content: bytes) -> bool:
    """A NUL, or a line end that is not CR LF."""
    rest = content.replace(b"\r\n", b"")
    return any(octet in rest for octet in (b"\r", b"\n", b"\0"))


def header_lines(content: bytes) -> list[bytes]:
    """The lines before the first empty one; a folded line goes on with its field."""
    return content.replace(b"\r\n ", b" ").partition(b"\r\n\r\n")[0].split(b"\r\n") if content[:2] != b"\r\n" else []


def as_stored(content: bytes) -> bytes:
    """What a message becomes behind the fields that the relay adds: one without a body gets its empty line."""
    if content.startswith(b"\r\n") or b"\r\n\r\n" in content:
        return content
    return (content if content.endswith(b"\r\n") or not content else content + b"\r\n") + b"\r\n"


def path_of(line: bytes) -> str:
    """What is between the first ``<`` and the ``>`` that closes it; quoted strings may hold brackets."""
    text = line.decode("utf-8", "replace")
    path, quoted, escaped = "", False, False
    for character in text.partition("<")[2]:
        if character == ">" and not quoted:
            return path
        path += character
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
    return path


def plain(address: str) -> str:
    """In lower case, without quotes that quote nothing."""
    local, at, domain = address.lower().rpartition("@")
    if local.startswith('"') and local.endswith('"') and len(local) > 1:
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    return f"{local}{at}{domain}"
