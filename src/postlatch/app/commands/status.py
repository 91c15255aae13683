"""What the pages and the metrics ask the relay."""

from __future__ import annotations

import resource
from typing import Any

from postlatch.app.answer import Answer, good
from postlatch.app.world import World
from postlatch.policy.replies import rfc3339
from postlatch.spool.queue import tally


async def status(world: World, _arguments: dict[str, Any]) -> Answer:
    """The relay's state in one object."""
    relay, policy = world.relay, world.policy
    states = await world.reader.read(tally)
    return good(
        "status",
        hostname=world.settings.hostname,
        closed=True,  # a snapshot that is not proved closed is never installed
        policy_version=policy.snapshot.version,
        proved_at=rfc3339(policy.proved_at),
        store_healthy=world.writer.healthy,
        draining=relay.services.draining if relay is not None else False,
        listeners=_listeners(world),
        queue={str(state): count for state, count in states.items()},
        probes=[probe._asdict() for probe in relay.probes] if relay is not None else [],
        lapsed=[str(problem) for problem in policy.judge(policy.snapshot).lapsed],
    )


def _listeners(world: World) -> list[dict[str, Any]]:
    relay = world.relay
    if relay is None:
        return []
    open_now = relay.server.open_connections()
    return [
        {"name": x.name, "role": str(x.role), "addresses": relay.addresses[x.name], "connections": open_now[x.name]}
        for x in world.settings.listeners
    ]


async def metrics(world: World, _arguments: dict[str, Any]) -> Answer:
    """Everything counted so far."""
    counters = world.counters
    counters.set("postlatch_store_healthy", float(world.writer.healthy))
    for state, count in (await world.reader.read(tally)).items():
        counters.set("postlatch_queue_recipients", count, (str(state),))
    if world.relay is not None:
        for name, count in world.relay.server.open_connections().items():
            counters.set("postlatch_connections_open", count, (name,))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    counters.set("postlatch_process_resident_memory_bytes", memory, ("relay",))
    return good("metrics", samples=counters.snapshot())
