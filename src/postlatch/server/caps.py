"""How much the relay may hold at once: from the settings, and from what the machine gives to the process. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

# Database, log, control socket, listeners, DNS, body files that are being synced, and the spare ones.
DESCRIPTORS_OF_OURS: Final = 96
DESCRIPTORS_PER_DELIVERY: Final = 2  # the connection, and a body file or the file in a Maildir
CONNECTION_OCTETS: Final = 16 * 1024  # a plaintext connection with its transaction
TLS_OCTETS: Final = 192 * 1024  # between 46 KB idle and 380 KB after bulk
MEMORY_SHARE: Final = 4  # connections and TLS sessions each get this part of the memory, mail on its way in half of that
_LEAST_OCTETS: Final = 8 * 1024 * 1024


class Machine(NamedTuple):
    """What the process may have: file descriptors, and octets of memory."""

    descriptors: int
    memory: int


@dataclass(frozen=True, slots=True)
class OverloadRules:
    """The ``[overload]`` table. 0 where the machine decides; shares in percent, times in seconds, sizes in octets."""

    connections: int = 0
    reserve: int = 20
    tls_sessions: int = 0
    memory: int = 0
    uncommitted: int = 2000
    store_lag: float = 10.0
    high: int = 80
    low: int = 60
    lag: float = 0.5
    idle: float = 15.0
    errors: int = 2
    handshakes: int = 32


class Cap(NamedTuple):
    """``most`` for all; ``strangers``: what is left of it when the reserve is kept."""

    most: int
    strangers: int


class Caps(NamedTuple):
    """``bodies`` are messages being received at once: each may become a file, and so take a descriptor more."""

    connections: Cap
    tls: Cap
    octets: Cap
    bodies: Cap


def derive(rules: OverloadRules, machine: Machine, deliveries: int) -> Caps:
    """The caps in force. ``deliveries`` are the outgoing connections that must always find a descriptor."""
    # A small limit must still leave something for clients, or a slip in a unit file would be an outage.
    ours = min(DESCRIPTORS_OF_OURS + DESCRIPTORS_PER_DELIVERY * deliveries, machine.descriptors // 2)
    left = machine.descriptors - ours
    by_descriptors = max(4, left * 3 // 4)
    part = machine.memory // MEMORY_SHARE
    connections = min(by_descriptors, rules.connections or max(64, part // CONNECTION_OCTETS))
    tls = min(connections, rules.tls_sessions or max(32, part // TLS_OCTETS))
    octets = rules.memory or max(_LEAST_OCTETS, part // 2)
    bodies = max(2, left - by_descriptors)
    return Caps(*(_reserved(number, rules.reserve) for number in (connections, tls, octets, bodies)))


def _reserved(most: int, reserve: int) -> Cap:
    return Cap(most, max(1, most - most * reserve // 100))


UNBOUNDED: Final = derive(
    OverloadRules(), Machine(descriptors=1_000_000, memory=2**40), 100
)  # for a server room without a machine
