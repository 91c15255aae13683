"""A claim is sorted by next hop before it waits, and again before it is attempted: rights end while mail is waiting."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from postlatch.delivery.config import DeliveryConfig
from postlatch.delivery.pauses import Pause, Pauses
from postlatch.delivery.routes import Classify, Hold, Hop, Recheck, choose, name_of
from postlatch.spool.contract import Claim, QueuedRecipient

MAX_RECIPIENTS: Final = 100  # of one transaction: what every server must take (RFC 5321 section 4.5.3.1.8)


class Sorted(NamedTuple):
    """``going``: parts of a claim, each for one hop. ``held``: the part that must not go, and the reason for each.

    ``paused``: the parts whose destination an operator has paused.
    """

    going: list[tuple[Hop, Claim]]
    held: Claim | None = None
    reasons: tuple[str, ...] = ()
    paused: tuple[tuple[Pause, Claim], ...] = ()


def sort(config: DeliveryConfig, classify: Classify, recheck: Recheck, pauses: Pauses, claim: Claim) -> Sorted:
    """Where each recipient of ``claim`` goes now."""
    if len(claim.recipients) == 1:
        recipient = claim.recipients[0]
        where = choose(config, classify, recheck, claim.message, recipient)
        if isinstance(where, Hold):
            return Sorted([], claim, (where.reason,))
        pause = pauses.of(recipient.address.domain, name_of(where)) if pauses.any else None
        return Sorted([(where, claim)]) if pause is None else Sorted([], paused=((pause, claim),))
    groups: dict[Hop, list[QueuedRecipient]] = {}
    paused: dict[Pause, list[QueuedRecipient]] = {}
    held: list[QueuedRecipient] = []
    reasons: list[str] = []
    for recipient in claim.recipients:
        where = choose(config, classify, recheck, claim.message, recipient)
        if isinstance(where, Hold):
            held.append(recipient)
            reasons.append(where.reason)
        elif pauses.any and (pause := pauses.of(recipient.address.domain, name_of(where))) is not None:
            paused.setdefault(pause, []).append(recipient)
        else:
            groups.setdefault(where, []).append(recipient)
    going = [
        (hop, _part(claim, group[start : start + MAX_RECIPIENTS]))
        for hop, group in groups.items()
        for start in range(0, len(group), MAX_RECIPIENTS)
    ]
    waiting = tuple((pause, _part(claim, group)) for pause, group in paused.items())
    return Sorted(going, _part(claim, held) if held else None, tuple(reasons), waiting)


def _part(claim: Claim, recipients: list[QueuedRecipient]) -> Claim:
    return claim if len(recipients) == len(claim.recipients) else replace(claim, recipients=tuple(recipients))
