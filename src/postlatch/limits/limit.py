"""What a limit is: so many in a second, minute, hour or day, what happens there, and from where on people are told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

SECONDS: Final[Mapping[str, int]] = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
UNITS: Final[Mapping[int, str]] = {seconds: unit for unit, seconds in SECONDS.items()}
HOUR: Final = SECONDS["hour"]
DAY: Final = SECONDS["day"]
MAX_AMOUNT: Final = 1_000_000_000
MAX_OCTETS: Final = 1 << 50
UNLIMITED: Final = 1 << 52  # the amount of a limit that only warns: more than any count comes to

_SIZES: Final[Mapping[str, int]] = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_FORM: Final = re.compile(r"([0-9]{1,20})(?: ?(KiB|MiB|GiB|TiB))?/([a-z]{1,10})", re.ASCII)


class Limit(NamedTuple):
    """At most ``amount`` in ``seconds``. ``text`` is its name for people: ``30/minute``.

    ``warn``: tell somebody when so many are counted; 0 is never. ``hold``: what goes beyond it may be accepted and held, up to
    as much again. ``defer``: where the count is not known, wait rather than trust what memory says.
    """

    amount: int
    seconds: int
    text: str
    warn: int = 0
    hold: bool = False
    defer: bool = False

    @property
    def hard(self) -> bool:
        """False if it only warns."""
        return self.amount != UNLIMITED


def parse_limit(text: str) -> Limit:
    """``30/minute`` or ``500 MiB/day`` as a Limit; ValueError, saying what would be right, if it is not one.

    Which kinds may have a size is for the settings to say.
    """
    match = _FORM.fullmatch(text)
    seconds = SECONDS.get(match.group(3)) if match else None
    if match is None or seconds is None:
        raise ValueError(f"{text!r} is not a limit: write a number and a unit, like 30/minute (second, minute, hour or day)")
    amount, size = int(match.group(1)), match.group(2)
    if amount < 1:
        raise ValueError(f"{text!r} lets nothing pass: the number starts at 1 (suspend or remove what may not send at all)")
    if amount * _SIZES.get(size or "", 1) > (MAX_OCTETS if size else MAX_AMOUNT):
        raise ValueError(f"{text!r} is more than {MAX_AMOUNT}: leave the limit out instead")
    return Limit(amount * _SIZES.get(size or "", 1), seconds, f"{amount}{' ' + size if size else ''}/{match.group(3)}")


def with_warnings(
    hard: Sequence[Limit], soft: Sequence[Limit], percent: int, *, hold: bool = False, defer: bool = False
) -> tuple[Limit, ...]:
    """One limit for each unit, out of those that refuse and those that warn.

    Where no warning is named for an hour's or a day's limit, it comes at ``percent`` of the amount (0: never). Seconds and
    minutes never warn: a burst is nothing that a person could look after.
    """
    named = {limit.seconds: limit.amount for limit in soft}
    limits = []
    for limit in hard:
        share = -(-limit.amount * percent // 100) if limit.seconds >= HOUR else 0
        limits.append(limit._replace(warn=named.pop(limit.seconds, share), hold=hold and limit.seconds >= HOUR, defer=defer))
    limits += [Limit(UNLIMITED, seconds, "", warn=amount) for seconds, amount in named.items()]
    return tuple(limits)


def scaled(limits: Sequence[Limit], percent: int) -> tuple[Limit, ...]:
    """A share of each hour's and day's limit, rounded up; what is shorter bounds bursts and stays as it is."""
    return tuple(_scaled(limit, percent) for limit in limits)


def _scaled(limit: Limit, percent: int) -> Limit:
    if limit.seconds < HOUR:
        return limit
    warn = -(-limit.warn * percent // 100)
    if not limit.hard:
        return limit._replace(warn=warn)
    amount = -(-limit.amount * percent // 100)
    return limit._replace(amount=amount, warn=warn, text=f"{amount}/{UNITS[limit.seconds]}")
