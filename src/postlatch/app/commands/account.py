"""Accounts: add, list, passwd, suspend, restore, delete."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from postlatch.accounts import changes
from postlatch.accounts.names import parse_login, parse_sending
from postlatch.accounts.records import AccountRecord
from postlatch.app.answer import Answer, CommandError, good
from postlatch.app.commands.policy import narrow
from postlatch.app.operator import operator
from postlatch.app.policy import PolicyRefused
from postlatch.app.world import World
from postlatch.model.events import Event
from postlatch.policy.replies import rfc3339
from postlatch.policy.snapshot import Account


async def _commit(world: World, operation: Any, event: str, login: str, **fields: str) -> Answer:
    """Store a change; the policy in force is as before."""
    facts = {"account": login, "operator": operator(), **fields}
    [change] = await world.submit([operation], Event(event, world.now(), facts))
    world.book.apply(change)
    if change.record is None:
        world.known.forget(login)
        return good("account", login=login, deleted=True)
    return good("account", **_row(change.record))


async def _widen(world: World, account: Account, operation: Any, event: str) -> Answer:
    """Prove first, then store: what is refused must not be there when the relay starts again."""
    candidate = world.policy.candidate(accounts={**world.book.policy_accounts(), account.login: account})
    judgement = await world.policy.judged(candidate)
    if not judgement.may_start:
        raise PolicyRefused(judgement)
    answer = await _commit(world, operation, event, account.login)
    world.policy.install(candidate, starting=True, judgement=judgement)
    return answer


async def _narrow(world: World, operation: Any, event: str, login: str, **fields: str) -> Answer:
    answer = await _commit(world, operation, event, login, **fields)
    await narrow(world)
    return answer


def _row(record: AccountRecord) -> dict[str, Any]:
    return {
        "login": record.login,
        "state": "suspended" if record.suspended else "active",
        "why": record.suspended_reason,
        "send_as": sorted(record.send_as),
        "created": rfc3339(record.created_at),
        "changed": rfc3339(record.changed_at),
        "source": record.source,
        "app_passwords": len(record.app_passwords),
    }


def _password(arguments: dict[str, Any]) -> str:
    password = arguments.get("password")
    if not password:
        raise CommandError("a password is needed: type it when asked, or give it with --password-stdin")
    return str(password)


async def add(world: World, arguments: dict[str, Any]) -> Answer:
    """A new account."""
    login = parse_login(arguments["login"])
    for name, directory in world.settings.directories.items():
        if login.rpartition("@")[2] in directory.domains:
            raise CommandError(f"{login} belongs to the directory {name}: its accounts come from there, at their first login")
    credentials = await world.authenticator.credentials(_password(arguments))
    entries = arguments.get("send_as") or ()
    own = {login} if "@" in login else set()
    account = Account(login, parse_sending(login, entries) | own)
    return await _widen(world, account, changes.add(login, entries, credentials, world.now()), "account.added")


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
    return await _narrow(world, changes.suspend(login, reason, world.now()), "account.suspended", login, why=reason)


async def restore(world: World, arguments: dict[str, Any]) -> Answer:
    """Let it send again, with a new password if one is given."""
    login = parse_login(arguments["login"])
    password = arguments.get("password")
    credentials = await world.authenticator.credentials(password) if password else None
    record = world.book.get(login)
    if record is None:
        raise CommandError(f"there is no account {login}")
    account = replace(record.for_policy(), suspended=False)
    return await _widen(world, account, changes.restore(login, world.now(), credentials), "account.restored")


async def delete(world: World, arguments: dict[str, Any]) -> Answer:
    """Remove an account; its queued mail is held at its next attempt."""
    login = parse_login(arguments["login"])
    world.policy.delegations = [one for one in world.policy.delegations if one.login != login]
    return await _narrow(world, changes.delete(login), "account.deleted", login)
