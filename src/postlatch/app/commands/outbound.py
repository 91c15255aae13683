"""``outbound``: what would be done with mail for a domain now: its next hop, its hosts, and the TLS that each must give."""

from __future__ import annotations

from random import Random
from typing import Any

from postlatch.app import compose
from postlatch.app.answer import BAD_NEWS, GOOD, UNDECIDED, Answer, CommandError
from postlatch.app.fetch import HttpFetcher
from postlatch.app.mta_sts import StsPolicies
from postlatch.app.way_out import make_resolver
from postlatch.app.world import World
from postlatch.delivery.config import DeliveryConfig, Route
from postlatch.delivery.mx import MailHost, RoutingFailed, mail_hosts
from postlatch.delivery.resolver import DnsResolver
from postlatch.delivery.routes import Hold, UseMx, name_of, route_for
from postlatch.delivery.tls_demand import NONE
from postlatch.delivery.tls_policies import Judged, StsFound, TlsPolicies
from postlatch.model.address import Address, AddressError, parse_address


async def outbound(world: World, arguments: dict[str, Any]) -> Answer:
    """0: it would be sent; 1: no host may be used, for good; 3: not now. Connects to no mail host."""
    domain = str(arguments["domain"])
    config = compose.delivery_config(world.settings, world.relay.bound if world.relay is not None else ())
    way = config.way(str(arguments.get("account") or ""), _sender(arguments.get("sender")))
    where = route_for(config, world.policy.classify(domain), domain, way)
    data: dict[str, Any] = {
        "domain": domain,
        "next_hop": "" if isinstance(where, Hold) else name_of(where),
        "by": _kind(where),
        "source": list(way.source),
        "why": where.reason if isinstance(where, Hold) else "",
        "tls": str(where.tls) if isinstance(where, Route) else str(config.tls),
        "dnssec": world.settings.outbound.dnssec,
        "mta_sts": {"mode": "", "mx": [], "why": ""},
        "hosts": [],
    }
    if isinstance(where, Hold):
        return Answer(BAD_NEWS, data)
    return await _by_mx(world, config, where.domain, data) if isinstance(where, UseMx) else Answer(GOOD, data)


async def _by_mx(world: World, config: DeliveryConfig, domain: str, data: dict[str, Any]) -> Answer:
    resolver: DnsResolver = world.relay.resolver if world.relay is not None else make_resolver(world.settings, world.clock)
    try:
        hosts = await mail_hosts(resolver, domain, hostname=config.hostname, own=config.own, random=Random(0))  # noqa: S311 - the order is for people
    except RoutingFailed as failure:
        data["why"] = str(failure.reply)
        return Answer(BAD_NEWS if failure.reply.permanent else UNDECIDED, data)
    sts = StsPolicies(
        clock=world.clock,
        resolver=resolver,
        fetcher=HttpFetcher(resolver),
        read=world.reader.read,
        submit=world.relay.submit if world.relay is not None else world.writer.submit,
        counters=world.counters,
    )
    outbound = world.settings.outbound
    found = await sts.policy(domain) if outbound.mta_sts and not domain.startswith("[") else StsFound()
    policies = TlsPolicies(
        world.clock, secure=resolver if outbound.dnssec else None, sts=sts if outbound.mta_sts else None, tell=None
    )
    judged = await policies.judge(domain, hosts, config.tls)
    data["mta_sts"] = _sts(found, enabled=outbound.mta_sts)
    data["hosts"] = [_row(one) for one in judged]
    usable = any(not one.refused for one in judged)
    data["why"] = "" if usable else "no mail host may be used: the mail would wait"
    return Answer(GOOD if usable else UNDECIDED, data)


def _row(judged: Judged) -> dict[str, Any]:
    host: MailHost = judged.host
    demand = judged.demand
    proof = "DANE" if demand is not None and demand.tlsa else "certificate" if judged.tls == "verify" else ""
    return {
        "host": host.name,
        "addresses": [str(address) for address in host.addresses],
        "used": not judged.refused,
        "tls": str(judged.tls),
        "proof": "" if judged.refused else proof,
        "policy": "" if judged.applied.kind == NONE else judged.applied.kind,
        "tlsa": [str(record) for record in demand.tlsa] if demand is not None else [],
        "why": judged.why or "no policy: as the configuration has it",
    }


def _sts(found: StsFound, *, enabled: bool) -> dict[str, Any]:
    if not enabled:
        return {"mode": "", "mx": [], "why": "outbound.mta_sts is false in the configuration"}
    if found.policy is None:
        return {"mode": "", "mx": [], "why": found.reason or "the domain has no policy"}
    return {"mode": str(found.policy.mode), "mx": list(found.policy.mx), "why": found.reason}


def _kind(where: Route | UseMx | Hold) -> str:
    if isinstance(where, UseMx):
        return "mx"
    return "route" if isinstance(where, Route) else "nothing"


def _sender(text: object) -> Address | None:
    if text is None:
        return None
    try:
        return parse_address(str(text), smtputf8=True)
    except AddressError as error:
        raise CommandError(f"--sender is no address: {error}") from None
