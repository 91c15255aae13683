"""Reports for mail that an operator gives up: the same ones that delivery makes when it gives up by itself."""

from __future__ import annotations

from collections.abc import Iterable

from postlatch.app import compose
from postlatch.app.notices import Notices
from postlatch.app.world import World
from postlatch.delivery.headers import read_header
from postlatch.delivery.ports import PreparedNotice
from postlatch.delivery.reports import operator_notices
from postlatch.model.address import parse_address
from postlatch.spool.contract import Claim, SpoolError


def notices_of(world: World) -> Notices:
    """The relay's notices, or some for a command that runs without it."""
    if world.relay is not None:
        found: Notices = world.relay.notices
        return found
    return Notices(
        clock=world.clock,
        spool=world.spool,
        limiter=world.limiter,
        snapshot=lambda: world.policy.snapshot,
        submit=world.writer.submit,
        record=world.writer.record,
        wake=lambda: None,
        alert_recipients=lambda: [parse_address(text, smtputf8=True) for text in world.settings.alerts.to],
    )


async def bounce_notices(world: World, claims: Iterable[Claim], reply: str) -> list[PreparedNotice]:
    """Prepared reports for the senders who may be told."""
    config = compose.delivery_config(world.settings, ())
    prepared = []
    for claim in claims:
        for notice in operator_notices(config, claim, reply, await _header(world, claim), world.now()):
            ready = await notices_of(world).prepare(notice)
            if ready is not None:
                prepared.append(ready)
    return prepared


async def _header(world: World, claim: Claim) -> bytes:
    try:
        return await read_header(await world.spool.body(claim))
    except (SpoolError, OSError):
        return b""
