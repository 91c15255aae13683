"""The machine's own addresses, and which of them are gateways of container bridges. Linux, from /sys and /proc."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from postlatch.model.envelope import IPAddress

_SIOCGIFADDR = 0x8915  # linux/sockios.h
_INTERFACES = Path("/sys/class/net")
_INET6 = Path("/proc/net/if_inet6")
_ROUTES = Path("/proc/net/fib_trie")
_ROUTE4 = Path("/proc/net/route")
_ROUTE6 = Path("/proc/net/ipv6_route")


def addresses_by_interface() -> dict[str, list[IPAddress]]:
    """Interface name → its addresses (of IPv4 the primary one). Empty where the kernel does not tell."""
    found: dict[str, list[IPAddress]] = {}
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("256s", name[:15].encode()))
                found.setdefault(name, []).append(IPv4Address(answer[20:24]))
    with contextlib.suppress(OSError):
        for line in _INET6.read_text().splitlines():
            fields = line.split()
            found.setdefault(fields[5], []).append(IPv6Address(int(fields[0], 16)))
    return found


def local_addresses() -> frozenset[IPAddress]:
    """Every address of this machine."""
    return frozenset(_local_routes()) | {address for group in addresses_by_interface().values() for address in group}


def _local_routes() -> Iterator[IPAddress]:
    """The IPv4 addresses that the kernel takes for its own, the second and further ones of an interface too."""
    leaf = ""
    with contextlib.suppress(OSError):
        for line in _ROUTES.read_text().splitlines():
            leaf = line.rpartition("|-- ")[2] if "|-- " in line else leaf
            if line.split() == ["/32", "host", "LOCAL"]:
                yield IPv4Address(leaf)


def default_gateways() -> frozenset[IPAddress]:
    """The routers of this machine; in a container, the bridge of its engine."""
    found: set[IPAddress] = set()
    with contextlib.suppress(OSError, ValueError):
        for line in _ROUTE4.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1] == fields[7] == "00000000" and fields[2] != "00000000":
                found.add(IPv4Address(int(fields[2], 16).to_bytes(4, sys.byteorder)))
    with contextlib.suppress(OSError, ValueError):
        for line in _ROUTE6.read_text().splitlines():
            fields = line.split()
            if fields[0] == "0" * 32 and fields[1] == "00":
                found.add(IPv6Address(int(fields[4], 16)))
    return frozenset(address for address in found if not address.is_unspecified)


def container_gateways() -> frozenset[IPAddress]:
    """Addresses of bridges (docker0, br-…, podman0, cni0, lxdbr0): behind them every container looks like this address."""
    return frozenset(
        address
        for name, group in addresses_by_interface().items()
        if (_INTERFACES / name / "bridge").is_dir()
        for address in group
    )
