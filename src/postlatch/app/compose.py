"""From settings (and what the database adds) to what the rooms take: the policy snapshot, the limits, the delivery routes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from ipaddress import ip_address

from postlatch.app.interfaces import local_addresses
from postlatch.app.limit_tables import limit_table
from postlatch.app.local import local_listener, submission_rules
from postlatch.app.ways import read_secret, ways
from postlatch.delivery.config import DeliveryConfig, Route, parse_route
from postlatch.delivery.contract import TlsPolicy
from postlatch.delivery.guard import OwnAddresses
from postlatch.delivery.pace import Bounds
from postlatch.delivery.schedule import RetryPolicy
from postlatch.limits.limit import parse_limit
from postlatch.model.address import Address, parse_address
from postlatch.model.envelope import IPAddress
from postlatch.policy.dmarc import DmarcRules, Override
from postlatch.policy.reputation import ReputationRules
from postlatch.policy.sending import Delegation
from postlatch.policy.snapshot import Account, Listener, LocalDomain, RelayDomain, Right, Snapshot
from postlatch.server.limit_rules import LimitRules, WarmUp
from postlatch.server.services import SessionLimits
from postlatch.settings.rights import RightSettings
from postlatch.settings.tree import DestinationSettings, DomainSettings, Settings


def end_of(day: date) -> float:
    """The first second after ``day``, UTC: an expiry date ends with its day (DESIGN section 9)."""
    return datetime.combine(day + timedelta(days=1), time(), UTC).timestamp()


def snapshot(
    settings: Settings,
    rights: Iterable[Right],
    accounts: Mapping[str, Account],
    version: int,
    suspended: frozenset[str],
    delegations: Iterable[Delegation] = (),
) -> Snapshot:
    """The policy. ``rights`` are those made by command; ``suspended`` names rights of either source that are suspended."""
    configured = [configured_right(right) for right in settings.rights]
    return Snapshot(
        version=version,
        hostname=settings.hostname,
        listeners={
            **{x.name: Listener(x.name, x.role, tls=settings.tls is not None) for x in settings.listeners},
            **local_listener(settings),  # last: another one of its name is a danger, and is seen as one
        },
        local_domains={name: _local_domain(name, domain) for name, domain in settings.domains.items()},
        relay_domains={
            name: RelayDomain(name, _recipients(domain.recipients), domain.owner, end_of(domain.expires))
            for name, domain in settings.relay_domains.items()
        },
        rights=tuple(_with_state(right, suspended) for right in [*configured, *rights]),
        accounts=accounts,
        main_password=settings.accounts.main_password == "relay",  # noqa: S105 - whether it may send, and no password
        own_addresses=frozenset(_literal(address) for address in own_addresses(settings)),
        dmarc=_dmarc_rules(settings),
        delegations=tuple(delegations),
        submission=submission_rules(settings),
        reputation=ReputationRules(settings.reputation.refuse if settings.reputation.check else None),
    )


def _dmarc_rules(settings: Settings) -> DmarcRules:
    overrides = [
        Override(o.name, frozenset(o.domains), o.networks, o.disposition, o.owner, end_of(o.expires), o.why)
        for o in settings.dmarc.overrides
    ]
    sealers = {sealer.domain: end_of(sealer.expires) for sealer in settings.dmarc.sealers}
    return DmarcRules(settings.dmarc.enforce, tuple(overrides), sealers)


def configured_right(right: RightSettings) -> Right:
    """A ``[[rights]]`` table as the policy sees it."""
    return Right(
        name=right.name,
        networks=right.networks,
        listeners=frozenset(right.listeners),
        senders=right.senders,
        recipients=right.recipients,
        owner=right.owner,
        expires=end_of(right.expires),
        wide=right.wide,
        masked=right.masked,
        limits=right.limits.texts() if right.limits is not None else {},
        fix=frozenset(right.fix),
        rewrite_from=right.rewrite_from or "",
    )


def _with_state(right: Right, suspended: frozenset[str]) -> Right:
    if right.name not in suspended:
        return right
    return replace(right, suspended=True)


def _recipients(listed: tuple[str, ...] | str) -> frozenset[str] | None:
    return None if isinstance(listed, str) else frozenset(listed)


def _local_domain(name: str, domain: DomainSettings) -> LocalDomain:
    aliases = {alias: _targets(targets) for alias, targets in domain.aliases.items() if alias != "*"}
    catch_all = _targets(domain.aliases.get("*", ()))
    return LocalDomain(name, _recipients(domain.recipients), aliases, catch_all)


def _targets(texts: Iterable[str]) -> tuple[Address, ...]:
    return tuple(parse_address(text, smtputf8=True) for text in texts)


def own_addresses(settings: Settings) -> frozenset[IPAddress]:
    """The addresses on which listeners can be reached; a wildcard stands for all of this machine's."""
    named = {ip_address(text.rpartition(":")[0].strip("[]")) for listener in settings.listeners for text in listener.address}
    wild = {address.version for address in named if address.is_unspecified}
    machine = {address for address in local_addresses() if address.version in wild} if wild else set()
    return frozenset(address for address in named | machine if not address.is_unspecified)


