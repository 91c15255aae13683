"""Which limits a message meets: by whom it is sent, and what it costs. Checked at MAIL and RCPT, charged at commit."""

from __future__ import annotations

from postlatch.limits.limit import Limit
from postlatch.limits.limiter import Charge, Reached
from postlatch.model.envelope import GrantReason
from postlatch.policy.facts import LimitReached
from postlatch.server.services import LimitRules, Services


def payer_charges(
    rules: LimitRules, reason: GrantReason | None, ref: str, *, messages: int = 0, recipients: int = 0, new_recipients: int = 0
) -> list[Charge]:
    """Charges for the account or right ``ref``, of which only those with a limit. Others pay by their client address only."""
    if reason is GrantReason.ACCOUNT:
        scope, table = "account", rules.account
    elif reason is GrantReason.NETWORK:
        scope, table = "right", rules.rights.get(ref, rules.right)
    else:
        return []
    charges = []
    if messages and (limits := table.get("messages")):
        charges.append(Charge(scope, ref, "messages", limits, messages))
    if recipients and (limits := table.get("recipients")):
        charges.append(Charge(scope, ref, "recipients", limits, recipients))
    if new_recipients and (limits := table.get("new_recipients")):
        charges.append(Charge(scope, ref, "new_recipients", limits, new_recipients))
    return charges


def command_charge(rules: LimitRules, prefix: str, cost: int) -> list[Charge]:
    """The charge of a client's prefix for ``cost`` commands; empty if there is no such limit."""
    limits: tuple[Limit, ...] = rules.client.get("commands", ())
    return [Charge("client", prefix, "commands", limits, cost)] if limits else []


def reached(found: Reached | None) -> LimitReached | None:
    """The limiter's answer as a fact for the policy."""
    return None if found is None else LimitReached(found.name, found.retry_at, found.day_spent)


def check(services: Services, charges: list[Charge]) -> LimitReached | None:
    """Would these charges fit now? Charges nothing."""
    return reached(services.limiter.check(charges, services.clock.now())) if charges else None
