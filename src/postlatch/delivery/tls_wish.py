"""What a message itself asks of TLS on its way (RFC 8689): which targets may carry it, and what becomes of it if none may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from postlatch.delivery.contract import Attempt, AttemptStatus, OutboundMessage, Target, TlsPolicy
from postlatch.delivery.routes import Hop, UseMx
from postlatch.model.envelope import NOT_REQUIRED, REQUIRED, SenderParams
from postlatch.smtp.client_commands import NO_REQUIRETLS

UNPROVED: Final = "550 5.7.10 the message requires TLS, and nothing proves which mail hosts the recipient's domain has"
UNSURE: Final = "451 4.7.10 the message requires TLS, and what proves the recipient's mail hosts cannot be had now"


def is_required(sender: object, params: SenderParams) -> bool:
    """True if the message must not travel without. A bounce goes on all the same (section 5)."""
    return params.require_tls == REQUIRED and sender is not None


def is_waived(params: SenderParams) -> bool:
    """True if its sender would rather have it delivered than protected: ``TLS-Required: No`` (section 4.1)."""
    return params.require_tls == NOT_REQUIRED


def strict(target: Target) -> Target:
    """The host with the proof that the message asks for, though nobody else does: its name is proved, so it can be verified."""
    demand = target.demand
    if demand is None or not demand.mx_proved or demand.tlsa:
        return target
    return replace(target, tls=TlsPolicy.VERIFY, demand=demand._replace(tested=False))


def may_carry(hop: Hop, target: Target) -> bool:
    """Section 4.2.1: the server's certificate is verified, and the name of the server was not for an attacker to choose."""
    if target.lmtp:
        return True  # final delivery
    if target.tls is not TlsPolicy.VERIFY:
        return False
    return not isinstance(hop, UseMx) or (target.demand is not None and target.demand.mx_proved)


def is_unsure(target: Target) -> bool:
    """True if there may be a policy that could not be had."""
    return target.demand is not None and target.demand.unsure


def nobody(message: OutboundMessage, targets: Sequence[Target]) -> list[Attempt]:
    """No target may carry it: for good, unless a policy could not be had."""
    unsure = any(map(is_unsure, targets))
    status = AttemptStatus.TEMPORARY if unsure else AttemptStatus.PERMANENT
    reply, enhanced = (UNSURE, "4.7.10") if unsure else (UNPROVED, "5.7.10")
    return [Attempt(recipient.number, status, reply, enhanced, "") for recipient in message.recipients]


def not_offered(attempts: Sequence[Attempt]) -> bool:
    """True if this host was left because it does not pass the demand on: another one may."""
    return bool(attempts) and all(attempt.reply == NO_REQUIRETLS.text for attempt in attempts)
