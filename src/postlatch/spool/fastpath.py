"""Fresh mail on its way from the commit to the delivery, in memory and in bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Final

from postlatch.spool.contract import Claim
from postlatch.spool.priority import Shares

RECIPIENT_WEIGHT: Final = 512  # octets of memory that a recipient counts for, beside its message's body
WAITING_MESSAGES: Final = 10_000  # beyond either bound, memory is worth more than a SELECT
WAITING_OCTETS: Final = 64 * 1024 * 1024


class FastPath:
    """Claims by way of memory. A claim is reserved before its commit, then settled (durable) or released (not).

    Each class of priority waits in a line of its own (`spool.priority`).
    """

    def __init__(self, messages: int = WAITING_MESSAGES, octets: int = WAITING_OCTETS) -> None:
        self._most_messages = messages
        self._most_octets = octets
        self._reserved: dict[int, Claim] = {}
        self._waiting: tuple[deque[Claim], ...] = (deque(), deque(), deque())
        self._count = 0  # of all that wait
        self._shares = Shares()
        self._octets = 0

    def __len__(self) -> int:
        """How many claims are waiting to be taken."""
        return self._count

    def reserve(self, claim: Claim) -> bool:
        """Make room for a claim; False if there is none: the database must bring the message up."""
        octets = _octets(claim)
        if len(self._reserved) + self._count >= self._most_messages or self._octets + octets > self._most_octets:
            return False
        self._octets += octets
        self._reserved[claim.message.message_id] = claim
        return True

    def settle(self, message_id: int) -> None:
        """The message is durable; nothing happens if it has no reservation."""
        claim = self._reserved.pop(message_id, None)
        if claim is not None:
            self._waiting[claim.message.priority].append(claim)
            self._count += 1

    def release(self, message_id: int) -> None:
        """The message is not durable; nothing happens if it has no reservation."""
        claim = self._reserved.pop(message_id, None)
        if claim is not None:
            self._octets -= _octets(claim)

    def take(self, limit: int) -> list[Claim]:
        """Up to ``limit`` claims: each class its share, the oldest of it first."""
        if self._count <= limit:
            counts = [len(line) for line in self._waiting]
        else:
            counts = self._shares.split(limit, [len(line) for line in self._waiting])
        claims = [line.popleft() for line, count in zip(self._waiting, counts, strict=True) for _ in range(count)]
        self._count -= len(claims)
        self._octets -= sum(map(_octets, claims))
        return claims

    def held(self) -> Iterator[Claim]:
        """Every claim that is reserved or waiting."""
        return chain(self._reserved.values(), *self._waiting)


def _octets(claim: Claim) -> int:
    return RECIPIENT_WEIGHT * len(claim.recipients) + (0 if claim.body is None else len(claim.body))
