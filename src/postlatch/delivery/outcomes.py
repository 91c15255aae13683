"""From the next hop's word to a recipient's state. Pure. A stranger's mail never just disappears: it is held (DESIGN 1.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from postlatch.delivery.contract import Attempt, AttemptStatus
from postlatch.delivery.notice import (
    is_verified_stranger,
    may_tell,
    may_tell_failure,
    sender_is_known,
    wants_delay,
    wants_failure,
    wants_success,
)
from postlatch.delivery.schedule import RetryPolicy, next_attempt, warn_due
from postlatch.model.events import Event, JsonValue
from postlatch.model.ids import format_id
from postlatch.spool.contract import Outcome, OutcomeKind, QueuedRecipient, StoredMessage

_EVENTS: Final = {
    OutcomeKind.DELIVERED: "delivery.delivered",
    OutcomeKind.DEFERRED: "delivery.deferred",
    OutcomeKind.BOUNCED: "delivery.bounced",
    OutcomeKind.HELD: "delivery.held",
}


@dataclass(init=False, slots=True, unsafe_hash=True)
class Ending:
    """One recipient's attempt and what it comes to. ``expired``: it failed for now, but once too often.

    ``why`` is for the operator of what is held.
    """

    recipient: QueuedRecipient
    attempt: Attempt
    outcome: Outcome
    expired: bool
    why: str

    def __init__(
        self, recipient: QueuedRecipient, attempt: Attempt, outcome: Outcome, expired: bool = False, why: str = ""
    ) -> None:
        self.recipient = recipient
        self.attempt = attempt
        self.outcome = outcome
        self.expired = expired
        self.why = why


def judge(
    retry: RetryPolicy, message: StoredMessage, recipient: QueuedRecipient, attempt: Attempt, now: float, random: Random
) -> Ending:
    """What becomes of ``recipient``. Final failures bounce only where the sender is known, and are held elsewhere."""
    if attempt.status is AttemptStatus.DELIVERED:
        return Ending(recipient, attempt, Outcome(recipient.number, OutcomeKind.DELIVERED, attempt.reply, attempt.remote))
    if attempt.status is AttemptStatus.TEMPORARY:
        at = next_attempt(retry, recipient.attempts + 1, message.received_at, now, random)
        if at is not None:
            return defer(message, recipient, attempt, at, warn_due(retry, message.received_at, now, warned=recipient.warned))
    return fail(message, recipient, attempt, expired=attempt.status is AttemptStatus.TEMPORARY)


def fail(message: StoredMessage, recipient: QueuedRecipient, attempt: Attempt, *, expired: bool = False) -> Ending:
    """It has failed for good: bounced if the sender is known, else held. ``expired``: after the last try."""
    if sender_is_known(message, recipient) or is_verified_stranger(message, recipient):
        outcome = Outcome(recipient.number, OutcomeKind.BOUNCED, attempt.reply, attempt.remote, warned=recipient.warned)
        return Ending(recipient, attempt, outcome, expired)
    return hold(recipient, attempt, "it failed for good, and there is no sender whom a report could safely go to", expired)


def defer(message: StoredMessage, recipient: QueuedRecipient, attempt: Attempt, at: float, warn: bool = False) -> Ending:
    """Try again at ``at``. ``warn``: a delay notice is due, if this sender wants one."""
    warned = recipient.warned or (warn and may_tell(message, recipient) and wants_delay(recipient.params))
    kind = OutcomeKind.DEFERRED
    return Ending(recipient, attempt, Outcome(recipient.number, kind, attempt.reply, attempt.remote, at, warned))


def hold(recipient: QueuedRecipient, attempt: Attempt, why: str, expired: bool = False) -> Ending:
    """Keep it for an operator."""
    outcome = Outcome(recipient.number, OutcomeKind.HELD, attempt.reply, attempt.remote, warned=recipient.warned)
    return Ending(recipient, attempt, outcome, expired, why)


def to_report(message: StoredMessage, endings: Sequence[Ending]) -> tuple[list[Ending], list[Ending], list[Ending]]:
    """The failures, the delays and the successes that the sender must hear of, in this order."""
    failures, delays, successes = [], [], []
    for ending in endings:
        kind, recipient = ending.outcome.kind, ending.recipient
        if kind is OutcomeKind.BOUNCED and wants_failure(recipient.params) and may_tell_failure(message, recipient):
            failures.append(ending)
        if not may_tell(message, recipient):
            continue
        if kind is OutcomeKind.DEFERRED and ending.outcome.warned and not recipient.warned:
            delays.append(ending)
        elif kind is OutcomeKind.DELIVERED and wants_success(recipient.params) and not ending.attempt.dsn_passed:
            # A next hop that took NOTIFY over reports by itself (RFC 3461 section 5.2.1).
            successes.append(ending)
    return failures, delays, successes


def event(message: StoredMessage, ending: Ending, now: float) -> Event:
    """The journal's record of one ending."""
    recipient, outcome = ending.recipient, ending.outcome
    fields: dict[str, JsonValue] = {
        "message": format_id(message.message_id),
        "recipient": recipient.address.text,
        "sender": message.sender.text if message.sender is not None else "<>",
        "account": message.account,
        "reply": outcome.reply,
        "remote": outcome.remote,
        "attempts": recipient.attempts + 1,
        "seconds": round(max(now - message.received_at, 0.0), 3),
    }
    if ending.why:
        fields["why"] = ending.why
    if ending.attempt.signed:
        fields["signed"] = list(ending.attempt.signed)
    if recipient.possible_duplicate:
        fields["possible_duplicate"] = True
    return Event(_EVENTS[outcome.kind], now, fields)
