"""From endings to the reports that their sender gets."""

from __future__ import annotations

from collections.abc import Sequence

from postlatch.delivery.config import DeliveryConfig
from postlatch.delivery.contract import Attempt, AttemptStatus
from postlatch.delivery.dsn import Report, Reported, compose
from postlatch.delivery.dsn_text import Action
from postlatch.delivery.notice import Notice, is_verified_stranger
from postlatch.delivery.outcomes import Ending, fail, to_report
from postlatch.delivery.replies import enhanced_of
from postlatch.model.envelope import REQUIRED
from postlatch.spool.contract import Claim, StoredMessage


def notices(
    config: DeliveryConfig, message: StoredMessage, endings: Sequence[Ending], header: bytes, now: float, *, final: bool
) -> list[Notice]:
    """At most one report for each kind of news, however many recipients it is about.

    ``header``: of the original. ``final``: a success means that it is in the mailbox (Maildir, LMTP), not just passed on.
    """
    failures, delays, successes = to_report(message, endings)
    success = Action.DELIVERED if final else Action.RELAYED
    news = ((Action.FAILED, failures), (Action.DELAYED, delays), (success, successes))
    return [_notice(config, message, action, about, header, now) for action, about in news if about]


def operator_notices(config: DeliveryConfig, claim: Claim, reply: str, header: bytes, now: float) -> list[Notice]:
    """The report of recipients that an operator gives up on. ``reply``: the reason, like ``554 5.0.0 given up by …``.

    Empty where the sender may not be told; the spool's ``bounce`` gives the claims.
    """
    endings = [
        fail(
            claim.message, recipient, Attempt(recipient.number, AttemptStatus.PERMANENT, reply, enhanced_of(reply, "5.0.0"), "")
        )
        for recipient in claim.recipients
    ]
    return notices(config, claim.message, endings, header, now, final=False)


def _notice(
    config: DeliveryConfig, message: StoredMessage, action: Action, about: Sequence[Ending], header: bytes, now: float
) -> Notice:
    first = about[0].recipient
    assert message.sender is not None  # `may_tell` has said so
    report = Report(
        hostname=config.hostname,
        sender=message.sender,
        message=message,
        action=action,
        recipients=tuple(_reported(ending) for ending in about),
        header=header,
        now=now,
        retry_until=message.received_at + config.retry.max_age,
    )
    return Notice(
        kind="delay" if action is Action.DELAYED else "dsn",
        recipient=message.sender,
        message_id=message.message_id,
        account=message.account,
        grant_reason=first.grant_reason,
        grant_ref=first.grant_ref,
        numbers=tuple(ending.recipient.number for ending in about),
        content=compose(report),
        smtputf8=report.smtputf8,
        verified=is_verified_stranger(message, first),
        require_tls=message.params.require_tls if message.params.require_tls == REQUIRED else "",
    )


def _reported(ending: Ending) -> Reported:
    recipient, attempt = ending.recipient, ending.attempt
    return Reported(
        address=recipient.address,
        original=recipient.original,
        params=recipient.params,
        enhanced=attempt.enhanced,
        reply=attempt.reply,
        remote=attempt.remote,
        expired=ending.expired,
    )
