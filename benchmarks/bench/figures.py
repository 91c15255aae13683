"""What a measurement finds: rows of figures by server, and the aim of each row."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

OURS = "postlatch"
THEIRS = "postfix"


class Aim(NamedTuple):
    """``ratio``: of our median to Postfix's; else our median alone. ``least``: no less than ``bound``, else no more."""

    bound: float
    ratio: bool = True
    least: bool = True

    @classmethod
    def parse(cls, text: str | None) -> Aim | None:
        """The aim that ``str`` wrote; None of None."""
        if text is None:
            return None
        sign, bound, *times = text.split()
        return cls(float(bound), ratio=bool(times), least=sign == "≥")

    def __str__(self) -> str:
        sign = "≥" if self.least else "≤"
        return f"{sign} {self.bound:g}" + (" times" if self.ratio else "")


@dataclass(slots=True)
class Row:
    """One thing that was measured, the same way for each server, in turns. ``values`` are the rounds that count."""

    key: str
    title: str
    unit: str
    aim: Aim | None = None
    values: dict[str, list[float]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)  # why a server has no figures
    notes: list[str] = field(default_factory=list)

    def add(self, server: str, value: float) -> None:
        """One more round."""
        self.values.setdefault(server, []).append(value)

    def median(self, server: str) -> float | None:
        """None without figures."""
        found = self.values.get(server)
        return statistics.median(found) if found else None

    def ratio(self, server: str = OURS) -> float | None:
        """A server's median as a multiple of Postfix's."""
        theirs, mine = self.median(THEIRS), self.median(server)
        return mine / theirs if mine is not None and theirs else None

    def reached(self) -> bool | None:
        """Is the aim reached? None without an aim."""
        if self.aim is None:
            return None
        found = self.ratio() if self.aim.ratio else self.median(OURS)
        if found is None:
            return False
        return found >= self.aim.bound if self.aim.least else found <= self.aim.bound


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure. ``say`` shows progress. Of each server one more round, the first, is a warm-up."""

    rounds: int = 5
    quick: bool = False
    sessions: int = 50
    size: int = 4096
    messages: int = 0  # in the place of each measurement's own number
    peers: bool = True  # beside Postfix also those that install_peers.sh installs
    say: Callable[[str], None] = lambda _: None

    def count(self, usual: int) -> int:
        """How many of something a round has: ``usual``, fewer in a quick run, or what was asked for."""
        return self.messages or (max(usual // 4, 20) if self.quick else usual)

    def take_turns(self, turns: Mapping[str, Callable[[], Mapping[str, float]]], rows: Mapping[str, Row]) -> None:
        """Let each server have its turn in each round, and put the figures, by the rows' keys, into ``rows``.

        The order changes from round to round: what one leaves behind for the next (caches, a disk that is busy) evens out.
        """
        for number in range(self.rounds + 1):
            order = list(turns.items())
            for server, turn in order if number % 2 else reversed(order):
                found = turn()
                self.say(f"{server} {'warm-up' if number == 0 else number}: " + _words(found))
                if number:
                    for key, value in found.items():
                        rows[key].add(server, value)


def _words(found: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:,.1f}" for key, value in found.items())
