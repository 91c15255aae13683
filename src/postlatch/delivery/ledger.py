"""Settles attempts: judges each recipient, has the reports made, and hands all of it to the recorder as one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from postlatch.delivery.config import DeliveryConfig
from postlatch.delivery.contract import Attempt
from postlatch.delivery.headers import read_header
from postlatch.delivery.notice import Notice
from postlatch.delivery.outcomes import Ending, defer, hold, judge, to_report
from postlatch.delivery.ports import Alert, Notify, PreparedNotice, SpoolPort
from postlatch.delivery.recorder import Recorder, unreported
from postlatch.delivery.replies import held, no_word
from postlatch.delivery.reports import notices
from postlatch.delivery.schedule import warn_due
from postlatch.model.clock import Clock
from postlatch.model.events import JsonValue
from postlatch.model.ids import format_id
from postlatch.spool.contract import Claim, OutcomeKind

NOTICE_RETRY: Final = 300.0  # seconds until a failure is judged again whose report could not be made now


class Ledger:
    """Turns attempts into recorded outcomes."""

    def __init__(
        self, spool: SpoolPort, recorder: Recorder, notify: Notify, alert: Alert, clock: Clock, random: Random
    ) -> None:
        self._spool = spool
        self._recorder = recorder
        self._notify = notify
        self._alert = alert
        self._clock = clock
        self._random = random

    async def settle(
        self,
        config: DeliveryConfig,
        claim: Claim,
        attempts: Sequence[Attempt],
        header: bytes | None = None,
        *,
        final: bool = False,
    ) -> None:
        """Record one attempt for every recipient of ``claim``, in its order.

        ``header``: of the original, read from the spool if it is None and a report needs it. ``final``: see `reports`.
        """
        now = self._clock.now()
        endings = [
            judge(config.retry, claim.message, recipient, attempt, now, self._random)
            for recipient, attempt in zip(claim.recipients, attempts, strict=True)
        ]
        await self._finish(config, claim, endings, header, final=final)

    def postpone(self, claim: Claim, reply: str, seconds: float, *, doubtful: bool = False) -> None:
        """Try again in ``seconds``, whatever the message's age: nothing is known.

        ``doubtful``: the attempt was broken off when the next hop may have had the message already.
        """
        at = self._clock.now() + seconds
        attempts = [replace(no_word(recipient, reply), doubtful=doubtful) for recipient in claim.recipients]
        endings = [defer(claim.message, r, attempt, at) for r, attempt in zip(claim.recipients, attempts, strict=True)]
        self._recorder.record(claim, endings)

    async def put_back(self, config: DeliveryConfig, claim: Claim, reply: str, seconds: float) -> None:
        """Let ``claim`` wait for ``seconds``: nothing was attempted, and nothing is counted.

        Its age counts all the same: the sender hears when it is late, and when it is too old it ends like any other.
        """
        now, message = self._clock.now(), claim.message
        ends = message.received_at + config.retry.max_age
        if now >= ends:
            await self.settle(config, claim, [no_word(recipient, reply) for recipient in claim.recipients])
            return
        at = min(now + seconds, ends)
        endings = [
            defer(message, r, no_word(r, reply), at, warn_due(config.retry, message.received_at, now, warned=r.warned))
            for r in claim.recipients
        ]
        await self._finish(config, claim, endings, None, final=False, counted=False)

    def hold(self, claim: Claim, reasons: Sequence[str]) -> None:
        """Hold each recipient of ``claim`` for its reason, and tell the operator."""
        endings = [
            hold(recipient, no_word(recipient, held(why)), why)
            for recipient, why in zip(claim.recipients, reasons, strict=True)
        ]
        self._tell_operator(claim, endings)
        self._recorder.record(claim, endings)

    async def _finish(
        self,
        config: DeliveryConfig,
        claim: Claim,
        endings: list[Ending],
        header: bytes | None,
        *,
        final: bool,
        counted: bool = True,
    ) -> None:
        prepared: list[PreparedNotice] = []
        if any(to_report(claim.message, endings)):
            try:
                header = header if header is not None else await self._header(claim)
                news = notices(config, claim.message, endings, header, self._clock.now(), final=final)
                endings = await self._prepare(news, endings, prepared)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a report, what was delivered must be recorded
                endings = self._without_reports(config, claim, endings, prepared, type(error).__name__)
        self._tell_operator(claim, endings)
        self._recorder.record(claim, endings, prepared, counted=counted)

    async def _prepare(self, news: Sequence[Notice], endings: list[Ending], prepared: list[PreparedNotice]) -> list[Ending]:
        """Have the reports made and add them to ``prepared``. Whoever may not be told does not bounce."""
        for notice in news:
            ready = await self._notify(notice)
            if ready is not None:
                prepared.append(ready)
            else:
                endings = [unreported(e) if e.recipient.number in notice.numbers else e for e in endings]
        return endings

    def _without_reports(
        self,
        config: DeliveryConfig,
        claim: Claim,
        endings: Sequence[Ending],
        prepared: list[PreparedNotice],
        error: str,
    ) -> list[Ending]:
        """A report is part of a bounce: without it the recipient stays in the queue, and at the end of its life is held."""
        for notice in prepared:
            notice.dropped()
        prepared.clear()
        message = claim.message
        self._alert("a delivery report could not be made", {"message": format_id(message.message_id), "why": error})
        now = self._clock.now()
        if now >= message.received_at + config.retry.max_age:
            return [unreported(ending) for ending in endings]
        return [_reopened(claim, ending, now + NOTICE_RETRY) for ending in endings]

    async def _header(self, claim: Claim) -> bytes:
        try:
            return await read_header(await self._spool.body(claim))
        except Exception:  # noqa: BLE001 - a report without the headers is better than none
            return b""

    def _tell_operator(self, claim: Claim, endings: Sequence[Ending]) -> None:
        kept = [ending for ending in endings if ending.outcome.kind is OutcomeKind.HELD]
        if not kept or claim.message.kind == "alert":
            return  # an alert about an alert that failed would never end
        fields: dict[str, JsonValue] = {
            "message": format_id(claim.message.message_id),
            "sender": claim.message.sender.text if claim.message.sender is not None else "<>",
            "account": claim.message.account,
            "recipient": kept[0].recipient.address.text,
            "recipients": len(kept),
            "reply": kept[0].outcome.reply,
        }
        self._alert(f"a message is held: {kept[0].why}", fields)


def _reopened(claim: Claim, ending: Ending, at: float) -> Ending:
    """The same ending without its report: a bounce is judged again later, and a delay notice stays due."""
    if ending.outcome.kind is OutcomeKind.BOUNCED:
        return defer(claim.message, ending.recipient, ending.attempt, at)
    return replace(ending, outcome=replace(ending.outcome, warned=ending.recipient.warned))
