"""HAProxy's PROXY header: what a proxy says of the client behind it, before anything else is said."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from typing import Final

from postlatch.audit.probes.place import Place

_V2_BEGINS: Final = b"\r\n\r\n\0\r\nQUIT\n"  # the PROXY protocol's specification, section 2.2
_V2_PROXY: Final = 0x21
_V2_TCP4: Final = 0x11
_V2_TCP6: Final = 0x21


def header_v1(client: str, place: Place) -> bytes:
    """The header in text. Both addresses are of one family, the client's."""
    family = "TCP6" if ":" in client else "TCP4"
    return f"PROXY {family} {client} {_server(client, place)} 1025 {place.port}\r\n".encode()


def header_v2(client: str, place: Place) -> bytes:
    """The header in octets."""
    addresses = ip_address(client).packed + ip_address(_server(client, place)).packed + struct.pack("!HH", 1025, place.port)
    family = _V2_TCP6 if ":" in client else _V2_TCP4
    return _V2_BEGINS + struct.pack("!BBH", _V2_PROXY, family, len(addresses)) + addresses


def _server(client: str, place: Place) -> str:
    same = (":" in client) == (":" in place.address)
    return place.address.partition("%")[0] if same else "::1" if ":" in client else "127.0.0.1"
