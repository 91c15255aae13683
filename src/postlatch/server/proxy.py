"""The PROXY protocol, versions 1 and 2: who the client of a proxy is. Octets in, one header or one fault out; no I/O.

The specification is HAProxy's ``doc/proxy-protocol.txt``; its sections are cited. What a header says is believed only when it
comes from a proxy that the configuration lists: that is ``proxy_entry``'s business.
"""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple

from postlatch.model.envelope import Client, IPAddress
from postlatch.policy.networks import unmapped
from postlatch.server.crc32c import crc32c

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"  # section 2.2
V1: Final = b"PROXY "
MAX_V1: Final = 107  # octets with CRLF (section 2.1)
MAX_V2: Final = 4096  # octets in all: 232 are the longest addresses, the rest are TLVs such as a client's certificate
_FIRST: Final = 15  # octets: the shortest header of version 1 is as long, and one of version 2 is longer
_FIXED: Final = 16  # octets of version 2 before the addresses
_CRC: Final = 0x03  # PP2_TYPE_CRC32C (section 2.2.3)
_ADDRESSES: Final = {0x11: 12, 0x21: 36}  # TCP over IPv4 and over IPv6 (section 2.2)
_UNSPECIFIED: Final = 0x00
_FAMILIES: Final = {0x12: "UDP over IPv4", 0x22: "UDP over IPv6", 0x31: "a Unix stream", 0x32: "a Unix datagram socket"}
_PORT: Final = re.compile(rb"0|[1-9][0-9]{0,4}")


class Kind(StrEnum):
    """``LOCAL``: the proxy speaks for itself, as in a health check. ``UNKNOWN``: it cannot say who the client is."""

    CLIENT = "client"
    LOCAL = "local"
    UNKNOWN = "unknown"


class ProxyHeader(NamedTuple):
    """A valid header. ``source`` is the client, IPv4-mapped addresses unmapped; None unless ``kind`` is ``CLIENT``.

    TLVs are checked for their form, and their checksum if there is one; whatever else they say (TLS, names) is not believed.
    """

    kind: Kind
    version: int
    source: Client | None = None


class Fault(NamedTuple):
    """No header, or none that can be believed. ``absent``: what came does not even begin like one."""

    why: str
    absent: bool = False


def begins(data: bytes) -> bool | None:
    """Is this the beginning of a header? None: it may become one."""
    for mark in (SIGNATURE, V1):
        if data.startswith(mark):
            return True
    return None if SIGNATURE.startswith(data) or V1.startswith(data) else False


