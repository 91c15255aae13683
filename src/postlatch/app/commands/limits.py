"""How full the limits are, and how to let somebody begin at nothing."""

from __future__ import annotations

from typing import Any

from postlatch.accounts.names import parse_login
from postlatch.app import compose
from postlatch.app.answer import Answer, CommandError, good
from postlatch.app.operator import operator
from postlatch.app.world import World
from postlatch.limits.charge import FORGETTABLE, Usage
from postlatch.limits.limit import DAY, UNITS, Limit
from postlatch.model.events import Event
from postlatch.policy.replies import rfc3339
from postlatch.server.limit_rules import LimitRules
from postlatch.store import counters


async def listing(world: World, arguments: dict[str, Any]) -> Answer:
    """Every limit of which something is counted, the fullest first."""
    now, rules = world.now(), _rules(world)
    login = parse_login(arguments["account"]) if arguments.get("account") else None
    scope, key = arguments.get("scope"), arguments.get("key")

    def limits_of(of: str, name: str, kind: str) -> tuple[Limit, ...]:
        if login is not None and not _belongs(of, name, login):
            return ()
        # Of clients there may be a hundred thousand: only when asked for.
        if (scope or (None if login or key or of not in FORGETTABLE else "")) not in {None, of} or key not in {None, name}:
            return ()
        return _limits(world, rules, of, name, kind, now)

    found = sorted(world.limiter.usage(now, limits_of), key=_fullness, reverse=True)
    wanted = int(arguments.get("limit", 100))
    return good("limits", limits=[_row(one) for one in found[:wanted]], count=len(found))


async def reset(world: World, arguments: dict[str, Any]) -> Answer:
    """Forget what is counted of one key: it begins at nothing."""
    scope = str(arguments["scope"])
    key = parse_login(arguments["key"]) if scope == "account" else str(arguments["key"])
    gone = world.limiter.reset(scope, key)
    if not gone:
        raise CommandError(f"nothing is counted of {scope} {key!a}; see postlatch limits list --scope {scope}")
    event = Event("limit.reset", world.now(), {"scope": scope, "key": key, "operator": operator()})
    await world.submit([counters.delete(gone)], event)
    return good("limits", scope=scope, key=key, forgotten=len(gone))


def _belongs(scope: str, name: str, login: str) -> bool:
    return (scope == "account" and name == login) or (scope == "credential" and name.startswith(f"{login}/"))


def _rules(world: World) -> LimitRules:
    return compose.limit_rules(world.settings, world.policy.snapshot.rights)


def _limits(world: World, rules: LimitRules, scope: str, key: str, kind: str, now: float) -> tuple[Limit, ...]:
    limits = rules.of(scope, key, kind)
    record = world.book.get(key) if scope == "account" else None
    return limits if record is None else rules.at_age(limits, now - record.created_at)


def _fullness(one: Usage) -> float:
    return one.used / (one.limit.amount if one.limit.hard else max(one.limit.warn, 1))


def _row(one: Usage) -> dict[str, Any]:
    limit = one.limit
    warned = bool(limit.warn) and one.used >= limit.warn
    return {
        "scope": one.scope,
        "key": one.key,
        "kind": one.kind,
        "unit": UNITS[limit.seconds],
        "used": one.used,
        "limit": limit.amount if limit.hard else None,
        "warn": limit.warn or None,
        "state": "reached" if one.retry_at else "warned" if warned else "free",
        "retry_at": rfc3339(one.retry_at) if one.retry_at else None,
        "when_reached": ("hold" if limit.hold else "refuse" if limit.seconds == DAY else "defer") if limit.hard else None,
    }
