"""What the pages and the metrics ask the relay."""

from __future__ import annotations

import sqlite3
from typing import Any

from postlatch.app.answer import Answer, good
from postlatch.app.resident import resident_memory
from postlatch.app.world import World
from postlatch.model.envelope import Role
from postlatch.spool.queue import tally

# What is held waits for a person and says nothing about delivery.
_OLDEST = """
SELECT received_at FROM messages WHERE finished_at IS NULL
  AND EXISTS (SELECT 1 FROM recipients WHERE message = messages.id AND state IN ('queued', 'deferred')) ORDER BY id LIMIT 1
"""
_REFUSED = ("connections", "senders", "recipients", "messages")


async def status(world: World, _arguments: dict[str, Any]) -> Answer:
    """The relay's state in one object, in the shape of the web room's Status, and a few facts more."""
    relay, policy = world.relay, world.policy
    states = await world.reader.read(tally)
    return good(
        "status",
        hostname=world.settings.hostname,
        at=world.now(),
        closed=policy.proved_at > 0,  # a snapshot that is not proved closed is never installed
        proved_at=policy.proved_at or None,
        policy_version=policy.snapshot.version,
        store_healthy=world.writer.healthy,
        draining=relay is not None and relay.services.draining,
        listeners=_listeners(world),
        queue={str(state): count for state, count in states.items()},
        oldest_seconds=await _oldest(world),
        refusals=_refusals(world),
        self_audit=relay.self_audit.latest if relay is not None else None,
        probes=[probe._asdict() for probe in relay.probes] if relay is not None else [],
    )


def _listeners(world: World) -> list[dict[str, Any]]:
    relay = world.relay
    if relay is None:
        return []
    return [
        {
            "name": x.name,
            "role": str(Role(x.role)),
            "addresses": relay.addresses[x.name],
            "bound": True,
            "accepted": world.counters.total("postlatch_messages_accepted_total", x.name),
            "refused": sum(world.counters.total(f"postlatch_{what}_refused_total", x.name) for what in _REFUSED),
        }
        for x in world.settings.listeners
    ]


def _refusals(world: World) -> list[dict[str, Any]]:
    if world.relay is None:
        return []
    refusals = world.relay.services.refusals
    ranked = sorted(refusals.counts.items(), key=lambda item: -item[1])
    return [{"rule": rule, "count": count, **refusals.last[rule]._asdict()} for rule, count in ranked]


async def _oldest(world: World) -> float | None:
    def query(connection: sqlite3.Connection) -> float | None:
        row = connection.execute(_OLDEST).fetchone()
        return None if row is None else float(row[0])

    received = await world.reader.read(query)
    return None if received is None else max(0.0, world.now() - received)


async def metrics(world: World, _arguments: dict[str, Any]) -> Answer:
    """Everything counted so far."""
    counters = world.counters
    counters.set("postlatch_store_healthy", float(world.writer.healthy))
    for state, count in (await world.reader.read(tally)).items():
        counters.set("postlatch_queue_recipients", count, (str(state),))
    counters.set("postlatch_queue_oldest_seconds", await _oldest(world) or 0.0)
    if world.relay is not None:
        for name, count in world.relay.server.open_connections().items():
            counters.set("postlatch_connections_open", count, (name,))
        for name, labels, value in world.relay.dispatcher.gauges():
            counters.set(name, value, labels)
    counters.set("postlatch_process_resident_memory_bytes", resident_memory(), ("relay",))
    return good("metrics", samples=counters.snapshot())
