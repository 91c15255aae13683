"""The live side of overload: what is open, what is in memory, whose turn it is, and whether the relay is under stress."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from postlatch.server.admission import Admission
from postlatch.server.caps import UNBOUNDED, Caps, OverloadRules
from postlatch.server.flight import Flight
from postlatch.server.handshakes import HandshakeGate
from postlatch.server.overload import Decision, Facts, Stress, decide
from postlatch.server.turns import Turns

_STALLED: Final = 3  # times `store_lag`: from here on strangers are not even told of it in the journal, which could not take it


class Load:
    """One for the relay. ``resident`` gives the used share of the memory that the process may have, from 0 to 1."""

    def __init__(
        self,
        rules: OverloadRules | None = None,
        caps: Caps = UNBOUNDED,
        resident: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.rules = rules or OverloadRules()
        self.admission = Admission(caps)
        self.flight = Flight(caps, self.rules.uncommitted)
        self.turns = Turns(lambda callback: asyncio.get_running_loop().call_soon(callback))
        self.stress = Stress()
        self.lag = 0.0  # of the event loop: the worst of the last second
        self.store_lag = 0.0  # how long the writer's queue is, in seconds
        self._resident = resident
        self._gates = (HandshakeGate(self.rules.handshakes), HandshakeGate(self.rules.handshakes))

    def configure(self, rules: OverloadRules, caps: Caps) -> None:
        """Other settings hold from now on."""
        self.rules = rules
        self.admission.caps = self.flight.caps = caps
        self.flight.uncommitted = rules.uncommitted
        for gate in self._gates:
            gate.slots = rules.handshakes

    def gate(self, *, stranger: bool) -> HandshakeGate:
        """Where handshakes of this kind of listener wait."""
        return self._gates[stranger]

    @property
    def stalled(self) -> bool:
        """The disk takes nothing: keep what would be written small."""
        return self.store_lag > self.rules.store_lag * _STALLED

    @property
    def backlog(self) -> str:
        """Why the disk cannot take another message now; empty if it can."""
        if self.store_lag > self.rules.store_lag:
            return f"the disk is {self.store_lag:.0f} seconds behind"
        return self.flight.backlog

    def step(self, now: float) -> Decision:
        """The look of every second."""
        admission, flight = self.admission, self.flight
        self.turns.slowed = self.store_lag > self.rules.store_lag
        facts = Facts(
            connections=admission.fullest(),
            tls=admission.tls / admission.caps.tls.most,
            memory=max(flight.fullest(), self._resident()),
            lag=self.lag,
        )
        decision = decide(self.rules, self.stress, facts, now)
        self.stress = decision.state
        return decision

    def expire_handshakes(self, now: float) -> None:
        """End those that hold others up. ``now`` is the loop's time."""
        for gate in self._gates:
            gate.expire(now)
