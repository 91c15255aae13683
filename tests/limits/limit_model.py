"""Limits as an encyclopaedia would write them down: every event is kept, and everything is added up anew each time.

It shares no code with the limiter. Rates of seconds and minutes are exact fractions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction


@dataclass
class ModelBucket:
    """One limit of one key. ``seconds`` of an hour and more is a sliding window."""

    amount: int
    seconds: int
    events: list[tuple[float, int]] = field(default_factory=list)
    last_used: dict[str, float] = field(default_factory=dict)
    empty_at: Fraction = Fraction(0)

    def fits(self, now: float, cost: int) -> bool:
        """Would ``cost`` more be within the amount?"""
        if self.seconds <= 60:
            if cost > self.amount:
                return False
            if self.empty_at <= Fraction(now):
                return True
            self.empty_at = min(self.empty_at, Fraction(now) + self.seconds)
            return self.empty_at + Fraction(cost * self.seconds, self.amount) - self.seconds <= Fraction(now)
        self.set_clock(now)
        return sum(c for _, c in self.events) + cost <= self.amount

    def add(self, now: float, cost: int) -> None:
        """It happened."""
        if self.seconds <= 60:
            full = Fraction(now) + self.seconds
            self.empty_at = min(max(self.empty_at, Fraction(now)) + Fraction(cost * self.seconds, self.amount), full)
            return
        self.set_clock(now)
        self.events.append((now, cost))

    def fits_different(self, now: float, items: frozenset[str]) -> bool:
        """Would there be at most ``amount`` different ones?"""
        self.set_clock(now)
        return len(self.last_used.keys() | items) <= self.amount

    def add_different(self, now: float, items: frozenset[str]) -> None:
        """They were used."""
        self.set_clock(now)
        self.last_used.update(dict.fromkeys(items, now))

    def idle(self, now: float) -> bool:
        """Is nothing counted any more?"""
        times = [*(t for t, _ in self.events), *self.last_used.values()]
        return self.empty_at <= Fraction(now) and not any(t + self.seconds > now for t in times)

    def set_clock(self, now: float) -> None:
        """What has left is gone. A clock that went back: what was counted in the future was counted now."""
        self.empty_at = min(self.empty_at, Fraction(now) + self.seconds)
        self.events = [(min(t, now), c) for t, c in self.events if t + self.seconds > now]
        self.last_used = {item: min(t, now) for item, t in self.last_used.items() if t + self.seconds > now}
