"""Plays a case of the catalogue over a wire, step by step, and keeps what is to be judged."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from smtp_wire import Reply, Wire
from vector_classes import Heard
from vector_values import KNOWN, Case

from postlatch.testing.running import ACCOUNT, PASSWORD

_VERB = re.compile(r"[A-Za-z]+|[.*]")
_PATH = re.compile(r"<(.*)>")
RANDOM = base64.b64encode(b"\0nobody@example.com\0tr0ub4dor").decode()
LOGIN = base64.b64encode(f"\0{ACCOUNT}\0{PASSWORD}".encode()).decode()
MESSAGE = b"From: <probe@canary.test>\r\nSubject: legal\r\n\r\nlegal"


class Position(StrEnum):
    """Where in a session the vector is played."""

    FRESH = "fresh connection"
    RESET = "after RSET"
    LEGAL = "after one legal RCPT"
    SECOND = "second transaction"


@dataclass(slots=True)
class Outcome:
    """What came of a case. Each of ``judged`` holds the answers of which one must pass."""

    judged: list[tuple[Heard, ...]] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)  # every path that RCPT answered 2xx
    messages: int = 0  # how many messages were accepted
    log: list[str] = field(default_factory=list)


def arranged(case: Case, hello: str, position: Position) -> tuple[str, ...] | None:
    """The steps of a case in another position and with another greeting; None if that is no other case."""
    steps = list(case.steps)
    greets = [index for index, step in enumerate(steps) if step == "EXPECT 250" and steps[index - 1].startswith("EHLO")]
    if hello == "HELO":
        if not greets:
            return None
        steps = [step.replace("EHLO", "HELO", 1) if step.startswith("EHLO") else step for step in steps]
    if position is Position.FRESH:
        return tuple(steps)
    if not greets or case.group == "G":
        return None
    if position is Position.LEGAL:
        place = _behind_mail(steps)
        if place is None or case.vector in {"E03", "E06"}:  # with a recipient their DATA and BDAT are legal
            return None
        return (*steps[:place], "LEGAL RCPT", *steps[place:])
    prelude = ("LEGAL MAIL", "LEGAL RCPT", "RSET", "BEGIN") if position is Position.RESET else ("LEGAL MESSAGE", "BEGIN")
    place = greets[0] + 1
    return (*steps[:place], *prelude, *steps[place:])


def _behind_mail(steps: Sequence[str]) -> int | None:
    for place, step in enumerate(steps[1:], start=1):
        if steps[place - 1].startswith("MAIL FROM") and step.lower().startswith(("rcpt", "{raw_rcpt}", "starttls")):
            return place
    return None


class Player:
    """Plays one case. ``starttls``: begin with EHLO and STARTTLS of our own."""

    def __init__(self, wire: Wire, case: Case, steps: Sequence[str], *, starttls: bool = False) -> None:
        self._wire = wire
        self._case = case
        self._steps = steps
        self._starttls = starttls
        self._greeted = False
        self._next = ""  # the step behind this one
        self._last = Heard("", "", 0, "", "", False)
        self._refusal: Heard | None = None  # the first since the last JUDGE (DESIGN section 11)
        self._no_mail: Heard | None = None  # the refusal of MAIL, while there is no transaction because of it
        self._batch: list[Heard] = []  # the answers since the last JUDGE
        self._offer = ""
        self._open: list[str] = []  # recipients of the open transaction
        self.outcome = Outcome()

    def play(self) -> Outcome:
        """Play all steps."""
        for step, following in zip(self._steps, (*self._steps[1:], ""), strict=True):
            self._next = following
            for start, action in _ACTIONS:
                if step.startswith(start):
                    action(self, step)
                    break
            else:
                self._command(step)
        self._deliver()
        self._wire.close()
        return self.outcome

    # To and from the wire

    def _exchange(self, data: bytes, count: int = 0) -> list[Heard]:
        """Send lines; one answer a line, or as many as ``count`` says."""
        lines = data.split(b"\r\n")[:-1] if data.endswith(b"\r\n") else data.split(b"\r\n")
        replies = self._wire.exchange(data, count or len(lines))
        answers: list[Reply | None] = [*replies, *[None] * (len(lines) - len(replies))]
        return [self._note(line, reply) for line, reply in zip(lines, answers, strict=False)]

    def _note(self, line: bytes, reply: Reply | None) -> Heard:
        text = line.decode("utf-8", "replace")
        verb = match[0].upper() if (match := _VERB.match(text)) else ""
        path = match[1] if (match := _PATH.search(text)) else ""
        if reply is None:
            heard = Heard(verb, path, 0, "", "", self._wire.closed)
        else:
            heard = Heard(verb, path, reply.code, reply.enhanced, reply.text, False)
        self.outcome.log.append(f"C: {text!r} S: {heard.code} {heard.enhanced} {heard.text!r}")
        self._keep(heard)
        return heard

    def _keep(self, heard: Heard) -> None:
        if heard.verb == "RCPT" and heard.accepts:
            self.outcome.recipients.append(heard.path)
            self._open.append(heard.path)
        elif heard.accepts and heard.verb in {"RSET", "MAIL", "EHLO", "HELO", "STARTTLS"}:
            self._open = []
        if heard.verb in {"EHLO", "HELO"}:
            self._offer = heard.text
        if heard.verb == "MAIL":
            self._no_mail = heard if heard.refuses else None
        self._last = heard
        self._batch.append(heard)
        if heard.refuses and self._refusal is None and not self._is_preparation(heard):
            self._refusal = heard

    def _is_preparation(self, heard: Heard) -> bool:
        """AUTH, and in group G also STARTTLS, are tried on the way to what is judged: where they are not to be had, go on."""
        return heard.verb in {"AUTH", "*"} or (heard.verb == "STARTTLS" and self._case.group == "G")

    def _command(self, step: str) -> None:
        text = self._case.fill(step)
        self._exchange(text.encode() + (b"" if text.endswith("\n") else b"\r\n"))
        if self._last.code == 354 and not self._next.startswith("SEND"):
            self._exchange(b".\r\n")

    # Steps that are no commands

    def _connect(self, _: str) -> None:
        self._wire.open()
        if not self._starttls:
            return
        self._exchange(b"", 1)
        self._greeted = True
        self._exchange(b"EHLO client.example\r\n")
        self._exchange(b"STARTTLS\r\n")
        assert self._last.code == 220
        self._wire.handshake()
        self._last = Heard("", "", 220, "", "", False)

    def _expect(self, step: str) -> None:
        if step == "EXPECT 220" and not self._greeted:
            self._exchange(b"", 1)
            self._greeted = True
        if self._last.code == int(step[7:]):
            return
        if self._refusal is None and not self._is_preparation(self._last):
            self._refusal = self._last

    def _begin(self, _: str) -> None:
        """What the legal part of a session was answered is not judged."""
        self._refusal, self._batch = None, []

    def _legal(self, step: str) -> None:
        refusal = self._refusal
        if step != "LEGAL RCPT":
            self._exchange(b"MAIL FROM:<probe@canary.test>\r\n")
        if step != "LEGAL MAIL":
            self._exchange(b"RCPT TO:<%s>\r\n" % KNOWN.encode())
        if step == "LEGAL MESSAGE":
            self._deliver()
        self._refusal = refusal

    def _deliver(self) -> None:
        """Send a message to whatever was accepted: where it goes shows in the queue."""
        if not self._open or self._wire.closed:
            return
        recipients, self._open = self._open, []
        last = self._last
        answer = self._message(MESSAGE)
        assert answer.code == 250, (self._case, recipients, answer)
        self._last = last

    def _message(self, message: bytes) -> Heard:
        self._exchange(b"DATA\r\n")
        if self._last.code != 354:
            return self._last
        return self._end(message)

    def _end(self, message: bytes) -> Heard:
        reply = self._wire.exchange(message + b"\r\n.\r\n", 1)
        heard = self._note(b".", reply[0] if reply else None)
        self.outcome.messages += heard.code == 250
        self._open = []
        return heard

    def _send_message(self, _: str) -> None:
        if self._last.code == 354:
            headers = self._case.values["headers"].encode()
            self._end(headers + b"\r\nSubject: canary\r\n\r\ncanary")

    def _send_raw(self, step: str) -> None:
        """Octets to which no number of answers is due: read until the server hangs up."""
        data = self._case.fill(step.removeprefix("SEND ")).encode("latin-1")
        self._exchange_until_end(data)

    def _early(self, step: str) -> None:
        commands = self._case.fill(step.removeprefix("SEND-BEFORE-BANNER ")).split(" | ")
        self._exchange_until_end("".join(f"{command}\r\n" for command in commands).encode())

    def _exchange_until_end(self, data: bytes) -> None:
        replies = self._wire.exchange(data, 20)
        if not self._greeted and replies and replies[0].code == 220:
            del replies[0]
        self._greeted = True
        for line, reply in zip(data.split(b"\r\n"), [*replies, None], strict=False):
            self._note(line, reply)

    def _pipeline(self, step: str) -> None:
        commands = self._case.fill(step.removeprefix("PIPELINE ")).split(" | ")
        self._exchange("".join(f"{command}\r\n" for command in commands).encode())
        if self._last.code == 354:
            self._exchange(b".\r\n")

    def _segment(self, step: str) -> None:
        reply = self._wire.exchange(self._case.fill(step.removeprefix("SEGMENT ")).encode(), 1)
        self._note(b"STARTTLS", reply[0] if reply else None)

    def _start_tls(self, step: str) -> None:
        if self._case.group == "G" and self._wire.tls:
            return
        self._exchange(b"STARTTLS\r\n")
        if self._last.code == 220:
            self._wire.handshake(certificate="certificate" in step)

    def _handshake(self, _: str) -> None:
        if self._last.verb == "STARTTLS" and self._last.code == 220 and not self._wire.tls:
            self._wire.handshake()

    def _listen(self, _: str) -> None:
        unasked = [] if self._wire.closed else self._wire.unasked(0.5)
        self._note(b"UNASKED", unasked[0] if unasked else None)

    def _login(self, _: str) -> None:
        self._exchange(b"AUTH PLAIN %s\r\n" % LOGIN.encode())

    def _login_twice(self, step: str) -> None:
        self._login(step)
        self._login(step)

    def _wrong_logins(self, step: str) -> None:
        for number in range(3 if step.startswith("3") else 12):
            guess = base64.b64encode(b"\0nobody%d@example.com\0tr0ub4dor" % number).decode()
            if not self._wire.closed:
                self._exchange(f"AUTH PLAIN {guess}\r\n".encode())
        if self._wire.closed:
            self._note(b"NOOP", None)

    def _login_in_transaction(self, _: str) -> None:
        self._exchange(f"AUTH PLAIN {RANDOM}\r\n".encode())

    def _check(self, step: str) -> None:
        if step == "CHECK AUTH in EHLO on port 25":
            self.outcome.judged.append((Heard("OFFER", "", 250, "", self._offer, False),))
        else:
            word = "XCLIENT" if "XCLIENT" in step else "AUTH"
            assert word not in self._offer, self._case

    def _judge(self, step: str) -> None:
        if step == "JUDGE each":
            self.outcome.judged += [(heard,) for heard in self._batch if heard.refuses or heard.verb in {"RCPT", "DATA"}]
        elif step == "JUDGE difference":
            for verb in ("VRFY", "EXPN"):
                answers = [heard for heard in self._batch if heard.verb == verb]
                assert len(set(answers)) == 1, answers
                self.outcome.judged.append((answers[0],))
        elif self._last.accepts:
            self.outcome.judged.append((self._last,))
        else:
            earlier = (self._refusal, self._no_mail if self._last.code == 503 else None)
            self.outcome.judged.append((self._last, *filter(None, earlier)))
        self._refusal, self._batch = None, []

    def _time(self, _: str) -> None:
        self.outcome.judged.append((self._last,))

    def _reset(self, step: str) -> None:
        if self._next in {"QUIT", ""}:
            self._deliver()
        self._command(step)

    def _quit(self, step: str) -> None:
        self._deliver()
        if not self._wire.closed:
            self._command(step)

    def _nothing(self, _: str) -> None:
        """A remark, or something that is looked at elsewhere."""


_ACTIONS: tuple[tuple[str, Callable[[Player, str], None]], ...] = (
    ("CONNECT", Player._connect),
    ("EXPECT", Player._expect),
    ("BEGIN", Player._begin),
    ("LEGAL", Player._legal),
    ("SEND-BEFORE-BANNER ", Player._early),
    ("SEND headers", Player._send_message),
    ("SEND canary", Player._send_message),
    ("SEND 101", Player._send_message),
    ("SEND PROXY", Player._send_raw),
    ("SEND \r\n", Player._send_raw),
    ("SEND GET", Player._send_raw),
    ("PIPELINE ", Player._pipeline),
    ("SEGMENT ", Player._segment),
    ("STARTTLS", Player._start_tls),
    ("TLS handshake", Player._handshake),
    ("LISTEN", Player._listen),
    ("AUTH as", Player._login),
    ("AUTH twice", Player._login_twice),
    ("AUTH PLAIN mid-transaction", Player._login_in_transaction),
    ("3 x", Player._wrong_logins),
    ("N x", Player._wrong_logins),
    ("CHECK", Player._check),
    ("JUDGE", Player._judge),
    ("TIME", Player._time),
    ("RSET", Player._reset),
    ("QUIT", Player._quit),
    ("WATCH", Player._nothing),
    ("FETCH", Player._nothing),
    ("COMPARE", Player._nothing),
    ("repeat", Player._nothing),
    ("CLOSE", Player._nothing),
)
