"""The values of the configuration as texts, and what they mean. Each parser raises ValueError that says what would be right.

The rooms that use a value parse it again into their own type; here it is refused early and brought into one form.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from postlatch.model.address import AddressError, parse_address, parse_domain
from postlatch.settings.kinds import quote

IPNetwork = IPv4Network | IPv6Network

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_DURATION = re.compile(r"(\d{1,9})\s*([a-z]+?)s?", re.IGNORECASE)
_SIZES = {"b": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_SIZE = re.compile(r"(\d{1,12})\s*([a-z]+)", re.IGNORECASE)
_LIMIT = re.compile(r"(\d{1,12})/(second|minute|hour|day)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_PREFIX = re.compile(r"[^/]+(?:/\d{1,3})?")


def parse_duration(text: str) -> int:
    """``90 days`` in seconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError(
            f'{quote(text)} is no length of time: write a number and a unit, like "90 days", "4 hours" or "30 seconds"'
        )
    seconds = int(match[1]) * _UNITS[match[2].lower()]
    if not 0 < seconds <= 100 * 365 * 86_400:
        raise ValueError(f"{quote(text)} is out of range: more than nothing and at most 100 years")
    return seconds


def parse_size(text: str) -> int:
    """``50 MiB`` in octets."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or match[2].lower() not in _SIZES:
        raise ValueError(f'{quote(text)} is no size: write octets as a number, or a text like "50 MiB" (KiB, MiB, GiB)')
    return int(match[1]) * _SIZES[match[2].lower()]


def parse_limit(text: str) -> str:
    """``200/day`` as it is."""
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise ValueError(f'{quote(text)} is no limit: write N/second, N/minute, N/hour or N/day, like "200/day"')
    if not 1 <= int(match[1]) <= 1_000_000_000:
        raise ValueError(
            f"{quote(text)} is out of range: from 1 to 1000000000 (to stop somebody altogether, suspend or revoke)"
        )
    return text


def parse_limits(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Limits of one kind: at least one, and one for each length of time."""
    if not texts:
        raise ValueError(
            'an empty list would mean no limit at all: give one, like ["200/day"], or leave the key out for the default'
        )
    units = [text.partition("/")[2] for text in texts]
    for unit in units:
        if units.count(unit) > 1:
            raise ValueError(f"there are two limits for each {unit}: keep one of them")
    return texts


