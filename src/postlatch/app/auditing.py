"""``postlatch audit``: asks servers from outside whether strangers can relay, and reports."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from postlatch import __version__
from postlatch.app import audit_schedule
from postlatch.app.answer import BAD_NEWS, GOOD, UNDECIDED, UNUSABLE, Answer
from postlatch.app.audit_canary import NOBODY, Canaries, canaries
from postlatch.app.audit_options import OTHER_DOMAIN, Options, OptionsError, Target, options_of
from postlatch.app.clock import SystemClock
from postlatch.app.owning import HOW, shows_token
from postlatch.app.senders import chosen_resolver, chosen_settings
from postlatch.audit.canary.values import CanaryError
from postlatch.audit.probes.conversation import Dialer
from postlatch.audit.probes.dry import DryDialer
from postlatch.audit.probes.families import ask_all
from postlatch.audit.probes.manners import Manners
from postlatch.audit.probes.names import Names
from postlatch.audit.probes.place import Place
from postlatch.audit.probes.reach import candidates
from postlatch.audit.report.formats import render
from postlatch.audit.result import TargetResult, as_data
from postlatch.audit.run import Means, Request
from postlatch.audit.run import audit as audit_one
from postlatch.audit.values import AuditVerdict
from postlatch.model.clock import Clock
from postlatch.model.dns import DnsError, Resolver

_SOME_ADDRESS: Final = "192.0.2.1"  # RFC 5737: stands for one that is not asked of the DNS
_BAD: Final = frozenset({AuditVerdict.OPEN, AuditVerdict.BACKSCATTER, AuditVerdict.ACCEPTS, AuditVerdict.SPOOFABLE})


def audit(config: Path | None, arguments: dict[str, Any]) -> Answer:
    """Status 0: all closed; 1: one is not; 2: cannot be asked; 3: none is bad, and one is inconclusive."""
    try:
        options = options_of(arguments)
        if options.dry_run:
            return Answer(GOOD, {"schema": "postlatch.audit/1", "targets": [], "lines": asyncio.run(_rehearse(options))})
        results = asyncio.run(audit_all(options, config, arguments))
    except (OptionsError, CanaryError, DnsError, OSError) as error:
        return Answer(UNUSABLE, {}, str(error))
    data: dict[str, Any] = {"targets": [as_data(result) for result in results]}
    form = str(arguments.get("format", "text"))
    if form != "text":
        data["lines"] = render(form, results, __version__, time.time()).splitlines()
    return Answer(status_of(results), {"schema": "postlatch.audit/1", **data})


def run_schedule(config: Path | None, arguments: dict[str, Any]) -> int:
    """``postlatch audit schedule``: the same audit again and again; the exit status."""
    try:
        options = options_of(arguments)
    except OptionsError as error:
        audit_schedule.complain(str(error))
        return UNUSABLE
    return audit_schedule.schedule(arguments, lambda: audit_all(options, config, arguments))


def status_of(results: Sequence[TargetResult]) -> int:
    """The exit status of results together: the worst of them."""
    verdicts = {result.verdict for result in results}
    if verdicts & _BAD:
        return BAD_NEWS
    return UNDECIDED if AuditVerdict.INCONCLUSIVE in verdicts else GOOD


async def audit_all(options: Options, config: Path | None, arguments: dict[str, Any]) -> list[TargetResult]:
    """One target after the other, with one canary for all."""
    clock = SystemClock()
    dice = random.SystemRandom()
    resolver = chosen_resolver(arguments, chosen_settings(config), clock)
    run = f"pl{dice.getrandbits(32):08x}"
    results = []
    async with canaries(options.canary, arguments, run, clock) as watching:
        means = Means(clock, dice, ask_all, run, canary=watching.canary, mailbox_reader=watching.mailbox, resolver=resolver)
        for target in options.targets:
            results.append(await _one(options, target, means, resolver, clock, watching))  # noqa: PERF401 - one by one
    return results


async def _one(
    options: Options, target: Target, means: Means, resolver: Resolver, clock: Clock, watching: Canaries
) -> TargetResult:
    places = candidates(target.host, await _addresses(target, resolver), target.port)
    near = all(ip_address(place.address).is_private for place in places)
    if not options.owned:
        manners = Manners(clock, domains=(), rate=options.rate_for(near=near))
        dial = Dialer(manners, helo=options.helo, source=options.source)
        if not await shows_token(options.token, target.host, places, resolver, dial):
            raise OptionsError(f"{target.text} was not audited: {HOW}")
    return await audit_one(_request(options, target, places, watching, near=near), means)


async def _rehearse(options: Options) -> list[str]:
    """What would be said to each target, by a server that refuses all but the known mailbox."""
    lines: list[str] = []
    for target in options.targets:
        dry: list[DryDialer] = []

        def dial(request: Request, manners: Manners, made: list[DryDialer] = dry) -> Dialer:
            made.append(DryDialer(manners, helo=request.names.helo, known=request.names.known_mailbox))
            return made[0]

        means = Means(SystemClock(), random.SystemRandom(), ask_all, "pl00000000", dial)
        places = candidates(target.host, [target.host if target.is_number else _SOME_ADDRESS], target.port)
        result = await audit_one(_request(options, target, places, NOBODY, near=True), means)
        for number, (place, said) in enumerate(dry[0].said, 1):
            lines += [f"# {number}. to {place}", *(line for line in said if not line.startswith("S:"))]
        lines.append(f"# {target.text}: {result.connections} connections, {result.messages} messages, and none was made.")
    return lines


def _request(options: Options, target: Target, places: Sequence[Place], watching: Canaries, *, near: bool) -> Request:
    names = Names(
        canary=options.canary_user or watching.user or "canary",
        canary_domain=options.canary_domain,
        other_domain=OTHER_DOMAIN,
        helo=options.helo,
        address=places[0].address,
        local_domain=options.local_domain or ("" if target.is_number or target.host == "localhost" else target.host),
        mailbox=options.mailbox,
        nobody=options.canary_user if options.shares_domain else "relaytest",
        unknown=f"nobody-{random.SystemRandom().getrandbits(32):08x}",
    )
    return Request(
        target.text,
        places,
        names,
        options.time_limit,
        options.window_for(near=near),
        deep=options.deep,
        source=options.source,
        messages=options.messages,
        rate=options.rate_for(near=near),
        only=f"{options.canary_user}@{options.canary_domain}" if options.shares_domain else "",
    )


async def _addresses(target: Target, resolver: Resolver) -> list[str]:
    if target.is_number:
        return [target.host]
    if target.host == "localhost":  # RFC 6761 section 6.3: never asked of the DNS
        return ["127.0.0.1", "::1"]
    try:
        found = [str(address) for address in await resolver.addresses(target.host)]
    except DnsError as error:
        raise OptionsError(
            f"{target.text}: its addresses could not be looked up: {error}; --resolver names another server"
        ) from None
    if not found:
        raise OptionsError(f"{target.text} has no address")
    return found
