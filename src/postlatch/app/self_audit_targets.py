"""Where the self-audit asks: every address at which a listener of the configuration can be reached, as a stranger."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, ip_address
from typing import Final, NamedTuple

from postlatch.model.envelope import IPAddress

_MOST: Final = 4  # addresses of one family at a wildcard: a host of containers has hundreds
_OTHER_LOOPBACK: Final = IPv4Address("127.0.0.2")  # all of 127/8 is this machine; a right is mostly for 127.0.0.1 alone


class Listening(NamedTuple):
    """One address of a listener. ``source``: where the audit comes from. ``doubt``: why it cannot come as a stranger, or empty.

    ``by_right``: it takes mail of nobody but those
    with a right. ``domain`` is one that the relay takes mail for, empty if there is none.
    """

    listener: str
    address: str
    port: int
    tls_first: bool
    hostname: str
    domain: str
    source: str
    by_right: bool = False
    doubt: str = ""


def reachable_at(bound: str, own: Iterable[IPAddress]) -> list[tuple[IPAddress, int]]:
    """The addresses at which this machine reaches what is bound to ``bound``; of a wildcard, those of its family."""
    host, _, text = bound.rpartition(":")
    address = ip_address(host.strip("[]").partition("%")[0])
    if not address.is_unspecified:
        return [(address, int(text))]
    family = sorted((one for one in own if one.version == address.version and not one.is_link_local), key=int)
    outer = [one for one in family if not one.is_loopback][:_MOST]
    return [(one, int(text)) for one in outer or family[:1]]


def source_for(address: IPAddress, own: Iterable[IPAddress], right: Callable[[IPAddress], str]) -> tuple[IPAddress, str]:
    """The address to come from, and why it is not a stranger's if none is. ``right`` names the right of an address, if any."""
    family = sorted((one for one in own if one.version == address.version and not one.is_link_local), key=int)
    outer = [one for one in family if not one.is_loopback and not address.is_loopback]
    choices = list(dict.fromkeys([address, *outer]))
    if address.is_loopback and address.version == 4:
        choices.append(_OTHER_LOOPBACK)
    for one in choices:
        if not right(one):
            return one, ""
    return address, f"every address of this machine that can reach it has a right there: {right(address)}"
