"""Accounts: add, list, passwd, suspend, restore, delete."""

from __future__ import annotations

from typing import Any

from postlatch.accounts import changes
from postlatch.accounts.names import parse_login
from postlatch.accounts.records import AccountRecord
from postlatch.app.answer import Answer, CommandError, good
from postlatch.app.operator import operator
from postlatch.app.world import World
from postlatch.model.events import Event
from postlatch.policy.replies import rfc3339


async def _commit(world: World, operation: Any, event: str, login: str, **fields: str) -> Answer:
    facts = {"account": login, "operator": operator(), **fields}
    [change] = await world.submit([operation], Event(event, world.now(), facts))
    world.book.apply(change)
    await world.policy.accounts_changed()
    if change.record is None:
        world.known.forget(login)
        return good("account", login=login, deleted=True)
    return good("account", **_row(change.record))


def _row(record: AccountRecord) -> dict[str, Any]:
    return {
        "login": record.login,
        "state": "suspended" if record.suspended else "active",
        "why": record.suspended_reason,
        "send_as": sorted(record.send_as),
        "created": rfc3339(record.created_at),
        "changed": rfc3339(record.changed_at),
    }


def _password(arguments: dict[str, Any]) -> str:
    password = arguments.get("password")
    if not password:
        raise CommandError("a password is needed: type it when asked, or give it with --password-stdin")
    return str(password)


async def add(world: World, arguments: dict[str, Any]) -> Answer:
    """A new account."""
    login = parse_login(arguments["login"])
    credentials = await world.authenticator.credentials(_password(arguments))
    operation = changes.add(login, arguments.get("send_as") or (), credentials, world.now())
    return await _commit(world, operation, "account.added", login)


async def listing(world: World, _arguments: dict[str, Any]) -> Answer:
    """All accounts."""
    records = (world.book.get(login) for login in sorted(world.book.policy_accounts()))
    return good("accounts", accounts=[_row(record) for record in records if record is not None])


async def passwd(world: World, arguments: dict[str, Any]) -> Answer:
    """A new password; sessions that logged in with the old one end at their next MAIL."""
    login = parse_login(arguments["login"])
    credentials = await world.authenticator.credentials(_password(arguments))
    return await _commit(world, changes.set_password(login, credentials, world.now()), "account.changed", login)


async def suspend(world: World, arguments: dict[str, Any]) -> Answer:
    """Stop an account from sending; what it has in the queue is held at its next attempt."""
    login = parse_login(arguments["login"])
    reason = str(arguments.get("why") or "suspended by command")
    return await _commit(world, changes.suspend(login, reason, world.now()), "account.suspended", login, why=reason)


async def restore(world: World, arguments: dict[str, Any]) -> Answer:
    """Let it send again, with a new password if one is given."""
    login = parse_login(arguments["login"])
    password = arguments.get("password")
    credentials = await world.authenticator.credentials(password) if password else None
    return await _commit(world, changes.restore(login, world.now(), credentials), "account.restored", login)


async def delete(world: World, arguments: dict[str, Any]) -> Answer:
    """Remove an account; its queued mail is held at its next attempt."""
    login = parse_login(arguments["login"])
    return await _commit(world, changes.delete(login), "account.deleted", login)
