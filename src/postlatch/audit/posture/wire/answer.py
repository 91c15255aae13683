"""What a server says first in TLS, read from hostile bytes: RFC 5246 sections 6.2 and 7, RFC 8446 sections 4 and 5."""

from __future__ import annotations

from typing import Final, NamedTuple

MOST: Final = 65_536  # octets of an answer: a chain of certificates has a tenth of that
_MOST_CERTIFICATES: Final = 12
_ALERT: Final = 0x15
_HANDSHAKE: Final = 0x16
_SERVER_HELLO: Final = 2
_CERTIFICATE: Final = 11
_KEY_EXCHANGE: Final = 12
_DONE: Final = 14
_VERSIONS: Final = 43
_RENEGOTIATION: Final = 0xFF01
_MASTER_SECRET: Final = 23


class NotTls(ValueError):
    """The bytes are no TLS, or broken."""


class ServerHello(NamedTuple):
    """What was chosen. ``certificates`` and ``prime`` (bits of a finite-field exchange) are empty where they are encrypted."""

    version: int
    suite: int
    compression: int
    secure_renegotiation: bool
    extended_master_secret: bool
    certificates: tuple[bytes, ...] = ()
    prime: int = 0


class AnswerReader:
    """Feed it what comes, until ``done``: then there is a ``hello``, or an ``alert``. NotTls for anything else."""

    def __init__(self, *, chain: bool) -> None:
        self._chain = chain
        self._records = bytearray()
        self._messages = bytearray()
        self._fed = 0
        self._certificates: tuple[bytes, ...] = ()
        self._prime = 0
        self._complete = False
        self._hello: ServerHello | None = None
        self.alert: int | None = None

    @property
    def hello(self) -> ServerHello | None:
        """With the chain as far as it came."""
        return self._hello and self._hello._replace(certificates=self._certificates, prime=self._prime)

    @property
    def done(self) -> bool:
        """Nothing more is needed."""
        return self.alert is not None or self._complete

    def feed(self, data: bytes) -> None:
        """More octets from the server."""
        self._fed += len(data)
        if self._fed > MOST:
            raise NotTls(f"more than {MOST} octets for a first answer")
        self._records += data
        while not self.done and len(self._records) >= 5:
            kind, major, length = self._records[0], self._records[1], int.from_bytes(self._records[3:5], "big")
            if kind not in {_ALERT, _HANDSHAKE} or major != 3 or not 0 < length <= 16_640:
                raise NotTls("this is no TLS record")
            if len(self._records) < 5 + length:
                return
            self._record(kind, bytes(self._records[5 : 5 + length]))
            del self._records[: 5 + length]

    def _record(self, kind: int, data: bytes) -> None:
        if kind == _ALERT:
            if len(data) >= 2 and data[0] == 2:  # a warning, as "unrecognized name", refuses nothing
                self.alert = data[1]
            return
        self._messages += data
        while len(self._messages) >= 4 and not self._complete:
            length = int.from_bytes(self._messages[1:4], "big")
            if length > MOST:
                raise NotTls("a handshake message is longer than any")
            if len(self._messages) < 4 + length:
                return
            message = bytes(self._messages[4 : 4 + length])
            number = self._messages[0]
            del self._messages[: 4 + length]
            self._message(number, message)

    def _message(self, number: int, body: bytes) -> None:
        if self._hello is None:
            if number != _SERVER_HELLO:
                raise NotTls("the first message is no ServerHello")
            self._hello = _server_hello(body)
            # In TLS 1.3 all that follows is encrypted.
            self._complete = not self._chain or self._hello.version > 0x0303
        elif number == _CERTIFICATE:
            self._certificates = _certificates(body)
        elif number == _KEY_EXCHANGE:
            self._prime = _prime_bits(body)
        elif number == _DONE:
            self._complete = True


def _server_hello(body: bytes) -> ServerHello:
    if len(body) < 38:
        raise NotTls("the ServerHello is too short")
    at = 35 + body[34]
    version, suite = int.from_bytes(body[:2], "big"), int.from_bytes(body[at : at + 2], "big")
    if len(body) < at + 3:
        raise NotTls("the ServerHello is too short")
    extensions = _extensions(body[at + 3 :])
    if len(extensions.get(_VERSIONS, b"")) == 2:
        version = int.from_bytes(extensions[_VERSIONS], "big")
    return ServerHello(version, suite, body[at + 2], _RENEGOTIATION in extensions, _MASTER_SECRET in extensions)


def _extensions(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 2
    while at + 4 <= len(data):
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        found[int.from_bytes(data[at : at + 2], "big")] = data[at + 4 : at + 4 + length]
        at += 4 + length
    return found


def _certificates(body: bytes) -> tuple[bytes, ...]:
    found: list[bytes] = []
    at = 3
    while at + 3 <= len(body) and len(found) < _MOST_CERTIFICATES:
        length = int.from_bytes(body[at : at + 3], "big")
        found.append(body[at + 3 : at + 3 + length])
        at += 3 + length
    return tuple(found)


def _prime_bits(body: bytes) -> int:
    """Bits of the prime, if the exchange is one of finite fields: the caller knows from the suite whether it is."""
    length = int.from_bytes(body[:2], "big")
    return int.from_bytes(body[2 : 2 + length], "big").bit_length() if 0 < length <= len(body) - 2 else 0
