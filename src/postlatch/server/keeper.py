"""Looks at every session once a second, a tenth of them at a time; measures the load, sheds, tells."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from postlatch.model.events import Event
from postlatch.server import watch
from postlatch.server.caps import Cap
from postlatch.server.connection import Connection
from postlatch.server.overload import Decision, excess, victims
from postlatch.server.services import Services

_SLICES = 10  # looks a second: five thousand sessions at once would hold up the loop for some milliseconds
_INTERVAL = 1.0 / _SLICES
_STATES = ("idle", "transaction", "body", "answering", "queued", "handshake", "closing")


class Keeper:
    """``connections`` are the live ones by listener. Runs from ``start`` to ``stop``."""

    def __init__(self, services: Services, connections: Mapping[str, set[Connection]]) -> None:
        self._services = services
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # when the next look should be, on the clock that does not stand still within a turn
        self._slice = 0
        self._worst = 0.0
        self._pending: list[Connection] = []
        self._tally: dict[tuple[str, str], int] = {}
        self._probe: asyncio.Future[list[object]] | None = None
        self._probed_at = 0.0
        self._answered_after = 0.0
        self._seen = 0

    def start(self) -> None:
        """Begin."""
        self._due = self._services.clock.monotonic() + _INTERVAL
        self._timer = self._loop.call_later(_INTERVAL, self._look)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now = self._services.clock.monotonic()
        self._worst = max(self._worst, now - self._due)
        if self._slice == 0:
            self._begin_second(now)
        share = -(-len(self._pending) // (_SLICES - self._slice))
        due, self._pending = self._pending[:share], self._pending[share:]
        loop_now = self._loop.time()
        for connection in due:
            if connection.lost:
                continue
            connection.check_time(loop_now)
            key = (connection.port.name, watch.state_of(connection))
            self._tally[key] = self._tally.get(key, 0) + 1
        self._slice = (self._slice + 1) % _SLICES
        self._due = self._services.clock.monotonic() + _INTERVAL
        self._timer = self._loop.call_later(_INTERVAL, self._look)

    def _begin_second(self, now: float) -> None:
        services, load = self._services, self._services.load
        load.lag, self._worst = self._worst, 0.0
        self._measure_store(now)
        decision = load.step(now)
        if decision.why:
            self._tell(decision)
        if load.stress.active:
            self._make_room(self._loop.time())
        load.expire_handshakes(self._loop.time())
        self._publish()
        self._pending = [connection for registry in self._connections.values() for connection in registry]
        services.count.set("postlatch_stress", float(load.stress.active))

    def _tell(self, decision: Decision) -> None:
        name = "overload.began" if decision.state.active else "overload.ended"
        self._services.record(Event(name, self._services.clock.now(), {"why": decision.why}))

    def _make_room(self, now: float) -> None:
        load = self._services.load
        admission, caps, high = load.admission, load.admission.caps, load.rules.high
        everybody = [connection for registry in self._connections.values() for connection in registry]
        strangers = [connection for connection in everybody if connection.ticket is not None and connection.ticket.stranger]
        self._shed(everybody, excess(admission.open, caps.connections.most, high), now)
        self._shed(strangers, excess(admission.strangers, caps.connections.strangers, high), now)
        for name, registry in self._connections.items():
            here = admission.by_listener.get(name, 0)
            self._shed(list(registry), excess(here, caps.connections.strangers, high), now)
        secured = [connection for connection in everybody if connection.ticket is not None and connection.ticket.tls]
        self._shed(secured, excess(admission.tls, caps.tls.most, high), now)

    def _shed(self, connections: list[Connection], count: int, now: float) -> None:
        if count > 0:
            idlers = [found for connection in connections if (found := watch.idler(connection)) is not None]
            for victim in victims(idlers, count, now):
                watch.make_room(victim.connection)

    def _measure_store(self, now: float) -> None:
        """How long does the writer take? An empty transaction waits behind what is there; none is sent while all is quiet."""
        load = self._services.load
        if self._probe is not None:
            if not self._probe.done():
                load.store_lag = now - self._probed_at
                return
            load.store_lag = self._answered_after if self._probe.exception() is None else 0.0
            self._probe = None
        seen = load.admission.admitted + load.flight.committing
        if seen == self._seen and not load.flight.committing:
            load.store_lag = 0.0
            return
        self._seen = seen
        self._probed_at = now
        self._answered_after = 0.0
        self._probe = self._services.submit((), ())
        self._probe.add_done_callback(self._answered)

    def _answered(self, probe: asyncio.Future[list[object]]) -> None:
        self._answered_after = self._services.clock.monotonic() - self._probed_at
        if not probe.cancelled():
            probe.exception()  # seen: the writer tells of its failures itself

    def _publish(self) -> None:
        count, load = self._services.count, self._services.load
        admission, flight = load.admission, load.flight
        for name in self._connections:
            for state in _STATES:
                count.set("postlatch_connections_by_state", self._tally.get((name, state), 0), (name, state))
        self._tally = {}
        for what, used, cap in (
            ("connections", admission.open, admission.caps.connections),
            ("tls_sessions", admission.tls, admission.caps.tls),
            ("mail_octets", flight.octets, flight.caps.octets),
            ("bodies", flight.bodies, flight.caps.bodies),
        ):
            self._gauge(what, used, cap)
        count.set("postlatch_loop_lag_seconds", load.lag)
        count.set("postlatch_store_lag_seconds", load.store_lag)

    def _gauge(self, what: str, used: int, cap: Cap) -> None:
        self._services.count.set("postlatch_in_use", used, (what,))
        self._services.count.set("postlatch_cap", cap.most, (what,))
