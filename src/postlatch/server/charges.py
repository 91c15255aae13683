"""Which limits a message meets: by whom it is sent, and what it costs. Checked at MAIL and RCPT, charged at commit."""

from __future__ import annotations

from collections.abc import Iterable

from postlatch.limits.clients import client_prefix
from postlatch.limits.limit import Limit
from postlatch.limits.limiter import Charge, Reached
from postlatch.model.envelope import GrantReason, IPAddress
from postlatch.policy.facts import LimitReached
from postlatch.server.services import LimitRules, Services


def payer_charges(rules: LimitRules, reason: GrantReason | None, ref: str, costs: Iterable[tuple[str, int]]) -> list[Charge]:
    """Charges for the account or right ``ref``; ``costs`` are (kind, cost). Others pay by their client address only."""
    if reason is GrantReason.ACCOUNT:
        scope, table = "account", rules.account
    elif reason is GrantReason.NETWORK:
        scope, table = "right", rules.rights.get(ref, rules.right)
    else:
        return []
    return [Charge(scope, ref, kind, table[kind], cost) for kind, cost in costs if cost and table.get(kind)]


def client_charge(rules: LimitRules, address: IPAddress, kind: str, cost: int = 1) -> list[Charge]:
    """The charge of a client's address prefix for ``commands`` or ``auth_failures``."""
    limits: tuple[Limit, ...] = rules.client.get(kind, ())
    return [Charge("client", client_prefix(address), kind, limits, cost)] if limits else []


def reached(found: Reached | None) -> LimitReached | None:
    """The limiter's answer as a fact for the policy."""
    return None if found is None else LimitReached(found.name, found.retry_at, found.day_spent)


def check(services: Services, charges: list[Charge]) -> LimitReached | None:
    """Would these charges fit now? Charges nothing."""
    return reached(services.limiter.check(charges, services.clock.now())) if charges else None
