"""``check``, ``rights`` and ``decide``."""

from __future__ import annotations

from typing import Any

from postlatch.cli.output import place
from postlatch.cli.render.masks import self_test
from postlatch.cli.render.words import NOTHING, count, limits, text, when
from postlatch.cli.text import BAD_STYLE, GOOD_STYLE, UNSURE_STYLE, Line, Table


def check(data: dict[str, Any]) -> list[Line | Table]:
    """The verdict first, then everything that stands against it."""
    counterexamples, errors = data.get("counterexamples") or [], data.get("errors") or []
    lines: list[Line | Table] = [_verdict(data, len(counterexamples), len(errors))]
    lines += [Line(f"  {number}. {sentence}") for number, sentence in enumerate(counterexamples, 1)]
    if counterexamples and errors:
        lines += [Line(), Line(f"{count(len(errors), 'error')} in the configuration:")]
    lines += [Line(f"  {place(error)}") for error in errors]
    tested = data.get("self_test") or []
    return [*lines, Line(), Line("Self-test:"), *self_test(tested)] if tested else lines


def _verdict(data: dict[str, Any], counterexamples: int, errors: int) -> Line:
    classes = data.get("classes")
    proof = f"proved over {classes:,} classes" if isinstance(classes, int) else "proved"
    if counterexamples:
        return Line(f"OPEN: {count(counterexamples, 'way')} to relay that nobody was given:", BAD_STYLE)
    wrong = f"{count(errors, 'error')} in the configuration"
    if data.get("closed") and errors:
        return Line(f"Refused: {wrong} (as it stands it is closed, {proof}):", BAD_STYLE)
    if data.get("closed"):
        return Line(f"Closed: {proof}.", GOOD_STYLE)
    return Line(f"Not proved: {wrong}:" if errors else "Not proved.", BAD_STYLE)


def rights(data: dict[str, Any]) -> list[Line | Table]:
    """Who can relay, why, how much, until when, and who vouches for it."""
    entries = data.get("rights") or []
    if not entries:
        return [Line("Nobody can relay: there are no accounts, network rights or relay domains.")]
    rows = [
        (
            text(entry.get("who")),
            reason(entry),
            limits(entry.get("limits")),
            when(entry.get("expires")),
            text(entry.get("owner")),
            when(entry.get("last_used")),
        )
        for entry in entries
    ]
    table = Table(("WHO", "WHY", "HOW MUCH", "UNTIL", "VOUCHED BY", "LAST USED"), rows)
    return [table, Line(), Line(f"{count(len(entries), 'entry', 'entries')}. Nobody else can relay.")]


def reason(entry: dict[str, Any]) -> str:
    """``NETWORK printers on relay, as @example.com``."""
    name = entry.get("name")
    words = [text(entry.get("reason")), *([str(name)] if name and name != entry.get("who") else [])]
    scope = [
        f"{word} {text(entry[field])}"
        for word, field in (("on", "listeners"), ("as", "senders"), ("to", "recipients"))
        if entry.get(field)
    ]
    shown = " ".join(words) + (f" {scope[0]}" if scope else "") + "".join(f", {part}" for part in scope[1:])
    state = entry.get("state")
    return f"{shown} ({state})" if state and state != "active" else shown


_VERDICTS = {"accept": ("Accepted", GOOD_STYLE), "refuse": ("Refused", BAD_STYLE), "defer": ("Deferred", UNSURE_STYLE)}


def decide(data: dict[str, Any]) -> list[Line | Table]:
    """The verdict with its reply, then why."""
    word, style = _VERDICTS.get(str(data.get("verdict")), (text(data.get("verdict")), UNSURE_STYLE))
    reply = data.get("reply")
    facts = [
        ("why", text(data.get("why"))),
        ("rule", text(data.get("rule"))),
        ("grant", data.get("grant") or "none"),
        ("destination", text(data.get("destination"))),
    ]
    facts = [(name, value) for name, value in facts if value != NOTHING]
    return [Line(f"{word}: {reply}" if reply else word, style), *(Line(f"  {name:<11}  {value}") for name, value in facts)]
