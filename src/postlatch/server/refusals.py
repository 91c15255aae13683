"""Turns verdicts into journal events and counts: every refusal is told once to each."""

from __future__ import annotations

from typing import Final

from postlatch.model.events import Event, JsonValue
from postlatch.model.verdict import Defer, Refuse
from postlatch.server.refused import LastRefusal
from postlatch.server.services import Services

_COUNTERS: Final = {
    "connection.refused": "postlatch_connections_refused_total",
    "sender.refused": "postlatch_senders_refused_total",
    "recipient.refused": "postlatch_recipients_refused_total",
    "message.refused": "postlatch_messages_refused_total",
}


def tell(services: Services, name: str, verdict: Refuse | Defer, facts: dict[str, JsonValue]) -> None:
    """Record a refusal or deferral under ``name`` (``recipient.refused`` …) with its rule, reply and reason.

    In a flood it is only counted, here and in the next ``refusals.aggregated`` of its prefix.
    """
    refused = isinstance(verdict, Refuse)
    kind = "refuse" if refused else "defer"
    listener = str(facts["listener"])
    clock = services.clock
    now = clock.now()
    if not services.refusals.floods.folds(name, kind, verdict.rule, facts, now, clock.monotonic()):
        fields: dict[str, JsonValue] = {
            **facts,
            "verdict": kind,
            "rule": verdict.rule,
            "reply": str(verdict.reply),
            "why": verdict.why,
        }
        services.record(Event(name, now, fields))
    if not refused:
        services.count.inc("postlatch_deferred_total", (listener, verdict.rule))
        return
    services.count.inc(_COUNTERS[name], (listener, verdict.rule))
    services.refusals.note(verdict.rule, LastRefusal(now, listener, str(facts["client"]), verdict.why))