class ProxyParser:
    """Give it octets until it gives a result. ``wanted`` octets at most never reach behind the header; ``rest`` is what did."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._length = 0  # of a header of version 2, once it is known
        self.rest = b""

    @property
    def begun(self) -> bool:
        """An octet has come."""
        return bool(self._held)

    @property
    def wanted(self) -> int:
        """How many octets the header has at least before it."""
        have = len(self._held)
        if have < _FIRST:
            return _FIRST - have
        if self._held.startswith(V1):
            return 1 if self._held[-1:] == b"\r" else 2
        return (self._length or _FIXED) - have

    def feed(self, data: bytes) -> ProxyHeader | Fault | None:
        """The header or what is wrong; None while it is not whole. Call it no more after a result."""
        self._held += data
        held = self._held
        found = begins(bytes(held[: len(SIGNATURE)]))
        if found is None:
            return None
        if not found:
            return Fault("what was sent is no PROXY header", absent=True)
        return self._version1() if held.startswith(V1) else self._version2()

    def _version1(self) -> ProxyHeader | Fault | None:
        end = self._held.find(b"\n", 0, MAX_V1)
        if end < 0:
            too_long = len(self._held) >= MAX_V1
            return Fault(f"its line does not end within {MAX_V1} octets (section 2.1)") if too_long else None
        line = bytes(self._held[: end + 1])
        self.rest = bytes(self._held[end + 1 :])
        if not line.endswith(b"\r\n"):
            return Fault("its line does not end with CRLF (section 2.1)")
        return _line(line[:-2])

    def _version2(self) -> ProxyHeader | Fault | None:
        held = self._held
        if len(held) < _FIXED:
            return None
        if not self._length:
            self._length = _FIXED + int.from_bytes(held[14:16], "big")
        if held[12] >> 4 != 2 or held[12] & 0xF > 1:
            return Fault(f"its version and command are {held[12]:#04x}: 0x20 and 0x21 are known (section 2.2)")
        if self._length > MAX_V2:
            return Fault(f"it is {self._length} octets long, and {MAX_V2} are the most")
        if len(held) < self._length:
            return None
        self.rest = bytes(held[self._length :])
        return _binary(bytes(held[: self._length]))


def _line(line: bytes) -> ProxyHeader | Fault:
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":  # whatever follows is ignored
        return ProxyHeader(Kind.UNKNOWN, 1)
    if words[1] not in {b"TCP4", b"TCP6"}:
        return Fault("its protocol is none of TCP4, TCP6 and UNKNOWN (section 2.1)")
    if len(words) != 6:
        return Fault("it does not have two addresses and two ports with one space between (section 2.1)")
    source, target = (_address(word, words[1] == b"TCP4") for word in words[2:4])
    ports = [int(word) if _PORT.fullmatch(word) else 65_536 for word in words[4:]]
    if source is None or target is None:
        return Fault(f"an address in it is no {words[1].decode()} address (section 2.1)")
    if max(ports) > 65_535:
        return Fault("a port in it is no number from 0 to 65535 (section 2.1)")
    return _client(source, ports[0], 1)


def _address(word: bytes, ipv4: bool) -> IPAddress | None:
    try:
        text = word.decode("ascii")
        if ipv4:
            return IPv4Address(text)
        return None if "%" in text else IPv6Address(text)
    except (AddressValueError, UnicodeDecodeError):
        return None


def _binary(header: bytes) -> ProxyHeader | Fault:
    if header[12] & 0xF == 0:
        return ProxyHeader(Kind.LOCAL, 2)  # the rest of it is to be discarded (section 2.2)
    family = header[13]
    size = _ADDRESSES.get(family, 0)
    if family not in _ADDRESSES and family != _UNSPECIFIED:
        return Fault(f"it speaks of {_FAMILIES.get(family, f'the family {family:#04x}')}, and mail comes over TCP")
    if len(header) < _FIXED + size:
        return Fault("it is too short for its addresses (section 2.2)")
    if fault := _tlvs(header, _FIXED + size):
        return fault
    if family == _UNSPECIFIED:
        return ProxyHeader(Kind.UNKNOWN, 2)
    block = header[_FIXED : _FIXED + size]
    source: IPAddress = IPv4Address(block[:4]) if size == 12 else IPv6Address(block[:16])
    return _client(source, int.from_bytes(block[-4:-2], "big"), 2)


def _tlvs(header: bytes, place: int) -> Fault | None:
    """Each has a type, a length and a value, and nothing is left over; a checksum is right (section 2.2.3)."""
    checksum = 0
    while place < len(header):
        end = place + 3 + int.from_bytes(header[place + 1 : place + 3], "big")
        if place + 3 > len(header) or end > len(header):
            return Fault("a TLV in it is longer than the header (section 2.2)")
        if header[place] == _CRC:
            if checksum or end - place != 7:
                return Fault("its checksum is not 4 octets long, or there are two (section 2.2.3)")
            checksum = place + 3
        place = end
    if checksum:
        stated = int.from_bytes(header[checksum : checksum + 4], "big")
        if crc32c(header[:checksum] + bytes(4) + header[checksum + 4 :]) != stated:
            return Fault("its CRC32C does not fit: it was damaged on its way (section 2.2.3)")
    return None


def _client(source: IPAddress, port: int, version: int) -> ProxyHeader | Fault:
    plain = unmapped(source)
    if plain.is_unspecified or plain.is_multicast or plain == _BROADCAST:
        return Fault(f"nobody can connect from {plain}")
    return ProxyHeader(Kind.CLIENT, version, Client(plain, port))


_BROADCAST: Final = IPv4Address("255.255.255.255")
