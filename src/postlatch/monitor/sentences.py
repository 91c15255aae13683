"""How long a ban lasts: doubled each time, up to a ceiling, and forgiven with time."""

from __future__ import annotations

from typing import Final, NamedTuple

from postlatch.monitor.thresholds import Thresholds

_MOST_DOUBLINGS: Final = 40  # beyond, any ceiling is met


class Sentence(NamedTuple):
    """A ban until ``until``, the ``strikes``th. Lapsed, it counts against a new one until ``forget_at``."""

    until: float
    strikes: int
    forget_at: float


def sentence(before: Sentence | None, now: float, rules: Thresholds) -> Sentence:
    """The next ban of a network whose last one was ``before``."""
    strikes = strikes_left(before, now, rules) if before is not None else 0
    length = min(rules.longest, rules.first * 2 ** min(strikes, _MOST_DOUBLINGS))
    until = now + length
    return Sentence(until, strikes + 1, until + rules.decay * (strikes + 1))


def strikes_left(before: Sentence, now: float, rules: Thresholds) -> int:
    """One strike is forgiven for each ``decay`` of peace since the last ban ended."""
    peace = max(0.0, now - before.until)
    return max(0, before.strikes - int(peace // rules.decay))
