"""Masks by command: what the guard has found, giving rights back, and the relay's part of the self-test."""

from __future__ import annotations

import re
from typing import Any

from postlatch.app import masks
from postlatch.app.answer import Answer, CommandError, good
from postlatch.app.operator import operator
from postlatch.app.policy import PolicyRefused
from postlatch.app.world import World
from postlatch.model.events import Event
from postlatch.policy.replies import rfc3339

_TOKEN = re.compile(r"selftest-[0-9a-f]{32}\.invalid")


async def listing(world: World, _arguments: dict[str, Any]) -> Answer:
    """Every mask that nobody has lifted, with the rights that it suspends."""
    rights = world.policy.snapshot.rights
    rows = [
        {
            "listener": mask.listener,
            "address": mask.address,
            "sign": mask.sign,
            "why": mask.why,
            "since": rfc3339(mask.at),
            "suspended": sorted(masks.suspended([mask], rights)),
        }
        for mask in world.policy.masks
    ]
    return good("right.masks", masks=rows)


async def resume(world: World, arguments: dict[str, Any]) -> Answer:
    """Believe the addresses of a listener again. Proved like every change that gives something."""
    listener, why = str(arguments["listener"]), str(arguments["why"])[:200]
    policy = world.policy
    gone = [mask for mask in policy.masks if mask.listener == listener]
    if not gone:
        raise CommandError(f"no mask was found on listener {listener}; see postlatch right masks")
    left = tuple(mask for mask in policy.masks if mask.listener != listener)
    candidate = policy.candidate(masks=left)
    judgement = await policy.judged(candidate)
    if not judgement.closed:
        raise PolicyRefused(judgement)
    before = {right.name for right in policy.snapshot.rights if right.suspended}
    resumed = sorted(before - {right.name for right in candidate.rights if right.suspended})
    fields: dict[str, Any] = {"listener": listener, "rights": resumed, "why": why, "operator": operator()}
    await world.submit([masks.save(left)], Event("masking.lifted", world.now(), fields))
    policy.masks = left
    policy.install(candidate, judgement=judgement)
    if world.relay is not None:
        world.relay.masking.guard.forget(listener)
        world.relay.masking.publish()
    return good("right.resume", listener=listener, rights=resumed)


async def expect(world: World, arguments: dict[str, Any]) -> Answer:
    """Watch for the tokens of a self-test, in EHLO."""
    if world.relay is None:
        raise CommandError("no relay runs: start it, and test it then")
    tokens = [str(token) for token in list(arguments["tokens"])[:32]]
    if not all(map(_TOKEN.fullmatch, tokens)):
        raise CommandError("these are no tokens of a self-test")
    for token in tokens:
        world.relay.masking.expect(token)
    return good("masking.expect", addresses=world.relay.addresses)


async def came(world: World, arguments: dict[str, Any]) -> Answer:
    """Who has said the tokens."""
    if world.relay is None:
        raise CommandError("the relay has stopped meanwhile")
    rows = {}
    for token in list(arguments["tokens"])[:32]:
        found = world.relay.masking.came(str(token))
        if found is not None:
            rows[str(token)] = {
                "listener": found.listener,
                "client": str(found.client),
                "header": found.header.value,
                "proxy": found.proxy,
            }
    return good("masking.came", came=rows)