def _literal(address: IPAddress) -> str:
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


def session_limits(settings: Settings) -> SessionLimits:
    """The ``[session]`` table."""
    values = {name: getattr(settings.session, name) for name in type(settings.session).model_fields}
    return SessionLimits(**values)


def limit_rules(settings: Settings, rights: Iterable[Right]) -> LimitRules:
    """The ``[limits.*]`` tables, and the rights that have limits of their own."""
    limits = settings.limits
    return LimitRules(
        account=limit_table(limits.account),
        right=limit_table(limits.right),
        rights={right.name: limit_table(limits.right, right.limits) for right in rights if right.limits},
        client=limit_table(limits.client),
        connections=limits.client.connections,
        network_connections=limits.client.network_connections or 0,
        credential=limit_table(limits.credential),
        sender_domain=limit_table(limits.sender_domain),
        network=limit_table(limits.network),
        relay=limit_table(limits.relay),
        warm_up=WarmUp(float(limits.account.warm_up or 0), limits.account.warm_up_share),
    )


def delivery_config(settings: Settings, bound: Iterable[tuple[IPAddress, int]]) -> DeliveryConfig:
    """Routes and retries. ``bound`` are the listeners' sockets as bound: never to be delivered to."""
    outbound = settings.outbound
    return DeliveryConfig(
        hostname=settings.hostname,
        local={name: parse_route(domain.deliver) for name, domain in settings.domains.items()},
        relay={name: parse_route(domain.route) for name, domain in settings.relay_domains.items()},
        outbound={
            name: parse_route(route.to, tls=TlsPolicy(route.tls or outbound.tls)) for name, route in outbound.routes.items()
        },
        smarthost=_smarthost(settings),
        quarantine=parse_route(settings.dmarc.quarantine) if settings.dmarc.quarantine is not None else None,
        own=OwnAddresses(hosts=local_addresses(), listeners=frozenset(bound)),
        retry=RetryPolicy(max_age=outbound.max_age, warn_after=outbound.warn_after),
        tls=TlsPolicy(outbound.tls),
        max_deliveries=outbound.max_connections,
        destinations={name: _bounds(bounds) for name, bounds in outbound.destinations.items()},
        by_account=ways(settings, "by_account"),
        by_sender=ways(settings, "by_sender"),
    )


def _bounds(given: DestinationSettings) -> Bounds:
    limit = parse_limit(given.rate) if given.rate is not None else None
    return Bounds(
        most=given.connections or 0,
        rate=limit.amount / limit.seconds if limit is not None else 0.0,
        per_connection=given.messages_per_connection or 0,
    )


def _smarthost(settings: Settings) -> Route | None:
    outbound = settings.outbound
    if outbound.smarthost is None:
        return None
    password = read_secret(outbound.password_file)
    return parse_route(outbound.smarthost, tls=TlsPolicy(outbound.tls), username=outbound.username or "", password=password)
