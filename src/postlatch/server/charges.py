"""Which limits a message meets: by whom it is sent, and what it costs. Checked at MAIL and RCPT, charged at commit.

Who pays is the account or the right. Beside it count: the application password, the sender's domain and the whole relay (what
accounts and rights send, never strangers: they must not use up what users need), and the client's address and network, which
count for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from postlatch.limits.charge import DOMAINS, NOTHING, Charge, Reached
from postlatch.limits.clients import client_prefix, client_prefixes
from postlatch.limits.limit import Limit
from postlatch.model.envelope import GrantReason, IPAddress
from postlatch.policy.facts import LimitReached
from postlatch.server.limit_rules import LimitRules, Table
from postlatch.server.services import Services

Payer = tuple[GrantReason, str]  # the reason, and the account or right

_PAY = frozenset({GrantReason.ACCOUNT, GrantReason.NETWORK})
_RELAY_KEY = "all"


class Costs(NamedTuple):
    """What a message, or a part of it, costs."""

    messages: int = 0
    recipients: int = 0
    new_recipients: int = 0
    octets: int = 0
    domains: frozenset[str] = NOTHING


@dataclass(frozen=True, slots=True)
class Sending:
    """Who sends, as far as limits ask. ``account_since``: when the account was made, None if that is not known."""

    address: IPAddress
    sender_domain: str = ""  # empty: bounces
    account: str | None = None
    credential: str | None = None
    account_since: float | None = None


def payer_charges(rules: LimitRules, payer: Payer, costs: Costs, sending: Sending, now: float) -> list[Charge]:
    """The charges of the account or right itself, and of the application password. Others pay by their address only."""
    reason, ref = payer
    if reason is GrantReason.NETWORK:
        return _charges("right", ref, rules.rights.get(ref, rules.right), costs)
    if reason is not GrantReason.ACCOUNT:
        return []
    found = _charges("account", ref, rules.account, costs)
    if rules.warm_up.seconds and sending.account_since is not None:
        for charge in found:
            charge.limits = rules.at_age(charge.limits, now - sending.account_since)
    # Names with = are no passwords but other ways to log in.
    if rules.credential and sending.credential is not None and not sending.credential.startswith("="):
        found += _charges("credential", f"{ref}/{sending.credential}", rules.credential, costs)
    return found


def shared_charges(rules: LimitRules, costs: Costs, sending: Sending, *, paid: Costs | None) -> list[Charge]:
    """The charges of what several share. ``paid`` is the part that an account or a right sends; None: nobody does."""
    found: list[Charge] = []
    if paid is not None and (rules.sender_domain or rules.relay):
        if sending.sender_domain:
            found += _charges("sender_domain", sending.sender_domain, rules.sender_domain, paid)
        found += _charges("relay", _RELAY_KEY, rules.relay, paid)
    if not rules.bounds_clients:
        return found
    if rules.client:
        found += _charges("client", client_prefix(sending.address), rules.client, costs)
    if rules.network:
        found += _charges("network", client_prefixes(sending.address)[1].key, rules.network, costs)
    return found


def _charges(scope: str, key: str, table: Table, costs: Costs) -> list[Charge]:
    # Written out, because each message runs through this four times for each table.
    found: list[Charge] = []
    messages, recipients, new_recipients, octets, domains = costs
    if messages and (limits := table.get("messages")):
        found.append(Charge(scope, key, "messages", limits, messages))
    if recipients and (limits := table.get("recipients")):
        found.append(Charge(scope, key, "recipients", limits, recipients))
    if new_recipients and (limits := table.get("new_recipients")):
        found.append(Charge(scope, key, "new_recipients", limits, new_recipients))
    if octets and (limits := table.get("bytes")):
        found.append(Charge(scope, key, "bytes", limits, octets))
    if domains and (limits := table.get(DOMAINS)):
        found.append(Charge(scope, key, DOMAINS, limits, len(domains), domains))
    return found


def pays(payer: Payer) -> bool:
    """True of accounts and network rights."""
    return payer[0] in _PAY


def command_charge(rules: LimitRules, prefix: str, cost: int) -> list[Charge]:
    """The charge of a client's prefix for ``cost`` commands; empty if there is no such limit."""
    limits: tuple[Limit, ...] = rules.client.get("commands", ())
    return [Charge("client", prefix, "commands", limits, cost)] if limits else []


def reached(found: Reached | None) -> LimitReached | None:
    """The limiter's answer as a fact for the policy."""
    return None if found is None else LimitReached(found.name, found.retry_at, found.day_spent, found.hold, found.unknown)


def count(services: Services, charges: list[Charge], now: float) -> None:
    """Charge them, and tell of what is nearly spent."""
    warned = services.limiter.charge(charges, now)
    if warned and services.limit_news is not None:
        services.limit_news.warned(warned, now)


def check(services: Services, charges: list[Charge]) -> LimitReached | None:
    """Would these charges fit now? Charges nothing."""
    return reached(services.limiter.check(charges, services.clock.now())) if charges else None
