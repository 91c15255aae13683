"""What ``postlatch audit`` was asked, checked and with its defaults."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from postlatch.model.address import AddressError, parse_address, parse_domain

# RFC 2606: nobody can own them, so no message to them can reach anybody by accident.
CANARY_DOMAIN: Final = "canary.example"
OTHER_DOMAIN: Final = "stranger.example"
_NEAR_RATE: Final = 50.0  # connections a second
_FAR_RATE: Final = 5.0


class OptionsError(ValueError):
    """What was asked makes no sense; says what would."""


class Target(NamedTuple):
    """``HOST``, ``HOST:PORT``, ``ADDRESS``, ``[IPv6]:PORT``. ``text`` is as it was given."""

    text: str
    host: str
    port: int | None

    @property
    def is_number(self) -> bool:
        """An address, not a name."""
        return _is_address(self.host)


class Options(NamedTuple):
    """See the command's help. ``canary_address``: of a mailbox of the auditor's, or empty."""

    targets: tuple[Target, ...]
    mailbox: str
    local_domain: str
    canary: str
    canary_address: str
    canary_domain: str
    helo: str
    source: str
    deep: bool
    time_limit: float
    window: float | None
    rate: float | None
    messages: int
    owned: bool
    token: str
    dry_run: bool
    canary_user: str = ""
    shares_domain: bool = False  # nobody said that all of the canary's domain is the auditor's

    def rate_for(self, *, near: bool) -> float:
        """Connections a second: somebody else's network is spared."""
        return self.rate or (_NEAR_RATE if near else _FAR_RATE)

    def window_for(self, *, near: bool) -> float:
        """Seconds that a message may take: across the world that is more than across a wire."""
        return self.window if self.window is not None else (5.0 if near else 60.0)


def options_of(arguments: dict[str, Any]) -> Options:
    """OptionsError says which option is wrong, and what would be right."""
    deep = bool(arguments.get("deep"))
    mailbox, local_domain = _mailbox("--local", arguments.get("local", ""))
    canary = str(arguments.get("canary", ""))
    canary_address = "" if not canary or canary.startswith("listen:") else canary
    canary_user, canary_domain = _mailbox("--canary", canary_address)
    return Options(
        targets=tuple(target(text) for text in arguments["targets"]),
        mailbox=mailbox,
        local_domain=local_domain,
        canary=canary,
        canary_address=canary_address,
        canary_domain=str(arguments.get("canary_domain") or canary_domain or CANARY_DOMAIN),
        helo=_greeting(str(arguments.get("helo", ""))) or _own_name(str(arguments.get("source", ""))),
        source=_source(str(arguments.get("source", ""))),
        deep=deep,
        time_limit=float(arguments.get("time_limit") or (180 if deep else 60)),
        window=float(arguments["window"]) if "window" in arguments else None,
        rate=float(arguments["rate"]) if "rate" in arguments else None,
        messages=int(arguments.get("messages") or (300 if deep else 60)),
        owned=bool(arguments.get("i_own_this")),
        token=str(arguments.get("token", "")),
        dry_run=bool(arguments.get("dry_run")),
        canary_user=canary_user,
        shares_domain=bool(canary_user) and not arguments.get("canary_domain"),
    )


def target(text: str) -> Target:
    """OptionsError if it is neither a name nor an address, with or without a port."""
    if _is_address(text):
        return Target(text, str(ip_address(text)), None)
    host, colon, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    if not colon:
        host, port = text, ""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise OptionsError(f"{text!a}: the port must be a number from 1 to 65535")
    number = int(port) if port else None
    if _is_address(host):
        return Target(text, str(ip_address(host)), number)
    if host == "localhost":
        return Target(text, host, number)
    try:
        return Target(text, parse_domain(host), number)
    except AddressError as error:
        raise OptionsError(f"{text!a} is neither a host name nor an address ({error}): give HOST or HOST:PORT") from None


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _mailbox(option: str, text: str) -> tuple[str, str]:
    """Local part and domain; both empty for nothing."""
    if not text:
        return "", ""
    try:
        address = parse_address(text)
    except AddressError as error:
        raise OptionsError(f"{option}: {text!a} is no address: {error}") from None
    return address.local, address.domain


def _greeting(name: str) -> str:
    """One word: what follows it would be another command."""
    if not name.isascii() or not name.isprintable() or " " in name or len(name) > 255:
        raise OptionsError(f"--helo: {name!a} is no name to greet by: give a host name, or an address like [192.0.2.1]")
    return name


def _source(address: str) -> str:
    """An address of this machine, or nothing: a connection can come from no other."""
    if not address:
        return ""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.bind((address, 0))
    except OSError as error:
        raise OptionsError(f"--source: {address!a} cannot be used: {error.strerror}; name an address of this machine") from None
    return address


def _own_name(source: str) -> str:
    """This machine's name if it has a whole one, else the address literal that RFC 5321 section 4.1.3 allows."""
    name = socket.gethostname()
    if "." in name and name.isascii():
        return name
    return f"[IPv6:{source}]" if ":" in source else f"[{source or '127.0.0.1'}]"
