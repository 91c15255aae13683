"""When guessing counts as guessing. The defaults are those of the settings; a test compares them."""

from __future__ import annotations

from dataclasses import dataclass

from postlatch.limits.limit import Limit


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The ``[bans]`` table, as far as the folds need it. Times in seconds."""

    failures: tuple[Limit, ...] = (Limit(10, 60, "10/minute"), Limit(50, 86_400, "50/day"))
    accounts: tuple[Limit, ...] = (Limit(10, 3600, "10/hour"),)
    probes: tuple[Limit, ...] = (Limit(35, 86_400, "35/day"),)
    spray: int = 10
    first: float = 1800.0
    longest: float = 7 * 86_400.0
    decay: float = 7 * 86_400.0
    patience: int = 5
    slowest: float = 30.0
    known: float = 30 * 86_400.0
