"""What the server engine tells its owner. Every accepted ``Mail`` ends in exactly one ``BodyEnd`` or ``TransactionDropped``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from postlatch.model.address import Address
from postlatch.model.envelope import RecipientParams, SenderParams
from postlatch.model.reply import Reply


class Reason(StrEnum):
    """The vocabulary of ``Closed`` and ``TransactionDropped``: for journals and metrics, never text of the client's."""

    QUIT = "quit"
    REFUSED = "refused before the greeting"
    SHUTDOWN = "shutdown"
    ANSWERED = "closed by the answer"
    EARLY_TALKER = "early talker"
    PIPELINING = "unauthorised pipelining"
    INJECTION = "plaintext behind STARTTLS"
    NOT_SMTP = "not SMTP"
    LINE_TOO_LONG = "line too long"
    BARE_LF = "bare line feed"
    BAD_BODY = "bad line end or NUL in body"
    BAD_BDAT = "BDAT without a count"
    ERRORS = "too many errors"
    COMMANDS = "too many commands"
    TRANSACTIONS = "too many transactions"
    RESET = "RSET"
    HELLO = "EHLO or HELO"
    STARTTLS = "STARTTLS"
    TOO_BIG = "message too big"
    BODY_REFUSED = "body refused"


@dataclass(init=False, slots=True, unsafe_hash=True)
class Hello:
    """EHLO or HELO was answered. ``name`` is printable ASCII of 255 characters at most, and unverified."""

    name: str
    esmtp: bool

    def __init__(self, name: str, esmtp: bool) -> None:
        self.name = name
        self.esmtp = esmtp


@dataclass(frozen=True, slots=True)
class StartTls:
    """The 220 is in ``output()``. Send it, stop reading, shake hands, call ``tls_started()``."""


@dataclass(init=False, slots=True, unsafe_hash=True)
class AuthStart:
    """Answer with ``challenge``, ``authenticated`` or a refusing ``answer``. ``mechanism`` is one of those offered."""

    mechanism: str
    initial: bytes | None

    def __init__(self, mechanism: str, initial: bytes | None) -> None:
        self.mechanism = mechanism
        self.initial = initial


@dataclass(init=False, slots=True, unsafe_hash=True)
class AuthResponse:
    """The decoded response to the last challenge. Answer as ``AuthStart``."""

    data: bytes

    def __init__(self, data: bytes) -> None:
        self.data = data


@dataclass(frozen=True, slots=True)
class AuthCancelled:
    """The exchange ended without a result (``*``, or not base64) and was answered: forget it."""


@dataclass(init=False, slots=True, unsafe_hash=True)
class Mail:
    """Answer it; 2xx opens the transaction. ``sender`` is None for ``<>``."""

    sender: Address | None
    params: SenderParams

    def __init__(self, sender: Address | None, params: SenderParams) -> None:
        self.sender = sender
        self.params = params


@dataclass(init=False, slots=True, unsafe_hash=True)
class Rcpt:
    """Answer it; 2xx accepts the recipient."""

    recipient: Address
    params: RecipientParams

    def __init__(self, recipient: Address, params: RecipientParams) -> None:
        self.recipient = recipient
        self.params = params


@dataclass(init=False, slots=True, unsafe_hash=True)
class BodyStart:
    """Answer with ``accept_body``, or a refusing ``answer`` that also ends the transaction."""

    chunking: bool

    def __init__(self, chunking: bool) -> None:
        self.chunking = chunking


@dataclass(init=False, slots=True, unsafe_hash=True)
class BodyChunk:
    """Some of the body, about 64 KiB at most, cut anywhere. Unstuffed. Lines end in CR LF; under BDAT perhaps not the last."""

    data: bytes

    def __init__(self, data: bytes) -> None:
        self.data = data


@dataclass(init=False, slots=True, unsafe_hash=True)
class BodyEnd:
    """The body is whole: ``size`` octets were given. Answer it, once for all recipients; the transaction is over either way."""

    size: int

    def __init__(self, size: int) -> None:
        self.size = size


@dataclass(init=False, slots=True, unsafe_hash=True)
class TransactionDropped:
    """The open transaction is over without a message: abort what was opened for it."""

    reason: Reason

    def __init__(self, reason: Reason) -> None:
        self.reason = reason


@dataclass(init=False, slots=True, unsafe_hash=True)
class Rejected:
    """The engine itself refused a command. ``verb`` is one that it knows, or ``?``."""

    verb: str
    reply: Reply

    def __init__(self, verb: str, reply: Reply) -> None:
        self.verb = verb
        self.reply = reply


@dataclass(init=False, slots=True, unsafe_hash=True)
class Closed:
    """The last event: send ``output()``, then close the connection."""

    reason: Reason

    def __init__(self, reason: Reason) -> None:
        self.reason = reason


Question = Mail | Rcpt | BodyStart | BodyEnd | AuthStart | AuthResponse | StartTls
ServerEvent = Question | Hello | AuthCancelled | BodyChunk | TransactionDropped | Rejected | Closed
