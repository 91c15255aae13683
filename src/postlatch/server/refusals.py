"""Turns verdicts into replies, journal events and counts: every refusal is told once to each of the three."""

from __future__ import annotations

from postlatch.model.events import Event, JsonValue
from postlatch.model.verdict import Defer, Refuse
from postlatch.server.services import Services


def tell(services: Services, name: str, verdict: Refuse | Defer, facts: dict[str, JsonValue]) -> None:
    """Record a refusal or deferral under ``name`` (``recipient.refused`` …) with its rule, reply and reason."""
    kind = "refuse" if isinstance(verdict, Refuse) else "defer"
    fields = {**facts, "verdict": kind, "rule": verdict.rule, "reply": str(verdict.reply), "why": verdict.why}
    services.record(Event(name, services.clock.now(), fields))
    stage = name.partition(".")[0]
    if kind == "refuse":
        services.count.inc("postlatch_refused_total", (stage, verdict.rule))
    else:
        services.count.inc("postlatch_deferred_total", (stage, verdict.rule))
