"""Waits for messages in the target's own mailbox, where its owner lets us read it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Final

from postlatch.audit.canary.values import CanaryError
from postlatch.audit.probes.asking import left
from postlatch.audit.probes.inquiry import Inquiry

_POLL: Final = 0.05


async def arrived(inquiry: Inquiry, tokens: Collection[str], seconds: float) -> set[str] | None:
    """Which of these are there, as soon as all are, at the latest after ``seconds``. None: the mailbox cannot be read."""
    if inquiry.mailbox_reader is None:
        return None
    seen: set[str] = set()
    ends = inquiry.clock.monotonic() + min(seconds, left(inquiry))
    for _ in range(int(seconds / _POLL) + 1):  # a clock of a test may stand still
        try:
            arrivals = await inquiry.mailbox_reader.arrivals()
        except CanaryError:
            return None
        seen = {arrival.token for arrival in arrivals if not arrival.bounce} & set(tokens)
        if len(seen) == len(set(tokens)) or inquiry.clock.monotonic() >= ends:
            break
        await asyncio.sleep(_POLL)
    return seen
