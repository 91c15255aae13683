"""Everyone who can relay: why, how much, who answers for it, and until when (``postlatch rights``, DESIGN section 9)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from postlatch.model.envelope import GrantReason, Role
from postlatch.policy.networks import normalise
from postlatch.policy.replies import rfc3339
from postlatch.policy.rules_party import SUBMISSION_ROLES
from postlatch.policy.snapshot import Account, AppPassword, RelayDomain, Right, Snapshot

Row: TypeAlias = dict[str, object]
Limits: TypeAlias = Mapping[str, tuple[str, ...]]

_NONE: Mapping[tuple[str, str], float] = {}
_NO_LIMITS: Limits = {}


def list_rights(
    snapshot: Snapshot,
    now: float,
    *,
    last_used: Mapping[tuple[str, str], float] = _NONE,
    account_limits: Limits = _NO_LIMITS,
    right_limits: Limits = _NO_LIMITS,
) -> list[Row]:
    """One row for each right, account and relay domain, also those that have lapsed: ``state`` says so.

    ``last_used`` by (grant reason, name), in seconds since 1970 UTC. The limits are the defaults, by kind; a right's own
    replace them. Dates are RFC 3339; ``expires`` is the first second that is too late. An empty list means "any".
    """
    rows = [
        *(_right(right, now, right_limits) for right in snapshot.rights),
        *_accounts(snapshot, now, account_limits),
        *_relay_domains(snapshot, now),
    ]
    for row in rows:
        used = last_used.get((str(row["reason"]), str(row["name"])))
        row["last_used"] = None if used is None else rfc3339(used)
    return rows


def _right(right: Right, now: float, limits: Limits) -> Row:
    networks = [str(normalise(network)) for network in right.networks]
    return _row(
        name=right.name,
        reason=GrantReason.NETWORK,
        who=", ".join(networks) or "nobody",
        listeners=sorted(right.listeners),
        networks=networks,
        senders=list(right.senders),
        recipients=list(right.recipients),
        limits=right.limits or limits,
        owner=right.owner,
        expires=right.expires,
        source=right.source,
        state="suspended" if right.suspended else _state(right.expires, now),
        fix=sorted(right.fix),
        rewrite_from=right.rewrite_from or None,
    )


def _accounts(snapshot: Snapshot, now: float, limits: Limits) -> Iterator[Row]:
    listeners = sorted(name for name, listener in snapshot.listeners.items() if listener.role in SUBMISSION_ROLES)
    for account in snapshot.accounts.values():
        yield _account(account, listeners, limits, main=snapshot.main_password)
        for one in account.app_passwords.values():
            yield _app_password(account, one, listeners, limits, now)


def _account(account: Account, listeners: list[str], limits: Limits, *, main: bool) -> Row:
    return _row(
        name=account.login,
        reason=GrantReason.ACCOUNT,
        who=account.login,
        listeners=listeners,
        networks=[],
        senders=sorted(account.send_as),
        recipients=[],
        limits=limits,
        owner=account.login,
        expires=None,
        source=account.source,
        state="suspended" if account.suspended else "active" if main else "by application password only",
    )


def _app_password(account: Account, one: AppPassword, listeners: list[str], limits: Limits, now: float) -> Row:
    """What the account may do by it; it pays from the account's limits."""
    ended = one.expires is not None and now >= one.expires
    return _row(
        name=f"{account.login}/{one.name}",
        reason=GrantReason.ACCOUNT,
        who=f"{account.login} by the application password {one.name}",
        listeners=listeners,
        networks=[str(normalise(network)) for network in one.networks],
        senders=sorted(one.senders or account.send_as),
        recipients=[],
        limits=limits,
        owner=account.login,
        expires=one.expires,
        source=account.source,
        state="suspended" if account.suspended else "expired" if ended else "active",
    )


def _relay_domains(snapshot: Snapshot, now: float) -> Iterator[Row]:
    listeners = sorted(name for name, listener in snapshot.listeners.items() if listener.role is Role.MX)
    for domain in snapshot.relay_domains.values():
        yield _row(
            name=domain.name,
            reason=GrantReason.RELAY_DOMAIN,
            who=f"everyone, to {domain.name}",
            listeners=listeners,
            networks=[],
            senders=[],
            recipients=_recipients(domain),
            limits=_NO_LIMITS,
            owner=domain.owner,
            expires=domain.expires,
            source="configuration",
            state=_state(domain.expires, now),
        )


def _recipients(domain: RelayDomain) -> list[str]:
    listed = sorted(domain.recipients) if domain.recipients is not None else [""]
    return [f"{name}@{domain.name}" for name in listed]


def _state(expires: float, now: float) -> str:
    return "active" if now < expires else "expired"


def _row(*, limits: Limits, expires: float | None, **fields: object) -> Row:
    """One shape for all, so what only some have is empty in the others."""
    until = None if expires is None else rfc3339(expires)
    return {
        "fix": [],
        "rewrite_from": None,
        **fields,
        "limits": {kind: list(texts) for kind, texts in limits.items()},
        "expires": until,
    }
