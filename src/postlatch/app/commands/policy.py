"""The policy's own words: rights, decide, and what a judgement looks like as JSON (check runs it too)."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from postlatch.accounts.names import parse_login
from postlatch.app.answer import BAD_NEWS, GOOD, UNDECIDED, Answer, CommandError, good
from postlatch.app.policy import Judgement
from postlatch.app.world import World
from postlatch.model.address import AddressError, parse_address
from postlatch.model.envelope import Client, Destination, Role
from postlatch.policy import dryrun
from postlatch.policy.decide import needs_callout
from postlatch.policy.rights import list_rights
from postlatch.settings.problem import Problem


def right_rows(world: World) -> list[dict[str, Any]]:
    """The rows of ``rights``."""
    limits = world.settings.limits
    used = {("NETWORK", name): at for name, at in world.right_usage.items()}
    if world.relay is not None:
        used |= {("NETWORK", name): at for name, at in world.relay.used_rights.items()}
    rows = list_rights(
        world.policy.snapshot,
        world.now(),
        last_used=used,
        account_limits=limits.account.texts(),
        right_limits=limits.right.texts(),
    )
    return [dict(row) for row in rows]


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
