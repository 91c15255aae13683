"""Addresses lent to accounts until a date: add, list, revoke. Each change is proved before it is stored."""

from __future__ import annotations

from datetime import date
from typing import Any

from postlatch.accounts.names import parse_login, parse_send_as
from postlatch.app.answer import UNUSABLE, Answer, CommandError, good
from postlatch.app.commands.policy import narrow, used_at
from postlatch.app.compose import end_of
from postlatch.app.operator import operator
from postlatch.app.policy import PolicyRefused
from postlatch.app.world import World
from postlatch.model.address import parse_address
from postlatch.model.envelope import Destination
from postlatch.model.events import Event
from postlatch.policy.replies import rfc3339
from postlatch.policy.sending import Delegation
from postlatch.settings.values import parse_owner
from postlatch.store import delegations as table


async def add(world: World, arguments: dict[str, Any]) -> Answer:
    """Lend an address; in force at once."""
    one = _checked(world, arguments)
    kept = [other for other in world.policy.delegations if (other.login, other.address) != (one.login, one.address)]
    lent = [*kept, one]
    candidate = world.policy.candidate(delegations=lent)
    judgement = await world.policy.judged(candidate)
    if not judgement.closed:
        raise PolicyRefused(judgement)
    facts: dict[str, Any] = {"account": one.login, "address": one.address, "owner": one.owner, "operator": operator()}
    event = Event("delegation.added", world.now(), {**facts, "until": rfc3339(one.expires)})
    await world.submit([table.add(one, now=world.now(), by=operator())], event)
    world.policy.delegations = lent
    world.policy.install(candidate, judgement=judgement)
    return good("account.delegate", **_row(world, one))


async def listing(world: World, _arguments: dict[str, Any]) -> Answer:
    """All of them, also lapsed ones."""
    return good("delegations", delegations=[_row(world, one) for one in world.policy.delegations])


async def revoke(world: World, arguments: dict[str, Any]) -> Answer:
    """End a delegation now, also for sessions that are open. It must work whatever else is wrong."""
    login, address = parse_login(arguments["login"]), parse_send_as(arguments["address"])
    facts: dict[str, Any] = {"account": login, "address": address, "operator": operator()}
    [done] = await world.submit([table.revoke(login, address)], Event("delegation.revoked", world.now(), facts))
    if not done:
        return Answer(UNUSABLE, {}, f"{address} is not delegated to {login}; see postlatch account delegate list")
    world.policy.delegations = [one for one in world.policy.delegations if (one.login, one.address) != (login, address)]
    await narrow(world)
    return good("account.delegate", login=login, address=address, revoked=True)


def _checked(world: World, arguments: dict[str, Any]) -> Delegation:
    login, address = parse_login(arguments["login"]), parse_send_as(arguments["address"])
    if world.policy.snapshot.accounts.get(login) is None:
        raise CommandError(f"there is no account {login}")
    if "@" not in address[1:]:
        raise CommandError(f"{address!a} is not one address: a delegation is for one mailbox of ours")
    if world.policy.classify(parse_address(address, smtputf8=True).domain) is not Destination.LOCAL:
        raise CommandError(f"{address} is not in a domain of ours")
    owner, day = _vouched(arguments)
    one = Delegation(login, address, owner, end_of(day))
    if one.expires <= world.now():
        raise CommandError(f"expires: {day} is over; name a day to come")
    if any(other == one for other in world.policy.delegations):
        raise CommandError(f"{login} may send as {address} already, until then")
    return one


def _vouched(arguments: dict[str, Any]) -> tuple[str, date]:
    try:
        owner = parse_owner(arguments.get("owner", ""))
    except ValueError as error:
        raise CommandError(f"owner: {error}") from None
    try:
        return owner, date.fromisoformat(str(arguments.get("expires", "")))
    except ValueError:
        raise CommandError("expires: a delegation needs its last day, like --expires 2027-01-31") from None


def _row(world: World, one: Delegation) -> dict[str, Any]:
    used = used_at(world).get(("delegation", one.name))
    return {
        "login": one.login,
        "address": one.address,
        "owner": one.owner,
        "expires": rfc3339(one.expires),
        "last_used": None if used is None else rfc3339(used),
        "state": "active" if world.now() < one.expires else "expired",
    }
