"""One attempt: the recipients of one message at one next hop. Says what the hop said, or why it could not be reached."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from postlatch.delivery.config import DeliveryConfig, Route, RouteKind
from postlatch.delivery.contract import (
    Attempt,
    AttemptStatus,
    Body,
    ConnectFailed,
    OutboundMessage,
    OutboundRecipient,
    Target,
    TlsPolicy,
)
from postlatch.delivery.dsn_fields import ascii_utf8
from postlatch.delivery.headers import MAX_OWN_HOPS, own_hops, read_header, was_delivered_to
from postlatch.delivery.maildir_store import MaildirStore
from postlatch.delivery.mx import RoutingFailed
from postlatch.delivery.ports import PoolPort, SpoolPort
from postlatch.delivery.replies import enhanced_of
from postlatch.delivery.routes import Hop, UseMx
from postlatch.delivery.signing import Signed, Signing
from postlatch.delivery.targets import AllParked, Targets
from postlatch.delivery.tls_wish import is_required, is_waived, may_carry, nobody, not_offered, strict
from postlatch.model.address import Address
from postlatch.model.envelope import SenderParams
from postlatch.smtp import xtext
from postlatch.spool.contract import Claim, QueuedRecipient, StoredMessage

LOOP_REPLY: Final = "554 5.4.6 this message has been in this mailbox before"
HOPS_REPLY: Final = "554 5.4.6 this message has passed this host too often"
_DNS_SILENT: Final = frozenset({"4.4.3", "4.4.4"})  # of `mx` and `targets`
SILENT_REPLY: Final = "451 4.5.0 the next hop gave no answer for this recipient"
_TLS_REPORT: Final = "tls_report"
_REPORTS: Final = frozenset({_TLS_REPORT, "dmarc_report"})  # the kinds of our reports to others


@dataclass(init=False, slots=True, unsafe_hash=True)
class Carried:
    """One attempt for each recipient, in order. ``header``: of the message, where it was looked at.

    ``fault`` is the reply of a hop that could not be reached, else empty. ``silent``: nothing came back from there at all.
    ``parked_until``: nothing was tried, because all its hosts are parked until then (monotonic).
    """

    attempts: list[Attempt]
    header: bytes | None
    fault: str
    silent: bool
    parked_until: float

    def __init__(
        self,
        attempts: list[Attempt],
        header: bytes | None = None,
        fault: str = "",
        silent: bool = False,
        parked_until: float = 0.0,
    ) -> None:
        self.attempts = attempts
        self.header = header
        self.fault = fault
        self.silent = silent
        self.parked_until = parked_until


class Carrier:
    """Carries claims to next hops."""

    def __init__(
        self, spool: SpoolPort, pool: PoolPort, targets: Targets, maildir: MaildirStore, signing: Signing | None = None
    ) -> None:
        self._spool = spool
        self._pool = pool
        self._targets = targets
        self._maildir = maildir
        self._signing = signing

    async def carry(self, config: DeliveryConfig, hop: Hop, claim: Claim) -> Carried:
        """Attempt all recipients of ``claim`` at ``hop``. SpoolError if the body is damaged, KeysLost if it must wait."""
        body = await self._spool.body(claim)
        header = await read_header(body) if is_mailbox(hop) or any(map(_by_alias, claim.recipients)) else None
        looped = loops(config.hostname, hop, claim.recipients, header) if header is not None else {}
        going = [r for r in claim.recipients if r.number not in looped] if looped else claim.recipients
        if not going:
            return Carried(_complete(claim.recipients, looped.values()), header)
        leaving = Signed(body) if self._signing is None else await self._signing.sign(claim, body)
        try:
            attempts = await self._hand_over(config, hop, claim.message, going, leaving.body)
        except (ConnectFailed, RoutingFailed, AllParked) as failure:
            return _unreached(claim.recipients, going, looped, failure)
        if leaving.selectors:
            attempts = [replace(attempt, signed=leaving.selectors) for attempt in attempts]
        return Carried(_complete(claim.recipients, [*attempts, *looped.values()]), header)

    async def _hand_over(
        self, config: DeliveryConfig, hop: Hop, message: StoredMessage, recipients: Sequence[QueuedRecipient], body: Body
    ) -> list[Attempt]:
        if isinstance(hop, Route) and hop.kind is RouteKind.MAILDIR:
            return await self._maildir.deliver(hop.path, message, recipients, body)
        outbound = OutboundMessage(
            sender=message.sender,
            params=message.params,
            recipients=tuple(_outbound(recipient) for recipient in recipients),
            body=body,
            eight_bit=message.eight_bit,
            utf8_headers=message.utf8_headers,
            mx_domain=told_of(hop, message.kind),
        )
        if is_required(message.sender, message.params):
            return await self._send_protected(config, hop, outbound)
        return await self._send(config, hop, outbound, eased=isinstance(hop, UseMx) and message.kind == _TLS_REPORT)

    async def _send(self, config: DeliveryConfig, hop: Hop, message: OutboundMessage, *, eased: bool) -> list[Attempt]:
        """Try the targets in turn until one of them takes part in a transaction.

        ``eased``: without TLS if need be. What tells of failing TLS must not be held up by it (RFC 8460 section 3). With
        ``TLS-Required: No`` only what DANE and MTA-STS ask for is left out: what the configuration demands is ours.
        """
        targets = await self._targets.of(config, hop, eased=eased or is_waived(message.params))
        return await self._try([_eased(target) if eased else target for target in targets], hop, message)

    async def _send_protected(self, config: DeliveryConfig, hop: Hop, message: OutboundMessage) -> list[Attempt]:
        """Only to hosts that are proved to be the right ones and that pass the demand on (RFC 8689 section 4.2.1)."""
        targets = await self._targets.of(config, hop)
        fit = [target for target in map(strict, targets) if may_carry(hop, target)]
        if not fit:
            return nobody(message, targets)
        if fit[0].lmtp:
            message = _unparameterised(message)
        return await self._try(fit, hop, message)

    async def _try(self, targets: Sequence[Target], hop: Hop, message: OutboundMessage) -> list[Attempt]:
        failure: ConnectFailed | None = None
        left: list[Attempt] = []
        for target in targets:
            try:
                attempts = await self._pool.deliver(target, message)
            except ConnectFailed as error:
                failure = error
                self._targets.failed(hop, target, error.reply)
                continue
            self._targets.worked(target)
            if not not_offered(attempts):
                return attempts
            left = attempts
        if failure is None:
            return left
        raise failure  # a host that could not be asked may be the one that offers it


def told_of(hop: Hop, kind: str) -> str:
    """The domain that may be told how TLS fared with this mail, empty if none is: not a route's, nor for our own reports.

    Two relays that do nothing else would go on for ever, reporting on their reports to each other.
    """
    return hop.domain if isinstance(hop, UseMx) and kind not in _REPORTS else ""


def _eased(target: Target) -> Target:
    return replace(target, tls=TlsPolicy.OPPORTUNISTIC, demand=None)


def _unparameterised(message: OutboundMessage) -> OutboundMessage:
    """Final delivery: LMTP servers know nothing of REQUIRETLS."""
    given = message.params
    params = SenderParams(given.size, given.body, given.smtputf8, given.ret, given.envid)
    return replace(message, params=params)


def is_mailbox(hop: Hop) -> bool:
    """True if a success there means that the message is in its mailbox."""
    return isinstance(hop, Route) and hop.kind is not RouteKind.SMTP


def loops(hostname: str, hop: Hop, recipients: Sequence[QueuedRecipient], header: bytes) -> dict[int, Attempt]:
    """The recipients, by number, for whom delivery would go round in a circle, with the refusal of each."""
    found = {}
    for recipient in recipients:
        reply = ""
        if is_mailbox(hop) and was_delivered_to(header, recipient.address):
            reply = LOOP_REPLY
        elif _by_alias(recipient) and own_hops(header, hostname) > MAX_OWN_HOPS:
            reply = HOPS_REPLY
        if reply:
            found[recipient.number] = Attempt(recipient.number, AttemptStatus.PERMANENT, reply, "5.4.6", "")
    return found


def _unreached(
    recipients: Sequence[QueuedRecipient],
    going: Sequence[QueuedRecipient],
    looped: dict[int, Attempt],
    failure: ConnectFailed | RoutingFailed | AllParked,
) -> Carried:
    reply = str(failure.reply)
    permanent = isinstance(failure, RoutingFailed) and failure.reply.permanent
    status = AttemptStatus.PERMANENT if permanent else AttemptStatus.TEMPORARY
    enhanced = enhanced_of(reply, "4.4.1")
    attempts = [Attempt(recipient.number, status, reply, enhanced, "") for recipient in going]
    silent = failure.silent if isinstance(failure, ConnectFailed) else enhanced in _DNS_SILENT
    until = failure.until if isinstance(failure, AllParked) else 0.0
    return Carried(_complete(recipients, [*attempts, *looped.values()]), None, "" if permanent else reply, silent, until)


def _complete(recipients: Sequence[QueuedRecipient], attempts: Iterable[Attempt]) -> list[Attempt]:
    """One attempt a recipient, in their order. What nobody answered for was not delivered."""
    said = {attempt.number: attempt for attempt in attempts}
    return [said.get(r.number) or Attempt(r.number, AttemptStatus.TEMPORARY, SILENT_REPLY, "4.5.0", "") for r in recipients]


def _by_alias(recipient: QueuedRecipient) -> bool:
    return recipient.original is not None and recipient.original.key != recipient.address.key


def _outbound(recipient: QueuedRecipient) -> OutboundRecipient:
    params = recipient.params
    if not params.orcpt and recipient.original is not None and _by_alias(recipient):
        # RFC 3461 section 5.2.7.1: whoever expands an alias says whom the sender meant.
        params = replace(params, orcpt=orcpt(recipient.original))
    return OutboundRecipient(recipient.number, recipient.address, params)


def orcpt(address: Address) -> str:
    """The ORCPT value of an address."""
    return f"utf-8;{ascii_utf8(address.text)}" if address.needs_smtputf8 else f"rfc822;{xtext.encode(address.text)}"