def parse_name(text: str) -> str:
    """A name of a listener or right, as it appears in logs, metrics and commands."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"{quote(text)} is no name: use letters, digits, dot, - and _, beginning with a letter or digit, 64 at most"
        )
    return text


def parse_fingerprint(text: str) -> str:
    """The SHA-256 of a certificate, as OpenSSL and browsers show it; without colons, in lower case."""
    found = text.replace(":", "").lower()
    if not _FINGERPRINT.fullmatch(found):
        raise ValueError(
            f"{quote(text)} is no fingerprint: give the SHA-256 in 64 hexadecimal digits "
            "(openssl x509 -noout -fingerprint -sha256 -in CERTIFICATE)"
        )
    return found


def parse_line(text: str) -> str:
    """One line of printable text, such as an owner or a reason."""
    if len(text) > 500 or not text.isprintable():
        raise ValueError("must be one line of printable text of at most 500 characters")
    return text


def parse_owner(text: str) -> str:
    """Who vouches: a person or an address."""
    if not text.strip():
        raise ValueError('is empty: name who vouches for this, like "ops@example.com"')
    return parse_line(text)


def parse_network(text: str) -> IPNetwork:
    """``10.0.3.0/28``; host bits are an error that names the right network, a bare address is itself alone."""
    if not _PREFIX.fullmatch(text) or "%" in text:
        raise ValueError(f'{quote(text)} is no network: write ADDRESS/PREFIX-LENGTH, like "10.0.3.0/28"')
    try:
        loose = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(
            f'{quote(text)} is no network: write ADDRESS/PREFIX-LENGTH, like "10.0.3.0/28" or "2001:db8::/64"'
        ) from None
    if "/" in text and ip_address(text.partition("/")[0]) != loose.network_address:
        address = text.partition("/")[0]
        raise ValueError(
            f'{quote(text)} is an address inside a network: write "{loose}" for the network or "{address}" for that address'
        )
    return loose


def parse_socket(text: str) -> str:
    """``0.0.0.0:25`` or ``[::]:25``, with the address in its shortest spelling."""
    host, port = _split_socket(text)
    number = parse_port(port, lowest=0)
    return f"[{host}]:{number}" if isinstance(host, IPv6Address) else f"{host}:{number}"


def parse_endpoint(text: str) -> str:
    """As ``parse_socket``, for an address to connect to: its port is a real one."""
    endpoint = parse_socket(text)
    if split_socket(endpoint)[1] == 0:
        raise ValueError(f"{quote(text)} has port 0: write the port that is listened on")
    return endpoint


def split_socket(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """The address and port of what ``parse_socket`` returned."""
    host, _, port = text.rpartition(":")
    return ip_address(host.strip("[]")), int(port)


def _split_socket(text: str) -> tuple[IPv4Address | IPv6Address, str]:
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(_bad_socket(text, host, colon)) from None
    if bracketed is not isinstance(address, IPv6Address):
        raise ValueError(f'{quote(text)} needs its IPv6 address in brackets, and only that: "[::]:25" or "0.0.0.0:25"')
    if isinstance(address, IPv6Address) and (address.scope_id or address.ipv4_mapped):
        raise ValueError(f"{quote(text)} has a zone or holds an IPv4 address: write the plain IPv4 or IPv6 address")
    return address, port


def _bad_socket(text: str, host: str, colon: str) -> str:
    if _is_ip(text) or not colon:
        return f'{quote(text)} has no port: write ADDRESS:PORT, like "0.0.0.0:25" or "[::]:25"'
    if not host:
        return f'{quote(text)} has no address: write "0.0.0.0{text}" for all of IPv4 and "[::]{text}" for all of IPv6'
    return f'{quote(text)} does not begin with an IP address: write ADDRESS:PORT, like "127.0.0.1:25" or "[::1]:25", not a name'


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def parse_port(text: str, lowest: int = 1) -> int:
    """A TCP port; 0 (any free one) only where it is bound."""
    if not (text.isascii() and text.isdigit()) or len(text) > 6 or not lowest <= int(text) <= 65_535:
        raise ValueError(f"{quote(text)} is no port: it must be a number from {lowest} to 65535")
    return int(text)


def parse_host(text: str) -> str:
    """A host name or an IP address, for a next hop; lower case, IPv6 without brackets."""
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if _is_ip(text):
        return str(ip_address(text))
    return parse_domain_name(text)


def parse_domain_name(text: str) -> str:
    """A domain as lower-case A-labels, with the way out of the common mistakes."""
    try:
        return parse_domain(text)
    except AddressError as error:
        hint = f": write {quote(text.rstrip('.'))}" if text.endswith(".") and text.strip(".") else ""
        raise ValueError(f"{quote(text)} is no domain: {error}{hint}") from None


def parse_local_part(text: str) -> str:
    """The part of an address before the ``@``: without quotes and in lower case, as local parts of ours are compared."""
    if text == "*":
        raise ValueError('"*" is no mailbox: a catch-all is an alias, aliases = { "*" = ["alice"] }')
    if "@" in text and not text.startswith('"'):
        raise ValueError(f"{quote(text)} has an @: write only what stands before it, {quote(text.partition('@')[0])}")
    try:
        return parse_address(f"{text}@example.com", smtputf8=True).local.lower()
    except AddressError as error:
        raise ValueError(f"{quote(text)} is no local part: {error}") from None


def parse_alias_name(text: str) -> str:
    """A local part, or ``*`` for everything that is not listed."""
    return text if text == "*" else parse_local_part(text)


def parse_mailbox(text: str) -> str:
    """A whole address; its domain becomes lower-case A-labels."""
    try:
        address = parse_address(text, smtputf8=True)
    except AddressError as error:
        raise ValueError(f'{quote(text)} is no address: {error}; write it like "ops@example.com"') from None
    return text[: text.rindex("@")] + "@" + address.domain


def parse_alias_target(text: str) -> str:
    """A local part of the same domain, or a whole address."""
    if _has_domain(text):
        return parse_mailbox(text)
    parse_local_part(text)
    return text


def whole_address(target: str, domain: str) -> str:
    """An alias target with the domain that it has by its place."""
    return target if _has_domain(target) else f"{target}@{domain}"


def _has_domain(text: str) -> bool:
    return "@" in text and not text.endswith('"')  # "a@b" in quotes is a local part


def parse_pattern(text: str) -> str:
    """``user@example.com`` or ``@example.com`` for everybody of that domain."""
    if text.startswith("*@"):
        raise ValueError(f"{quote(text)} has a star: write {quote(text[1:])} for everybody of that domain")
    if "@" not in text:
        raise ValueError(f'{quote(text)} is neither an address nor a domain: write "user@example.com" or "@example.com"')
    return "@" + parse_domain_name(text[1:]) if text.startswith("@") else parse_mailbox(text)


def parse_sender_pattern(text: str) -> str:
    """As ``parse_pattern``, or ``<>`` for bounces."""
    return text if text == "<>" else parse_pattern(text)


def parse_day(value: object) -> date:
    """A TOML date, or the same in quotes. A time of day is refused: what expires does so with the end of a day, UTC."""
    if isinstance(value, datetime):
        raise ValueError(f"has a time of day: write the day alone, {value.date()}; it ends with that day, UTC")  # noqa: TRY004 (pydantic reports ValueErrors only)
    if isinstance(value, date):
        return _with_an_end(value)
    if isinstance(value, str):
        try:
            day = date.fromisoformat(value if _DAY.fullmatch(value) else "")
        except ValueError:
            raise ValueError(f"{quote(value)} is no date: write a day that exists as YEAR-MONTH-DAY, like 2027-06-30") from None
        return _with_an_end(day)
    raise ValueError("must be a date without quotes, like 2027-06-30")


def _with_an_end(day: date) -> date:
    if day == date.max:
        raise ValueError(f"{day} has no day after it, with which it would end: write an earlier one, like 2027-06-30")
    return day
