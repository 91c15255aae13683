"""The first message of a client: RFC 5246 section 7.4.1.2 and RFC 8446 section 4.1.2, made by hand.

A TLS library offers only what it still supports. What a server supports is asked here with numbers, and the handshake is never
completed: the server's first message is the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import Final, NamedTuple

SSL3: Final = 0x0300
TLS10: Final = 0x0301
TLS11: Final = 0x0302
TLS12: Final = 0x0303
TLS13: Final = 0x0304
NAMES: Final = {SSL3: "SSL 3.0", TLS10: "TLS 1.0", TLS11: "TLS 1.1", TLS12: "TLS 1.2", TLS13: "TLS 1.3"}

_X25519: Final = 29
_GROUPS: Final = (_X25519, 23, 24, 25, 30, 256, 257, 258)  # with P-256, P-384, P-521, X448 and the groups of RFC 7919
_SIGNATURES: Final = (
    *(0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B, 0x0401, 0x0501, 0x0601),
    *(0x0303, 0x0301, 0x0203, 0x0201, 0x0402, 0x0202, 0x0101),  # SHA-224, SHA-1, DSA, MD5: old servers have no other
)
_SECURE_RENEGOTIATION: Final = 0x00FF  # as a suite, RFC 5746 section 3.3
_DEFLATE: Final = b"\x01\x00"


class Hello(NamedTuple):
    """What is offered: one version and these suites."""

    version: int
    suites: tuple[int, ...]
    name: str = ""


def client_hello(hello: Hello, dice: Random) -> bytes:
    """The record. Compression is offered up to TLS 1.2 beside none, so that who would compress shows it."""
    new = hello.version >= TLS13
    suites = hello.suites if new else (*hello.suites, _SECURE_RENEGOTIATION)
    body = min(hello.version, TLS12).to_bytes(2, "big") + dice.randbytes(32)
    body += _short(dice.randbytes(32) if new else b"")
    body += _long(_numbers(suites))
    body += _short(b"\x00" if new else _DEFLATE)
    if hello.version > SSL3:
        body += _long(b"".join(_extensions(hello, dice)))
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16" + min(hello.version, TLS10).to_bytes(2, "big") + _long(message)


def _extensions(hello: Hello, dice: Random) -> Iterable[bytes]:
    if hello.name:
        yield _extension(0, _long(b"\x00" + _long(hello.name.encode("ascii"))))
    yield _extension(10, _long(_numbers(_GROUPS)))
    if hello.version > TLS11:
        yield _extension(13, _long(_numbers(_SIGNATURES)))
    if hello.version < TLS13:
        yield _extension(11, _short(b"\x00"))
        yield _extension(23, b"")
        return
    yield _extension(43, _short(_numbers((TLS13,))))
    yield _extension(45, _short(b"\x01"))
    yield _extension(51, _long(_X25519.to_bytes(2, "big") + _long(dice.randbytes(32))))


def _extension(number: int, data: bytes) -> bytes:
    return number.to_bytes(2, "big") + _long(data)


def _short(data: bytes) -> bytes:
    return bytes((len(data),)) + data


def _long(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _numbers(values: Sequence[int]) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)
