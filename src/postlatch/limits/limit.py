"""What a limit is: so many in a second, minute, hour or day."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

SECONDS: Final[Mapping[str, int]] = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}
DAY: Final = SECONDS["day"]
MAX_AMOUNT: Final = 1_000_000_000

_FORM: Final = re.compile(r"([0-9]{1,20})/([a-z]{1,10})", re.ASCII)


class Limit(NamedTuple):
    """At most ``amount`` in ``seconds``. ``text`` is its name for people: ``30/minute``."""

    amount: int
    seconds: int
    text: str


def parse_limit(text: str) -> Limit:
    """``30/minute`` as a Limit; ValueError, saying what would be right, if it is not ``N/second|minute|hour|day``."""
    match = _FORM.fullmatch(text)
    seconds = SECONDS.get(match.group(2)) if match else None
    if match is None or seconds is None:
        raise ValueError(f"{text!r} is not a limit: write a number and a unit, like 30/minute (second, minute, hour or day)")
    amount = int(match.group(1))
    if amount < 1:
        raise ValueError(f"{text!r} lets nothing pass: the number starts at 1 (suspend or remove what may not send at all)")
    if amount > MAX_AMOUNT:
        raise ValueError(f"{text!r} is more than {MAX_AMOUNT}: leave the limit out instead")
    return Limit(amount, seconds, f"{amount}/{match.group(2)}")
