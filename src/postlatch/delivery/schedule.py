"""When to try again, when to say that a message is late, and when to give up. Pure. RFC 5321 section 4.5.4.1."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``delays``: seconds after the first, second … failed attempt, the last for all that follow.

    ``jitter`` is the part by which each delay varies either way, so that a hundred messages that failed together do not
    come back together. ``max_age`` and ``warn_after``: seconds since the message was accepted.
    """

    delays: tuple[float, ...] = (5 * MINUTE, 10 * MINUTE, 20 * MINUTE, 40 * MINUTE, HOUR, HOUR, 2 * HOUR, 4 * HOUR)
    jitter: float = 0.2
    max_age: float = 5 * DAY
    warn_after: float = 4 * HOUR

    def __post_init__(self) -> None:
        if not self.delays or min(self.delays) <= 0 or not 0 <= self.jitter < 1 or self.max_age <= 0:
            raise ValueError("delays and max_age must be above zero, and jitter at least 0 and below 1")


def next_attempt(policy: RetryPolicy, attempts: int, received_at: float, now: float, random: Random) -> float | None:
    """When to try again (seconds since 1970), or None: the message is too old and this failure is final.

    ``attempts`` counts those made so far, with the one that has just failed (1 or more). The last attempt falls on the end
    of the message's life, so that nobody waits five days and then misses the repaired server by an hour.
    """
    ends = received_at + policy.max_age
    if now >= ends:
        return None
    delay = policy.delays[min(max(attempts, 1), len(policy.delays)) - 1]
    return min(now + delay * random.uniform(1 - policy.jitter, 1 + policy.jitter), ends)


def warn_due(policy: RetryPolicy, received_at: float, now: float, *, warned: bool) -> bool:
    """True if the sender should now hear, once, that the message is late."""
    return not warned and now - received_at >= policy.warn_after
