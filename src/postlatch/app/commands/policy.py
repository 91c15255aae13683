"""The policy's own words: rights, decide, and what a judgement looks like as JSON (check runs it too)."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from postlatch.accounts.names import parse_login
from postlatch.app import app_passwords
from postlatch.app.answer import BAD_NEWS, GOOD, UNDECIDED, Answer, CommandError, good
from postlatch.app.policy import Judgement
from postlatch.app.world import World
from postlatch.model.address import AddressError, parse_address
from postlatch.model.envelope import Client, Destination, Role
from postlatch.policy import dryrun
from postlatch.policy.decide import needs_callout
from postlatch.policy.reminders import is_unused, permissions
from postlatch.policy.rights import list_rights
from postlatch.settings.problem import Problem

_REASONS = {"NETWORK": "right", "RELAY_DOMAIN": "relay domain", "ACCOUNT": "account"}


def used_at(world: World) -> dict[tuple[str, str], float]:
    """When each right, relay domain, account and delegation was last used, by kind and name."""
    found = {**world.right_usage, **(world.relay.used_rights if world.relay is not None else {})}
    split = {name: name.partition(":") for name in found}
    return {(kind, rest) if colon else ("right", name): found[name] for name, (kind, colon, rest) in split.items()}


def right_rows(world: World) -> list[dict[str, Any]]:
    """The rows of ``rights``."""
    limits = world.settings.limits
    at = used_at(world)
    used = {(reason, name): when for reason, kind in _REASONS.items() for (of, name), when in at.items() if of == kind}
    for name, when in app_passwords.used_at(world).items():
        used["ACCOUNT", name] = max(when, used.get(("ACCOUNT", name), 0.0))
    rows = list_rights(
        world.policy.snapshot,
        world.now(),
        last_used=used,
        account_limits=limits.account.texts(),
        right_limits=limits.right.texts(),
    )
    unused = _unused(world, at)
    return [{**row, "unused": (_REASONS[str(row["reason"])], row["name"]) in unused} for row in rows]


def _unused(world: World, used: dict[tuple[str, str], float]) -> set[tuple[str, str]]:
    """What is in force and was not used for 90 days."""
    now, known = world.now(), world.right_life
    held = permissions(world.policy.snapshot, used)
    return {one.key for one in held if one.key in known and is_unused(one, known[one.key].first_seen, now)}


async def rights(world: World, _arguments: dict[str, Any]) -> Answer:
    """Everyone who can relay, why, how much, who vouches for it, and until when."""
    return good("rights", rights=right_rows(world))


async def decide(world: World, arguments: dict[str, Any]) -> Answer:
    """Dry run of the policy for one envelope."""
    envelope = dryrun.Envelope(
        listener=arguments["listener"],
        client=_client(arguments["client"]),
        mail_from=arguments["mail_from"],
        rcpt=arguments["rcpt"],
        account=parse_login(arguments["account"]) if arguments.get("account") else None,
        helo=arguments.get("helo") or "",
        header_from=arguments.get("header_from"),
        spf=await _spf(world, arguments),
        known=await _known(world, arguments["rcpt"]),
        smtputf8=True,
    )
    found = dryrun.explain(world.policy.snapshot, arguments.get("at", world.now()), envelope)
    status = {"accept": GOOD, "refuse": BAD_NEWS}.get(str(found["verdict"]), UNDECIDED)
    return Answer(status, {"schema": "postlatch.decide/1", **found})


def _client(text: str) -> Any:
    try:
        return ip_address(text)
    except ValueError:
        raise CommandError(f"client: {text!a} is no IP address") from None


async def _spf(world: World, arguments: dict[str, Any]) -> str | None:
    """What the running relay would be told about a stranger who names a domain of ours; None where it would not ask."""
    listener = world.policy.snapshot.listeners.get(arguments["listener"])
    if world.relay is None or world.relay.services.senders is None or listener is None or listener.role is not Role.MX:
        return None
    try:
        sender = parse_address(arguments["mail_from"], smtputf8=True)
    except AddressError:
        return None
    if world.policy.classify(sender.domain) is not Destination.LOCAL:
        return None
    client = Client(_client(arguments["client"]), 0)
    check = world.relay.services.senders.begin(client, arguments.get("helo") or "", sender)
    try:
        found: str = (await check.start()).result.value
        return found
    finally:
        check.abandon()


async def _known(world: World, text: str) -> bool | None:
    try:
        recipient = parse_address(text, smtputf8=True)
    except AddressError:
        return None
    if not needs_callout(world.policy.snapshot, recipient) or world.relay is None:
        return None
    known: bool | None = await world.relay.callout.known(recipient)
    return known


async def narrow(world: World) -> None:
    """Take up what was taken away, at once and whatever else is wrong; what is wrong is told to the operators."""
    found = await world.policy.narrow(world.policy.candidate())
    if not found.may_start and world.relay is not None:
        world.relay.notices.alert("the policy in force is not closed any more: run postlatch check", {"why": found.first()})


def judged(judgement: Judgement) -> dict[str, Any]:
    """The JSON of ``check``."""
    return {
        "schema": "postlatch.check/1",
        "closed": judgement.closed,
        "counterexamples": list(judgement.counterexamples),
        "errors": [problem_row(problem) for problem in (*judgement.fatal, *judgement.lapsed)],
    }


def problem_row(problem: Problem) -> Mapping[str, Any]:
    """One of ``errors``."""
    return problem.as_json()
