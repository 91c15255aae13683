"""What a next hop's replies say about how hard it is pressed. Pure.

There is no standard for it. RFC 3463 gives 4.7.0 to 4.7.1 to policy and 4.3.2, 4.4.5 to load; the large providers put their
limits under 421 and 4.7.x and say in words what they mean. Greylisting uses the same codes and means nothing of the kind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from postlatch.delivery.contract import Attempt, AttemptStatus
from postlatch.delivery.pace import Said

_GREYLIST: Final = re.compile(r"gr[ea]y[ -]?list", re.IGNORECASE)
_CROWDED: Final = re.compile(
    r"too many (?:concurrent |simultaneous |open )?(?:connections|sessions)|concurren|simultaneous", re.IGNORECASE
)
_TOO_FAST: Final = re.compile(
    r"rate[ -]?limit|too (?:fast|quickly)|throttl|slow(?:ing)? down|too many (?:messages|e-?mails|mails|recipients per)",
    re.IGNORECASE,
)
_BUSY: Final = frozenset({"4.3.2", "4.4.5"})


def said(attempts: Sequence[Attempt]) -> Said | None:
    """The gravest of what the next hop says in these replies; None if they say nothing about its strength."""
    if len(attempts) == 1 and attempts[0].status is not AttemptStatus.TEMPORARY:
        return Said.GOOD
    found: Said | None = None
    for attempt in attempts:
        if attempt.status is not AttemptStatus.TEMPORARY:
            found = found or Said.GOOD
            continue
        complaint = complaint_of(attempt.reply, attempt.enhanced)
        if complaint is Said.TOO_FAST:
            return complaint
        found = complaint or found
    return found


def complaint_of(reply: str, enhanced: str) -> Said | None:
    """What a 4xx complains of, if it is about our load. ``reply`` with its code, as in `Attempt`."""
    if reply[:1] != "4" or _GREYLIST.search(reply):
        return None
    if _CROWDED.search(reply):
        return Said.CROWDED
    if _TOO_FAST.search(reply):
        return Said.TOO_FAST
    if reply.startswith("421") or enhanced in _BUSY:
        return Said.CROWDED
    return Said.TOO_FAST if enhanced.startswith("4.7.") and reply.startswith(("450", "451")) else None
