"""Application passwords: add, list, revoke."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from postlatch.accounts import changes
from postlatch.accounts.app_passwords import parse_name, parse_networks, parse_scope
from postlatch.accounts.names import parse_login
from postlatch.accounts.records import AccountRecord
from postlatch.app.answer import Answer, CommandError, good
from postlatch.app.app_passwords import last_used
from postlatch.app.commands.policy import narrow
from postlatch.app.compose import end_of
from postlatch.app.operator import operator
from postlatch.app.policy import PolicyRefused
from postlatch.app.world import World
from postlatch.model.events import Event
from postlatch.policy.replies import rfc3339
from postlatch.policy.snapshot import Account, AppPassword


async def add(world: World, arguments: dict[str, Any]) -> Answer:
    """One more, proved before it counts. The answer alone holds the secret."""
    record = _record(world, arguments)
    name = parse_name(arguments["name"])
    scope = changes.Scope(
        tuple(arguments.get("senders") or ()), tuple(arguments.get("networks") or ()), _end(world, arguments.get("expires"))
    )
    candidate = world.policy.candidate(accounts={**world.book.policy_accounts(), record.login: _with(record, name, scope)})
    judgement = await world.policy.judged(candidate)
    if not judgement.may_start:
        raise PolicyRefused(judgement)
    secret = world.authenticator.new_secret(record.login)
    operation = changes.add_app_password(record.login, name, scope, secret, now=world.now(), by=operator())
    await _commit(world, operation, "app_password.added", record.login, name)
    world.policy.install(candidate, starting=True, judgement=judgement)
    row = _row(world, world.book.get(record.login), name)
    return good("account.app-password.add", login=record.login, password=secret.text, **row)


async def listing(world: World, arguments: dict[str, Any]) -> Answer:
    """Those of one account."""
    record = _record(world, arguments)
    rows = [_row(world, record, name) for name in sorted(record.app_passwords)]
    return good("account.app-password.list", login=record.login, app_passwords=rows)


async def revoke(world: World, arguments: dict[str, Any]) -> Answer:
    """End one: no login with it succeeds, and sessions that it began send nothing more."""
    record, name = _record(world, arguments), parse_name(arguments["name"])
    await _commit(world, changes.revoke_app_password(record.login, name), "app_password.revoked", record.login, name)
    world.authenticator.used.pop((record.login, name), None)
    await narrow(world)
    return good("account.app-password.revoke", login=record.login, name=name)


def _record(world: World, arguments: dict[str, Any]) -> AccountRecord:
    login = parse_login(arguments["login"])
    record = world.book.get(login)
    if record is None:
        raise CommandError(f"there is no account {login}")
    return record


def _end(world: World, text: str | None) -> float | None:
    """The first second after its last day."""
    if text is None:
        return None
    try:
        end = end_of(date.fromisoformat(text))
    except (ValueError, OverflowError):
        raise CommandError("expires: not a day; write it like 2027-06-30") from None
    if end <= world.now():
        raise CommandError(f"expires: {text} is over already")
    return end


def _with(record: AccountRecord, name: str, scope: changes.Scope) -> Account:
    senders = parse_scope(record.login, record.send_as, scope.senders)
    account = record.for_policy()
    one = AppPassword(name, senders, parse_networks(scope.networks), scope.expires)
    return replace(account, app_passwords={**account.app_passwords, name: one})


async def _commit(world: World, operation: Any, event: str, login: str, name: str) -> None:
    facts = {"account": login, "name": name, "operator": operator()}
    [change] = await world.submit([operation], Event(event, world.now(), {**facts}))
    world.book.apply(change)


def _row(world: World, record: AccountRecord | None, name: str) -> dict[str, Any]:
    assert record is not None
    one = record.app_passwords[name]
    expired = one.expires_at is not None and one.expires_at <= world.now()
    used = last_used(world, one)
    return {
        "name": name,
        "state": "suspended" if record.suspended else "expired" if expired else "active",
        "senders": sorted(one.senders),
        "networks": list(map(str, one.networks)),
        "expires": None if one.expires_at is None else rfc3339(one.expires_at),
        "created": rfc3339(one.created_at),
        "created_by": one.created_by,
        "last_used": None if used is None else rfc3339(used),
    }
