"""The ways out that some accounts and senders have of their own: from the settings to delivery, and if they can be used."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from postlatch.delivery.config import Way, parse_route
from postlatch.delivery.contract import TlsPolicy
from postlatch.settings.problem import Problem

if TYPE_CHECKING:
    from postlatch.settings.tree import Settings
    from postlatch.settings.wayout import WaySettings

_TABLES = ("by_account", "by_sender")


def ways(settings: Settings, table: str) -> dict[str, Way]:
    """One of the two tables, as delivery takes it. OSError if a password cannot be read."""
    found: Mapping[str, WaySettings] = getattr(settings.outbound, table)
    return {name: _way(settings, way) for name, way in found.items()}


def read_secret(path: Path | None) -> str:
    """The first line of a secret file, empty if none is named. OSError if it cannot be read."""
    lines = path.read_text("utf-8").splitlines() if path is not None else []
    return lines[0].strip() if lines else ""


def way_problems(settings: Settings) -> Iterator[Problem]:
    """Addresses that this machine does not have, and password files that cannot be read."""
    for table in _TABLES:
        found: Mapping[str, WaySettings] = getattr(settings.outbound, table)
        for name, way in found.items():
            for place, address in enumerate(way.source):
                if (why := _unusable(address)) is not None:
                    yield settings.problem(("outbound", table, name, "source", place), f"{address} {why}")
            try:
                empty = way.password_file is not None and not read_secret(way.password_file)
            except (OSError, UnicodeDecodeError):
                empty = True
            if empty:
                message = f"{way.password_file} cannot be read, or has no password on its first line"
                yield settings.problem(("outbound", table, name, "password_file"), message)


def _way(settings: Settings, way: WaySettings) -> Way:
    if way.smarthost is None:
        return Way(way.source)
    level = TlsPolicy(way.tls or settings.outbound.tls)
    password = read_secret(way.password_file)
    return Way(way.source, parse_route(way.smarthost, tls=level, username=way.username or "", password=password))


def _unusable(text: str) -> str | None:
    """Why nothing can be sent from this address; None if the kernel lets us have it."""
    family = socket.AF_INET6 if isinstance(ip_address(text), IPv6Address) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((text, 0))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return "is not an address of this machine: give it to an interface first, or take it out"
        return f"cannot be sent from: {error.strerror}"
    return None
