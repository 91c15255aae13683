"""Where mail goes: ``smtp://``, ``lmtp://``, ``lmtp+unix://`` and ``maildir:``, as written in the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

from postlatch.settings.kinds import quote, suggest
from postlatch.settings.values import parse_host, parse_port

RouteKind = Literal["smtp", "lmtp", "lmtp+unix", "maildir"]

_PORTS = {"smtp": 25, "lmtp": 24}
_FORMS = '"smtp://HOST:PORT", "lmtp://HOST:PORT", "lmtp+unix:///PATH" or "maildir:PATH"'


class Route(NamedTuple):
    """A parsed next hop. ``host`` (lower case, IPv6 without brackets) and ``port`` for smtp and lmtp, else ``path``."""

    kind: RouteKind
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.kind == "maildir":
            return f"maildir:{self.path}"
        if self.kind == "lmtp+unix":
            return f"lmtp+unix://{self.path}"
        return f"{self.kind}://[{self.host}]:{self.port}" if ":" in self.host else f"{self.kind}://{self.host}:{self.port}"


def parse_route(text: str) -> Route:
    """Any next hop; ValueError says what is wrong and what would be right. Ports default to 25 (smtp) and 24 (lmtp)."""
    scheme, colon, rest = text.partition(":")
    if not colon:
        raise ValueError(f"{quote(text)} is no route: write {_FORMS}")
    match scheme:
        case "maildir":
            return Route("maildir", path=_path(text, rest))
        case "lmtp+unix":
            if not rest.startswith("///"):
                raise ValueError(f'{quote(text)} needs three slashes and a whole path: "lmtp+unix:///run/dovecot/lmtp"')
            return Route("lmtp+unix", path=_path(text, rest[2:]))
        case "smtp" | "lmtp":
            host, port = _authority(text, scheme)
            return Route(scheme, host, port)
        case "smtps":
            raise ValueError('smtps:// is not known: write "smtp://HOST:PORT" and set tls = "required" or tls = "verify"')
        case _:
            raise ValueError(f"{quote(scheme + ':')} is not known{suggest(scheme, [*_PORTS, 'maildir'])}: write {_FORMS}")


def parse_smtp_route(text: str) -> str:
    """A route to another server over SMTP, with its port."""
    route = parse_route(text)
    if route.kind != "smtp":
        raise ValueError(f'{quote(text)} cannot take mail for elsewhere: write "smtp://HOST:PORT"')
    return str(route)


def parse_network_route(text: str) -> str:
    """A route for a relay domain: SMTP or LMTP, never a Maildir of ours."""
    route = parse_route(text)
    if route.kind == "maildir":
        raise ValueError('a relay domain is not kept here: write its next hop as "smtp://HOST:PORT", or put it under [domains]')
    return str(route)


def absolute(route: Route, base: Path) -> Route:
    """With a Maildir's path made relative to ``base``."""
    return route._replace(path=str(base / route.path)) if route.kind == "maildir" else route


def _path(text: str, path: str) -> str:
    if not path or path.startswith("//") or "\0" in path:
        raise ValueError(
            f'{quote(text)} names no folder or socket: write "maildir:data/mail" or "lmtp+unix:///run/dovecot/lmtp"'
        )
    if path.startswith("~"):
        raise ValueError(f"{quote(text)}: ~ is not expanded; write the whole path")
    return path


def _authority(text: str, scheme: str) -> tuple[str, int]:
    url = _split(text, scheme)
    if url.username is not None or url.password is not None:
        # The text may hold a password: it is not repeated.
        raise ValueError("a route holds no user name or password: use outbound.username and outbound.password_file")
    if url.path not in {"", "/"} or url.query or url.fragment:
        raise ValueError(f'{quote(text)} goes on after the port: write "{scheme}://HOST:PORT"')
    host, colon, port = url.netloc.rpartition(":")
    if not colon or url.netloc.endswith("]"):
        host, port = url.netloc, str(_PORTS[scheme])
    if not host:
        raise ValueError(f'{quote(text)} names no host: write "{scheme}://HOST:PORT"')
    if ":" in host and not host.startswith("["):
        raise ValueError(f'{quote(text)}: an IPv6 address stands in brackets, "{scheme}://[2001:db8::25]:{_PORTS[scheme]}"')
    return parse_host(host), parse_port(port)


def _split(text: str, scheme: str) -> SplitResult:
    if not text.startswith(f"{scheme}://"):
        raise ValueError(f'{quote(text)} lacks its two slashes: write "{scheme}://HOST:PORT"')
    try:
        return urlsplit(text)
    except ValueError:
        raise ValueError(f'{quote(text)} is no route: write "{scheme}://HOST:PORT", an IPv6 address in brackets') from None
