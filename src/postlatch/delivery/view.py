"""What people and metrics see of the destinations that delivery works on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from postlatch.delivery.admission import Admission
from postlatch.delivery.destinations import Lane, Lanes, State
from postlatch.delivery.outlook import Outlook
from postlatch.delivery.pauses import Pauses
from postlatch.delivery.routes import UseMx, name_of
from postlatch.delivery.workers import Workers
from postlatch.model.clock import Clock
from postlatch.spool.priority import NAMES

Gauge = tuple[str, tuple[str, ...], float]  # name, labels, value


class Shown(NamedTuple):
    """One destination. ``rate``: messages a second, 0 for no bound. ``next_attempt``: seconds since 1970; None while it moves.

    ``waiting`` and ``active`` are messages in memory; the queue on the disk may hold more.
    """

    name: str
    state: State
    waiting: int = 0
    active: int = 0
    concurrency: int = 0
    rate: float = 0.0
    last_reply: str = ""
    next_attempt: float | None = None


def show(lanes: Lanes, pauses: Pauses, clock: Clock) -> list[Shown]:
    """Every destination that has a lane or is paused, by name."""
    shown = {one.name: one for one in (_shown(lane, pauses, clock) for lane in lanes)}
    for pause in pauses:
        shown.setdefault(pause.name, Shown(pause.name, State.PAUSED))
    return [shown[name] for name in sorted(shown)]


def gauges(
    lanes: Lanes,
    pauses: Pauses,
    workers: Workers,
    outlook: Outlook,
    admission: Admission,
    put_back: Mapping[str, int],
    clock: Clock,
) -> list[Gauge]:
    """The metrics of delivery. Read when somebody asks, so that counting costs no message anything."""
    states: Counter[State] = Counter(_state(lane, pauses, clock.monotonic()) for lane in lanes)
    found: list[Gauge] = [("postlatch_destinations", (str(state),), float(states[state])) for state in State]
    waiting = _waiting(lanes)
    found += [("postlatch_delivery_waiting", (name,), float(n)) for name, n in zip(NAMES, waiting, strict=True)]
    found += [("postlatch_delivery_put_back_total", (why,), float(number)) for why, number in put_back.items()]
    found.append(("postlatch_delivery_active", (), float(workers.running)))
    found.append(("postlatch_delivery_due_rate", (), admission.rate))
    found.append(("postlatch_delivery_network_up", (), float(not outlook.down)))
    return found


def _waiting(lanes: Iterable[Lane]) -> tuple[int, int, int]:
    urgent = normal = bulk = 0
    for lane in lanes:
        sizes = lane.line.sizes()
        urgent, normal, bulk = urgent + sizes[0], normal + sizes[1], bulk + sizes[2]
    return urgent, normal, bulk


def _state(lane: Lane, pauses: Pauses, now: float) -> State:
    if pauses.any and pauses.of(lane.hop.domain if isinstance(lane.hop, UseMx) else "", name_of(lane.hop)) is not None:
        return State.PAUSED
    return lane.state(now)


def _shown(lane: Lane, pauses: Pauses, clock: Clock) -> Shown:
    now = clock.monotonic()
    state = _state(lane, pauses, now)
    waits = state in {State.RESTING, State.PARKED}
    return Shown(
        name=name_of(lane.hop),
        state=state,
        waiting=lane.line.size,
        active=lane.running,
        concurrency=lane.limit,
        rate=round(lane.pace.rate, 3),
        last_reply=lane.reply,
        next_attempt=clock.now() + lane.rest_until - now if waits else None,
    )
