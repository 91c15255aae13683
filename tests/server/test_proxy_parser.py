"""The PROXY protocol's parser: whole, octet by octet, with octets behind, and with anything at all."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import AF_INET, AF_INET6, inet_pton

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.model.envelope import Client
from postlatch.server.crc32c import crc32c
from postlatch.server.proxy import MAX_V1, MAX_V2, SIGNATURE, Fault, Kind, ProxyHeader, ProxyParser, begins


def whole(data: bytes) -> ProxyHeader | Fault | None:
    return ProxyParser().feed(data)


def by_octets(data: bytes) -> ProxyHeader | Fault | None:
    parser = ProxyParser()
    for octet in data:
        if (found := parser.feed(bytes((octet,)))) is not None:
            return found
    return None


def as_wanted(data: bytes) -> tuple[ProxyHeader | Fault | None, int]:
    """As it is read from a socket: never more than is wanted. The result, and how many octets were taken."""
    parser, taken = ProxyParser(), 0
    while taken < len(data):
        wanted = parser.wanted
        assert wanted > 0
        found = parser.feed(data[taken : taken + wanted])
        taken = min(len(data), taken + wanted)
        if found is not None:
            return found, taken
    return None, taken


def tlv(kind: int, value: bytes) -> bytes:
    return bytes((kind,)) + len(value).to_bytes(2, "big") + value


def v2(
    source: str = "192.0.2.7", port: int = 4321, *, command: int = 0x21, family: int | None = None, tlvs: bytes = b""
) -> bytes:
    version = ip_address(source).version
    kind = AF_INET if version == 4 else AF_INET6
    target = "198.51.100.1" if version == 4 else "2001:db8::25"
    block = inet_pton(kind, source) + inet_pton(kind, target) + port.to_bytes(2, "big") + (25).to_bytes(2, "big") + tlvs
    family = family if family is not None else (0x11 if version == 4 else 0x21)
    return SIGNATURE + bytes((command, family)) + len(block).to_bytes(2, "big") + block


def sealed(header: bytes) -> bytes:
    """The header of ``v2(tlvs=… tlv(3, four zeros))`` with its checksum put in."""
    place = header.rindex(tlv(3, bytes(4))) + 3
    return header[:place] + crc32c(header).to_bytes(4, "big") + header[place + 4 :]


GOOD = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 4321 25\r\n", ProxyHeader(Kind.CLIENT, 1, Client(ip_address("192.0.2.7"), 4321))),
    (
        b"PROXY TCP4 255.255.255.254 1.1.1.1 65535 0\r\n",
        ProxyHeader(Kind.CLIENT, 1, Client(ip_address("255.255.255.254"), 65535)),
    ),
    (b"PROXY TCP6 2001:db8::7 2001:db8::25 4321 25\r\n", ProxyHeader(Kind.CLIENT, 1, Client(ip_address("2001:db8::7"), 4321))),
    (
        b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:1.2.3.4 4321 25\r\n",
        ProxyHeader(Kind.CLIENT, 1, Client(ip_address("192.0.2.7"), 4321)),
    ),
    (b"PROXY UNKNOWN\r\n", ProxyHeader(Kind.UNKNOWN, 1)),
    (b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n", ProxyHeader(Kind.UNKNOWN, 1)),
    (v2(), ProxyHeader(Kind.CLIENT, 2, Client(ip_address("192.0.2.7"), 4321))),
    (v2("2001:db8::7"), ProxyHeader(Kind.CLIENT, 2, Client(ip_address("2001:db8::7"), 4321))),
    (v2("::ffff:192.0.2.7"), ProxyHeader(Kind.CLIENT, 2, Client(ip_address("192.0.2.7"), 4321))),
    (v2(command=0x20), ProxyHeader(Kind.LOCAL, 2)),
    (SIGNATURE + b"\x20\x00\x00\x00", ProxyHeader(Kind.LOCAL, 2)),
    (SIGNATURE + b"\x20\xff\x00\x03abc", ProxyHeader(Kind.LOCAL, 2)),
    (SIGNATURE + b"\x21\x00\x00\x00", ProxyHeader(Kind.UNKNOWN, 2)),
    (v2(tlvs=tlv(1, b"h2") + tlv(4, b"\0" * 9)), ProxyHeader(Kind.CLIENT, 2, Client(ip_address("192.0.2.7"), 4321))),
    (
        sealed(v2(tlvs=tlv(0xEA, b"\1vpce") + tlv(3, bytes(4)))),
        ProxyHeader(Kind.CLIENT, 2, Client(ip_address("192.0.2.7"), 4321)),
    ),
    (
        sealed(v2("2001:db8::7", tlvs=tlv(3, bytes(4)) + tlv(0x20, b"\1\0\0\0\0"))),
        ProxyHeader(Kind.CLIENT, 2, Client(ip_address("2001:db8::7"), 4321)),
    ),
    (v2(tlvs=tlv(0x20, b"x" * (MAX_V2 - 16 - 12 - 3))), ProxyHeader(Kind.CLIENT, 2, Client(ip_address("192.0.2.7"), 4321))),
]

BAD = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 4321\r\n", "two addresses and two ports"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 4321 25 x\r\n", "two addresses and two ports"),
    (b"PROXY TCP4  192.0.2.7 198.51.100.1 4321 25\r\n", "two addresses and two ports"),
    (b"PROXY tcp4 192.0.2.7 198.51.100.1 4321 25\r\n", "none of TCP4"),
    (b"PROXY UDP4 192.0.2.7 198.51.100.1 4321 25\r\n", "none of TCP4"),
    (b"PROXY UNKNOWNS\r\n", "none of TCP4"),
    (b"PROXY TCP4 2001:db8::7 2001:db8::25 4321 25\r\n", "no TCP4 address"),
    (b"PROXY TCP6 192.0.2.7 198.51.100.1 4321 25\r\n", "no TCP6 address"),
    (b"PROXY TCP6 fe80::1%eth0 fe80::2 4321 25\r\n", "no TCP6 address"),
    (b"PROXY TCP4 192.0.2.07 198.51.100.1 4321 25\r\n", "no TCP4 address"),
    (b"PROXY TCP4 192.0.2.300 198.51.100.1 4321 25\r\n", "no TCP4 address"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.\xff 4321 25\r\n", "no TCP4 address"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 25\r\n", "a port"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 025 25\r\n", "a port"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 +25 25\r\n", "a port"),
    (b"PROXY TCP4 0.0.0.0 198.51.100.1 1 25\r\n", "nobody can connect from 0.0.0.0"),
    (b"PROXY TCP4 255.255.255.255 198.51.100.1 1 25\r\n", "nobody can connect"),
    (b"PROXY TCP6 ff02::1 2001:db8::25 1 25\r\n", "nobody can connect"),
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 4321 25\n", "CRLF"),
    (b"PROXY TCP4 " + b"1" * 96, "does not end within 107"),
    (b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n", "does not end within 107"),
    (v2(command=0x11), "version and command"),
    (v2(command=0x22), "version and command"),
    (v2(command=0x2F), "version and command"),
    (v2(family=0x12), "UDP over IPv4"),
    (v2(family=0x22), "UDP over IPv6"),
    (v2(family=0x31), "a Unix stream"),
    (v2(family=0x77), "the family 0x77"),
    (v2("0.0.0.0"), "nobody can connect"),
    (v2("::ffff:224.0.0.1"), "nobody can connect"),
    (SIGNATURE + b"\x21\x11\x00\x0b" + bytes(11), "too short for its addresses"),
    (SIGNATURE + b"\x21\x21\x00\x0c" + bytes(12), "too short for its addresses"),
    (SIGNATURE + b"\x21\x11\x0f\xf1", "4097 octets long"),
    (v2(tlvs=b"\1"), "longer than the header"),
    (v2(tlvs=b"\1\0\2x"), "longer than the header"),
    (v2(tlvs=tlv(3, b"abcd")), "CRC32C does not fit"),
    (v2(tlvs=tlv(3, b"abc")), "4 octets"),
    (sealed(v2(tlvs=tlv(3, b"\0\0\0\1") + tlv(3, bytes(4)))), "4 octets"),
    (sealed(v2(tlvs=tlv(3, bytes(4)))).replace(b"\xc0\x00\x02\x07", b"\xc0\x00\x02\x08"), "CRC32C does not fit"),
]

ABSENT = [
    b"EHLO client.example\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"PROXZ",
    b"proxy TCP4",
    b"\r\n\r\n\0\r\nQUIT\r",
    b"\0" * 20,
    b"PROXYTCP4",
]


@pytest.mark.parametrize(("header", "expected"), GOOD)
def test_a_good_header_reads_the_same_in_every_cut(header: bytes, expected: ProxyHeader) -> None:
    assert whole(header) == by_octets(header) == expected
    assert as_wanted(header) == (expected, len(header))
    for place in range(len(header)):
        parser = ProxyParser()
        assert parser.feed(header[:place]) is None, "a cut header is none"
        assert parser.feed(header[place:] + b"EHLO x\r\n") == expected
        assert parser.rest == b"EHLO x\r\n"


@pytest.mark.parametrize(("header", "expected"), GOOD)
def test_no_octet_behind_the_header_is_read_from_the_socket(header: bytes, expected: ProxyHeader) -> None:
    assert as_wanted(header + b"\x16\x03\x01 the client's own TLS") == (expected, len(header))


@pytest.mark.parametrize(("header", "why"), BAD)
def test_a_bad_header_is_a_fault_that_says_why(header: bytes, why: str) -> None:
    for found in (whole(header), by_octets(header), as_wanted(header)[0]):
        assert isinstance(found, Fault)
        assert why in found.why
        assert not found.absent


@pytest.mark.parametrize("data", ABSENT)
def test_what_is_no_header_at_all_is_told_apart(data: bytes) -> None:
    for found in (whole(data), by_octets(data)):
        assert isinstance(found, Fault)
        assert found.absent
    assert begins(data) is False


def test_a_client_that_tells_its_address_by_tls_data_is_not_believed() -> None:
    """TLVs may say whatever they like of names and certificates: the result holds nothing of it."""
    ssl = tlv(0x20, b"\7\0\0\0\0" + tlv(0x22, b"admin.example") + tlv(0x21, b"TLSv1.3"))
    assert whole(v2(tlvs=ssl + tlv(2, b"mx.example"))) == whole(v2())


def test_the_checksum_is_that_of_rfc_3720() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


@given(st.binary(max_size=300), st.sampled_from((b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0\x0c")))
def test_any_octets_give_the_same_result_in_every_cut_and_never_an_exception(data: bytes, begin: bytes) -> None:
    data = begin + data
    found = by_octets(data)
    assert whole(data) == found
    via_socket, taken = as_wanted(data)
    assert via_socket == found
    assert taken <= MAX_V2
    if isinstance(found, Fault):
        assert found.why.isascii()
        assert len(found.why) < 200


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(0, 65535), st.booleans(), st.binary(max_size=60))
def test_what_was_written_is_read(source: IPv4Address | IPv6Address, port: int, binary: bool, value: bytes) -> None:
    target = "1.1.1.1" if source.version == 4 else "2001:db8::1"
    line = f"PROXY TCP{source.version} {source} {target} {port} 25\r\n".encode()
    found = whole(v2(str(source), port, tlvs=tlv(0xE5, value)) if binary else line)
    if isinstance(found, Fault):
        assert "nobody can connect" in found.why
    else:
        assert found is not None
        assert found.source is not None
        mapped = getattr(source, "ipv4_mapped", None)
        assert found.source == Client(mapped or source, port)


def test_the_longest_line_is_as_long_as_the_specification_says() -> None:
    longest = b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n"
    assert len(longest) == MAX_V1
