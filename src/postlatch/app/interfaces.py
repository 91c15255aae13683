"""The machine's own addresses, and which of them are gateways of container bridges. Linux, from /sys and /proc."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from postlatch.model.envelope import IPAddress

_SIOCGIFADDR = 0x8915  # linux/sockios.h
_INTERFACES = Path("/sys/class/net")
_INET6 = Path("/proc/net/if_inet6")


def addresses_by_interface() -> dict[str, list[IPAddress]]:
    """Interface name → its addresses (of IPv4 the primary one). Empty where the kernel does not tell."""
    found: dict[str, list[IPAddress]] = {}
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for entry in _INTERFACES.iterdir():
            with contextlib.suppress(OSError):
                answer = fcntl.ioctl(sock, _SIOCGIFADDR, struct.pack("256s", entry.name[:15].encode()))
                found.setdefault(entry.name, []).append(IPv4Address(answer[20:24]))
    with contextlib.suppress(OSError):
        for line in _INET6.read_text().splitlines():
            fields = line.split()
            found.setdefault(fields[5], []).append(IPv6Address(int(fields[0], 16)))
    return found


def local_addresses() -> frozenset[IPAddress]:
    """Every address of this machine."""
    return frozenset(address for group in addresses_by_interface().values() for address in group)


def container_gateways() -> frozenset[IPAddress]:
    """Addresses of bridges (docker0, br-…, podman0, cni0, lxdbr0): behind them every container looks like this address."""
    return frozenset(
        address
        for name, group in addresses_by_interface().items()
        if (_INTERFACES / name / "bridge").is_dir()
        for address in group
    )
