"""Argument types: checked here, so that a slip of the finger never reaches the relay. Exit status 2, as for every bad flag."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from postlatch.cli.catalogue import Argument, Kind

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}


if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # generic from click 8.5 on only


class Checked(ParamType):
    """A text that one function checks and brings into form; its ValueError is shown."""

    def __init__(self, name: str, check: Callable[[str], Any]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What the backend gets."""
        if not isinstance(value, str):
            return value
        try:
            return self._check(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def type_of(argument: Argument) -> ParamType:
    """The click type of an argument."""
    match argument.kind:
        case Kind.COUNT:
            return click.IntRange(min=1, max=10_000_000)
        case Kind.CHOICE:
            return click.Choice(argument.choices)
        case Kind.FLAG:
            return click.BOOL
        case kind:
            return Checked(argument.metavar or argument.name, _CHECKS[kind])


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character")
    return value


def _domain(value: str) -> str:
    from postlatch.model.address import parse_domain  # noqa: PLC0415 (idna takes 40 ms that --help must not pay)

    try:
        return parse_domain(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is no domain: {error}") from None


def _address(value: str) -> str:
    from ipaddress import ip_address  # noqa: PLC0415 (as above, 8 ms)

    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError(f"{value!r} is no IP address; write it like 198.51.100.7 or 2001:db8::7") from None


def _network(value: str) -> str:
    from ipaddress import ip_network  # noqa: PLC0415 (as above)

    try:
        loose = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is no network; write it like 10.0.3.0/28 or 2001:db8::/64") from None
    if "/" in value and ip_network(value.partition("/")[0]).network_address != loose.network_address:
        raise ValueError(f"{value!r} is an address inside a network; the network is {loose}")
    return str(loose)


def _date(value: str) -> str:
    from datetime import date  # noqa: PLC0415 (as above)

    try:
        return date.fromisoformat(value).isoformat()
    except ValueError:
        raise ValueError(f"{value!r} is no day that exists; write it like 2027-06-30") from None


def _time(value: str) -> float:
    from datetime import UTC, datetime  # noqa: PLC0415 (as above)

    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is no time; write it like 2026-11-24T08:30:00Z, or a day like 2026-11-24") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _duration(value: str) -> int:
    number = value.strip().rstrip("abcdefghijklmnopqrstuvwxyz").rstrip()
    unit = value.strip()[len(number) :].strip().removesuffix("s")
    if not (number.isascii() and number.isdigit() and 0 < int(number) < 10**9 and unit in _UNITS):
        raise ValueError(f"{value!r} is no length of time; write it like '2 hours' or '7 days'")
    return int(number) * _UNITS[unit]


def _path(value: str) -> str:
    from pathlib import Path  # noqa: PLC0415 (as above)

    # The relay that does the work may have another working directory.
    try:
        return str(Path(_text(value)).expanduser().absolute())
    except RuntimeError:  # ~ and the name of nobody here
        raise ValueError(f"{value!r} begins with ~ and no user of that name has a home; write the whole path") from None


_CHECKS: dict[Kind, Callable[[str], Any]] = {
    Kind.TEXT: _text,
    Kind.DOMAIN: _domain,
    Kind.ADDRESS: _address,
    Kind.NETWORK: _network,
    Kind.DATE: _date,
    Kind.TIME: _time,
    Kind.DURATION: _duration,
    Kind.PATH: _path,
}
