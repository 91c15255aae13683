"""PROXY headers: any octets, cut anywhere, are one result; nothing behind one is taken, and a length alone costs no memory.

Input: 4 octets of decisions, then what a proxy sends.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness import Bits, instrumented, pieces, run

with instrumented():
    from postlatch.server.crc32c import crc32c
    from postlatch.server.proxy import MAX_V1, MAX_V2, SIGNATURE, Fault, Kind, ProxyHeader, ProxyParser

DECISIONS = 4
_BEHIND = b"EHLO client.example\r\n"


def one_input(data: bytes) -> None:
    """One input."""
    bits, sent = Bits(data[:DECISIONS]), data[DECISIONS:]
    if bits.take(1):
        sent = sealed(sent)
    whole, taken = wanted_only(sent)
    parser = ProxyParser()
    in_pieces: ProxyHeader | Fault | None = None
    given = b""
    for piece in pieces(sent, bits):
        given += piece
        if piece and (in_pieces := parser.feed(piece)) is not None:
            break
    assert in_pieces == whole
    if isinstance(whole, ProxyHeader):
        assert given[taken:] == parser.rest
        believed(whole, sent[:taken])
    elif whole is not None:
        assert whole.why.isascii()
        assert whole.why.isprintable()


def wanted_only(sent: bytes) -> tuple[ProxyHeader | Fault | None, int]:
    """As from a socket."""
    parser, taken = ProxyParser(), 0
    while taken < len(sent):
        wanted = parser.wanted
        assert 0 < wanted <= MAX_V2
        found = parser.feed(sent[taken : taken + wanted])
        taken = min(len(sent), taken + wanted)
        assert taken <= MAX_V2
        if found is not None:
            assert not isinstance(found, ProxyHeader) or not parser.rest
            return found, taken
    return None, taken


def believed(header: ProxyHeader, octets: bytes) -> None:
    """A header has a client exactly if it says so, and is a header again when it is cut out."""
    assert (header.source is not None) == (header.kind is Kind.CLIENT)
    assert len(octets) <= (MAX_V1 if header.version == 1 else MAX_V2)
    assert ProxyParser().feed(octets + _BEHIND) == header
    if header.source is not None:
        assert 0 <= header.source.port <= 65_535
        assert not header.source.address.is_unspecified
        assert getattr(header.source.address, "ipv4_mapped", None) is None
    assert all(ProxyParser().feed(octets[:place]) is None for place in range(len(octets)))


def sealed(sent: bytes) -> bytes:
    """With a right checksum, if there is a place for one at the end: else no fuzzer would get behind it."""
    if len(sent) < 23 or not sent.startswith(SIGNATURE) or sent[-7:-4] != b"\x03\0\x04":
        return sent
    header = sent[:14] + (len(sent) - 16).to_bytes(2, "big") + sent[16:-4]
    return header + crc32c(header + bytes(4)).to_bytes(4, "big") if len(sent) < 65_000 else sent


_V4 = bytes((192, 0, 2, 7, 198, 51, 100, 1, 16, 225, 0, 25))
_V6 = bytes.fromhex("20010db8000000000000000000000007") * 2 + b"\x10\xe1\x00\x19"


def _v2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(block).to_bytes(2, "big") + block


def seeds() -> Iterator[bytes]:
    """Headers of every kind, and what is nearly one."""
    headers = [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4321 25\r\n",
        b"PROXY TCP6 2001:db8::7 ::ffff:192.0.2.1 4321 25\r\n",
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4321 25\n",
        b"PROXY TCP4 1 2 3 4\r\nPROXY TCP4 192.0.2.7 198.51.100.1 4321 25\r\n",
        _v2(0x21, 0x11, _V4),
        _v2(0x21, 0x21, _V6),
        _v2(0x20, 0x00, b""),
        _v2(0x20, 0x31, b"x" * 216),
        _v2(0x21, 0x00, b""),
        _v2(0x21, 0x12, _V4),
        _v2(0x21, 0x11, _V4 + b"\x01\0\x02h2\x20\0\x05\x01\0\0\0\0"),
        _v2(0x21, 0x11, _V4 + b"\x03\0\x04abcd"),
        _v2(0x21, 0x21, _V6 + b"\x04\0\x10" + bytes(16) + b"\x03\0\x04abcd"),
        _v2(0x21, 0x11, _V4 + b"\x20\xff\xff"),
        _BEHIND,
        b"\x16\x03\x01\x02\x00\x01\x00",
    ]
    for number, header in enumerate(headers):
        yield number.to_bytes(DECISIONS, "little") + header + (_BEHIND if number % 2 else b"")
        yield b"\x01\0\0\0" + header


if __name__ == "__main__":
    run(one_input, seeds)
