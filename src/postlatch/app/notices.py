"""Mail of our own: reports to senders and alerts to operators. Minted here as NOTIFICATION and queued like any other mail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any

from postlatch.delivery.notice import Notice
from postlatch.delivery.ports import PreparedNotice, Submit
from postlatch.limits.limit import Limit
from postlatch.limits.limiter import Charge, Limiter
from postlatch.model.address import Address
from postlatch.model.clock import Clock
from postlatch.model.envelope import Envelope, EnvelopeRecipient, GrantReason, SenderParams
from postlatch.model.events import Event, JsonValue
from postlatch.model.ids import format_id
from postlatch.policy.aliases import expand
from postlatch.policy.grant import (
    GrantError,
    Notification,
    notify_alert,
    notify_delay,
    notify_dmarc_report,
    notify_dsn,
    notify_tls_report,
)
from postlatch.policy.snapshot import Snapshot
from postlatch.spool.spool import Draft, Spool, SpoolError

# A cap per recipient and day (DESIGN section 1): a loop that every other guard missed ends here.
_CAPS: Mapping[str, tuple[Limit, ...]] = {
    "dsn": (Limit(500, 86_400, "500/day"),),
    "delay": (Limit(200, 86_400, "200/day"),),
    "alert": (Limit(100, 86_400, "100/day"),),
    "dmarc_report": (Limit(1000, 86_400, "1000/day"),),  # many domains have their reports read by the same few services
    "tls_report": (Limit(200, 86_400, "200/day"),),  # less: nobody elsewhere is asked whether they want them
}
_NOTHING: Mapping[str, JsonValue] = {}
_QUIET = 3600.0  # seconds for which the same alert is not mailed again; it is journalled each time


class Notices:
    """Queues notifications. ``snapshot`` gives the policy in force; ``wake`` tells delivery that there is new mail."""

    def __init__(
        self,
        *,
        clock: Clock,
        spool: Spool,
        limiter: Limiter,
        snapshot: Callable[[], Snapshot],
        submit: Submit,
        record: Callable[[Event], None],
        wake: Callable[[], None],
        alert_recipients: Callable[[], Collection[Address]],
    ) -> None:
        self._clock = clock
        self._spool = spool
        self._limiter = limiter
        self._snapshot = snapshot
        self._submit = submit
        self._record = record
        self._wake = wake
        self._alert_recipients = alert_recipients
        self._mailed: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def prepare(self, notice: Notice) -> PreparedNotice | None:
        """A report on a delivery, ready to be committed with its outcome; None if it may not be sent."""
        transaction, snapshot = object(), self._snapshot()
        try:
            if notice.kind == "dsn":
                notification = notify_dsn(
                    snapshot, transaction, notice.grant_reason, notice.recipient, verified=notice.verified
                )
            else:
                notification = notify_delay(snapshot, transaction, notice.grant_reason, notice.recipient)
        except GrantError:
            return None
        return await self._queue(
            notification, transaction, notice.content, smtputf8=notice.smtputf8, require_tls=notice.require_tls
        )

    async def dmarc_report(
        self,
        recipient: Address,
        domain: str,
        asked: Collection[Address],
        permitted: Collection[str],
        content: Callable[[Notification, float], bytes],
    ) -> PreparedNotice | None:
        """An aggregate report, ready to be committed; None if it may not go there or the cap of the day is reached."""
        transaction = object()
        try:
            notification = notify_dmarc_report(self._snapshot(), transaction, recipient, domain, asked, permitted)
        except GrantError:
            return None
        return await self._queue(notification, transaction, content(notification, self._clock.now()), smtputf8=False)

    async def tls_report(
        self, recipient: Address, domain: str, asked: Collection[Address], content: Callable[[Notification, float], bytes]
    ) -> PreparedNotice | None:
        """A TLS report, ready to be committed; None if it may not go there or the cap of the day is reached."""
        transaction = object()
        try:
            notification = notify_tls_report(self._snapshot(), transaction, recipient, domain, asked)
        except GrantError:
            return None
        return await self._queue(notification, transaction, content(notification, self._clock.now()), smtputf8=False)

    def alert(self, sentence: str, fields: Mapping[str, JsonValue] = _NOTHING) -> None:
        """Tell the operators: into the journal now, and by mail unless the same sentence was mailed within the hour."""
        now = self._clock.now()
        self._record(Event("alert.raised", now, {"alert": sentence, **fields}))
        if now - self._mailed.get(sentence, -_QUIET) < _QUIET:
            return
        if len(self._mailed) > 1000:
            self._mailed.clear()
        self._mailed[sentence] = now
        for recipient in self._alert_recipients():
            task = asyncio.get_running_loop().create_task(self._mail_alert(recipient, sentence, fields))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _mail_alert(self, recipient: Address, sentence: str, fields: Mapping[str, JsonValue]) -> None:
        transaction = object()
        notification = notify_alert(self._snapshot(), transaction, recipient, self._alert_recipients())
        content = self._alert_text(notification, sentence, fields)
        prepared = await self._queue(notification, transaction, content, smtputf8=False)
        if prepared is None:
            return
        try:
            results = await self._submit(prepared.operations, prepared.events)
        except Exception as error:  # noqa: BLE001  (an alert about a failing store must not fail the relay)
            self._record(Event("alert.raised", self._clock.now(), {"alert": "an alert could not be queued", "why": str(error)}))
            return
        prepared.committed(results)

    def _alert_text(self, notification: Notification, sentence: str, fields: Mapping[str, JsonValue]) -> bytes:
        message = EmailMessage(policy=SMTP)
        hostname = self._snapshot().hostname
        now = self._clock.now()
        message["From"] = f"Postlatch <{notification.sender}>"
        message["To"] = str(notification.recipient)
        message["Subject"] = f"[{hostname}] " + "".join(c if c.isprintable() and c.isascii() else "?" for c in sentence)[:120]
        message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
        message["Message-ID"] = f"<alert-{format_id(int(now * 1000) << 10)}@{hostname}>"
        message["Auto-Submitted"] = "auto-generated"
        lines = [sentence, "", *(f"{key}: {value!a}" for key, value in fields.items())]
        message.set_content("\n".join(lines) + f"\n\nMore: postlatch journal search, on {hostname}.\n")
        return message.as_bytes()

    async def _queue(
        self, notification: Notification, transaction: object, content: bytes, *, smtputf8: bool, require_tls: str = ""
    ) -> PreparedNotice | None:
        now = self._clock.now()
        kind = notification.kind.value
        charge = [Charge("notification", notification.recipient.key, kind, _CAPS[kind])]
        if self._limiter.spend(charge, now) is not None:
            self._record(
                Event("limit.reached", now, {"recipient": notification.recipient.text, "limit": f"{kind} notifications"})
            )
            return None
        draft = self._spool.open(now)
        draft.write(content)
        draft.utf8_headers = smtputf8
        if draft.in_file:
            await draft.prepare()
        rows = self._rows(notification)
        envelope = Envelope(
            sender=notification.sender,
            recipients=tuple(rows),
            received_at=now,
            params=SenderParams(smtputf8=smtputf8, require_tls=require_tls),
        )
        grants = [notification.grant] * len(rows)
        named = [notification.recipient] * len(rows)
        try:
            operation = draft.commit(envelope, grants, transaction, named, kind=kind)
        except SpoolError:
            draft.abort()
            return None
        return PreparedNotice(
            [operation], [self._event(notification, draft, now)], lambda _: self._committed(draft), draft.abort
        )

    def _rows(self, notification: Notification) -> list[EnvelopeRecipient]:
        snapshot, recipient = self._snapshot(), notification.recipient
        targets = expand(snapshot, recipient)
        destination = snapshot.classify(recipient.domain)
        return [
            EnvelopeRecipient(
                address=target,
                destination=destination,
                grant_reason=GrantReason.NOTIFICATION,
                grant_ref=notification.kind.value,
            )
            for target in targets
        ]

    def _event(self, notification: Notification, draft: Draft, now: float) -> Event:
        fields: dict[str, Any] = {
            "message": format_id(draft.message_id),
            "kind": notification.kind.value,
            "sender": str(notification.sender or "<>"),
            "recipient": notification.recipient.text,
        }
        return Event("message.generated", now, fields)

    def _committed(self, draft: Draft) -> None:
        self._spool.committed(draft)
        self._wake()
