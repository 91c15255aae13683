"""Ban lists as others write and read them: plain lines, fail2ban's ``get JAIL banip --with-time``, an nftables set, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from ipaddress import ip_network
from typing import Any, Final, NamedTuple

from postlatch.monitor.circles import IPNetwork

MOST_LINES: Final = 500_000
LONGEST_LINE: Final = 512
_LONGEST_BAN: Final = 10 * 366 * 86_400.0
_FOREVER_SECONDS: Final = -1  # how fail2ban writes a ban without an end
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# fail2ban-client get JAIL banip --with-time, in its local time: ADDRESS  START + SECONDS = END
_FAIL2BAN: Final = re.compile(
    r"(\S+)\s+(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)\s+\+\s+(-?\d{1,12})\s+=\s+(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)", re.ASCII
)
_DURATION: Final = re.compile(r"([0-9]{1,10})([smhdw]?)", re.ASCII)


class Entry(NamedTuple):
    """One line. ``until`` is None where it says nothing of an end. Seconds since 1970."""

    network: IPNetwork
    until: float | None


def parse_line(text: str, now: float) -> Entry | None:
    """One line of a list; None if it is empty or a comment; ValueError if it is no ban.

    ``ADDRESS``, ``ADDRESS/LENGTH``, behind it nothing, seconds, ``30m``, ``2h``, ``7d`` or an end (RFC 3339); or as fail2ban.
    """
    if len(text) > LONGEST_LINE:
        raise ValueError(f"longer than {LONGEST_LINE} characters")
    line = text.partition("#")[0].strip()
    if not line:
        return None
    match = _FAIL2BAN.fullmatch(line)
    if match is not None:
        return _of_fail2ban(match, now)
    address, *rest = line.split(maxsplit=1)
    return Entry(_network(address.rstrip(",")), _end(rest[0], now) if rest else None)


def _of_fail2ban(match: re.Match[str], now: float) -> Entry:
    network, seconds = _network(match[1]), int(match[3])
    if seconds == _FOREVER_SECONDS:
        return Entry(network, None)
    return Entry(network, _in_bounds(_moment(match[2]) + seconds, now))


def _network(text: str) -> IPNetwork:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"{text[:60]!a} is no address or network") from None


def _end(text: str, now: float) -> float:
    match = _DURATION.fullmatch(text)
    if match is not None:
        return _in_bounds(now + int(match[1]) * _UNITS[match[2] or "s"], now)
    return _in_bounds(_moment(text), now)


def _moment(text: str) -> float:
    """Without an offset it is local time, as fail2ban writes it."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text[:60]!a} is no length of time (90, 30m, 2h, 7d) and no time (RFC 3339)") from None


def _in_bounds(until: float, now: float) -> float:
    if until <= now:
        raise ValueError("the ban is over already")
    return min(until, now + _LONGEST_BAN)


Bans = Iterable[Mapping[str, Any]]


def export_lines(name: str, bans: Bans, now: float) -> Iterator[str]:
    """The lines of one format. ``bans`` are those of ``ban.export``."""
    yield from _FORMATS[name](bans, now)


def _plain(bans: Bans, now: float) -> Iterator[str]:
    for ban in bans:
        seconds = _seconds(ban, now)
        yield ban["network"] if seconds is None else f"{ban['network']} {seconds}"


def _fail2ban(bans: Bans, _now: float) -> Iterator[str]:
    for ban in bans:
        network = ip_network(ban["network"])
        address = str(network.network_address) if network.num_addresses == 1 else str(network)
        start = datetime.fromtimestamp(int(ban["since"])).astimezone()
        if ban["until"] is None:
            yield f"{address}  {start:%Y-%m-%d %H:%M:%S} + -1 = 9999-12-31 23:59:59"
            continue
        end = datetime.fromtimestamp(int(ban["until"])).astimezone()
        yield f"{address}  {start:%Y-%m-%d %H:%M:%S} + {int(ban['until']) - int(ban['since'])} = {end:%Y-%m-%d %H:%M:%S}"


def _nft(bans: Bans, now: float) -> Iterator[str]:
    """For ``nft -f``: elements of two sets that exist (``postlatch firewall rules`` prints them)."""
    by_version: dict[int, list[str]] = {4: [], 6: []}
    for ban in bans:
        seconds = _seconds(ban, now)
        timeout = "" if seconds is None else f" timeout {seconds}s"
        by_version[ip_network(ban["network"]).version].append(f"{ban['network']}{timeout}")
    for version, elements in by_version.items():
        if elements:
            yield f"add element inet postlatch banned{version} {{"
            yield from (f"  {element}," for element in elements)
            yield "}"


def _json(bans: Bans, now: float) -> Iterator[str]:
    for ban in bans:
        yield json.dumps({"network": ban["network"], "seconds": _seconds(ban, now), "why": ban["why"], "kind": ban["kind"]})


def _seconds(ban: Mapping[str, Any], now: float) -> int | None:
    return None if ban["until"] is None else max(1, int(ban["until"] - now))


_FORMATS: Final[Mapping[str, Callable[[Bans, float], Iterator[str]]]] = {
    "plain": _plain,
    "fail2ban": _fail2ban,
    "nft": _nft,
    "json": _json,
}
FORMATS: Final = tuple(_FORMATS)
