"""What delivery is told: the routes of the configuration and a few limits. Values only; reading files is `settings`' work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final

from postlatch.delivery.contract import TlsPolicy
from postlatch.delivery.guard import OwnAddresses
from postlatch.delivery.pace import Bounds
from postlatch.delivery.schedule import RetryPolicy
from postlatch.model.address import Address, AddressError, parse_domain

_MAX_SOCKET_PATH: Final = 107  # octets: sun_path holds 108 with its final NUL
_NETWORK: Final = re.compile(r"(?P<kind>smtp|lmtp)://(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^\[\]:/@]*)):(?P<port>[0-9]{1,5})")
_FORMS: Final = "maildir:PATH, lmtp://HOST:PORT, lmtp+unix:///PATH or smtp://HOST:PORT (an IPv6 address in brackets)"


class RouteKind(StrEnum):
    """How a route hands mail over."""

    MAILDIR = "maildir"
    LMTP = "lmtp"
    SMTP = "smtp"


@dataclass(frozen=True, slots=True)
class Route:
    """One explicit next hop. ``host`` is a name or a numeric address; ``path`` a Maildir root or an LMTP socket."""

    kind: RouteKind
    host: str = ""
    port: int = 0
    path: str = ""
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    username: str = ""
    password: str = field(default="", repr=False)
    source: tuple[str, ...] = ()  # our addresses to connect from; empty: as the system chooses

    def __str__(self) -> str:
        if self.kind is RouteKind.MAILDIR:
            return f"maildir:{self.path}"
        if self.path:
            return f"lmtp+unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Way:
    """The way out for some senders: from which addresses of ours (one a family at most), and to whom instead of the MX."""

    source: tuple[str, ...] = ()
    smarthost: Route | None = None


NO_WAY: Final = Way()


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """Everything that delivery needs of the configuration. Domains are lower-case A-labels and match exactly.

    ``outbound`` is by recipient domain and goes before ``smarthost``, which goes before MX. ``tls`` is for MX. A destination
    starts with ``start_per_destination`` deliveries at once and grows to ``max_per_destination``; ``max_deliveries`` holds
    for all together. ``poll_seconds``: how often the queue is asked for what has come due. ``destinations``: bounds of their
    own, by name. ``quarantine``: where mail for our domains goes that its author's domain asks to set apart. ``by_account`` and
    ``by_sender`` (``user@domain`` or ``@domain``) give ways of their own to what leaves for elsewhere.
    """

    hostname: str
    local: Mapping[str, Route] = field(default_factory=dict)
    relay: Mapping[str, Route] = field(default_factory=dict)
    outbound: Mapping[str, Route] = field(default_factory=dict)
    smarthost: Route | None = None
    quarantine: Route | None = None
    own: OwnAddresses = field(default_factory=OwnAddresses)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC
    start_per_destination: int = 5
    max_per_destination: int = 20
    max_deliveries: int = 200
    poll_seconds: float = 5.0
    destinations: Mapping[str, Bounds] = field(default_factory=dict)
    by_account: Mapping[str, Way] = field(default_factory=dict)
    by_sender: Mapping[str, Way] = field(default_factory=dict)

    def way(self, account: str, sender: Address | None) -> Way:
        """The way out for this sender: its login's, else its address's, else its domain's. Reports of ours have none."""
        if not self.by_account and not self.by_sender:
            return NO_WAY
        found = self.by_account.get(account) if account else None
        if found is None and sender is not None:
            found = self.by_sender.get(sender.key) or self.by_sender.get(f"@{sender.domain}")
        return found or NO_WAY

    def bounds(self, name: str) -> Bounds:
        """What the destination ``name`` may get: a recipient domain that is sent to by MX, or the host of a route.

        One destination never gets more than three quarters of all deliveries.
        """
        share = max(1, self.max_deliveries * 3 // 4)
        own = self.destinations.get(name)
        if own is None:
            return Bounds(self.start_per_destination, min(self.max_per_destination, share))
        return own._replace(most=min(own.most or self.max_per_destination, share))

    def __post_init__(self) -> None:
        leaving = [*self.outbound.values(), *([self.smarthost] if self.smarthost else [])]
        leaving += [way.smarthost for way in (*self.by_account.values(), *self.by_sender.values()) if way.smarthost is not None]
        if any(route.kind is RouteKind.MAILDIR for route in [*leaving, *self.relay.values()]):
            raise ValueError("only a domain of ours can be delivered to a Maildir")


def parse_route(
    text: str,
    *,
    tls: TlsPolicy = TlsPolicy.OPPORTUNISTIC,
    username: str = "",
    password: str = "",
    base: Path | None = None,
) -> Route:
    """The route that ``text`` names; ValueError, with what would be right, if it names none.

    ``base`` is the folder that a relative Maildir path is relative to.
    """
    if username and tls is not TlsPolicy.VERIFY:
        raise ValueError('a user name needs tls = "verify": a password is never sent to an unverified server')
    if text.startswith("maildir:"):
        return _maildir(text.removeprefix("maildir:"), base)
    if text.startswith("lmtp+unix://"):
        return _socket(text.removeprefix("lmtp+unix://"))
    match = _NETWORK.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a route: it must be {_FORMS}")
    host = _v6(match["v6"]) if match["v6"] is not None else _host(match["host"])
    port = int(match["port"])
    if not 1 <= port <= 65_535:
        raise ValueError(f"{port} is not a port: it must be 1 to 65535")
    return Route(RouteKind(match["kind"]), host, port, tls=tls, username=username, password=password)


def _maildir(path: str, base: Path | None) -> Route:
    if not path or "\0" in path:
        raise ValueError("maildir: needs a folder, like maildir:data/mail")
    return Route(RouteKind.MAILDIR, path=str(base / path if base is not None else Path(path)))


def _socket(path: str) -> Route:
    if not path.startswith("/") or "\0" in path:
        raise ValueError("lmtp+unix:// needs the whole path of a socket, like lmtp+unix:///run/dovecot/lmtp")
    if len(path.encode()) > _MAX_SOCKET_PATH:
        raise ValueError(f"a socket's path may have at most {_MAX_SOCKET_PATH} octets")
    return Route(RouteKind.LMTP, path=path)


def _v6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise ValueError(f"{text!r} in brackets is not an IPv6 address") from None
    if address.scope_id is not None:
        raise ValueError("an address with a zone (%) cannot be a route")
    return str(address)


def _host(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        pass
    try:
        return parse_domain(text)
    except AddressError as error:
        raise ValueError(f"{text!r} is not a host: {error}") from None
