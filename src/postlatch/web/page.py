"""The page at ``/``: rendered here as one string, complete without a script, and every value escaped in one place."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from html import escape
from importlib import resources

from postlatch.web.model import ListenerStatus, RuleStatus, SelfAuditStatus, Status

STYLE = resources.files(__package__).joinpath("style.css").read_text("utf-8")
STYLE_SOURCE = "'sha256-" + base64.b64encode(sha256(STYLE.encode()).digest()).decode() + "'"  # for the CSP header

UNKNOWN = "not known"
# The order of the queue's life, so that a table does not jump; states that are not named here come last.
_STATES = ("queued", "active", "deferred", "held", "delivered", "bounced", "deleted")


def text(value: object) -> str:
    """Any value as HTML text or attribute. Control and bidirectional characters are shown as their code."""
    return escape("".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in str(value)))


def status_page(status: Status) -> str:
    """The whole page for a status."""
    kind, verdict, reason = _verdict(status)
    body = [
        f'<header><p class="quiet">{text(status["hostname"])}</p>',
        f'<h1 class="{kind}">{verdict}</h1><p>{reason}</p>{_store(status)}</header><main>',
        '<h2 id="listeners">Listeners</h2>',
        _listeners(status["listeners"]),
        '<h2 id="self-audit">Asked as by a stranger</h2>',
        _self_audit(status.get("self_audit")),
        '<h2 id="queue">Queue</h2>',
        _queue(status),
        '<h2 id="refusals">Refusals by rule</h2>',
        _refusals(status["refusals"]),
        f"</main><footer><p>As of {_time(status['at'])}. Counts are since the relay started.</p></footer>",
    ]
    return _document(f"{verdict}: {text(status['hostname'])}", "".join(body))


def unknown_page(why: str) -> str:
    """The page when the relay does not answer."""
    body = f'<main><h1 class="unknown">The state is not known</h1><p>{text(why)}</p></main>'
    return _document("The state is not known", body)


def _document(title: str, body: str) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title} - Postlatch</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>'
        f"<body>{body}</body></html>\n"
    )


def _verdict(status: Status) -> tuple[str, str, str]:
    """Class, headline and sentence. Only a proof that was made, and made of what is installed, says "closed"."""
    version = status["policy_version"]
    policy = "The policy" if version is None else f"Policy version {text(version)}"
    proved_at = status["proved_at"]
    if status["closed"] is True and proved_at is not None:
        return "good", "Closed", f"{policy} was proved closed on {_time(proved_at)}."
    if status["closed"] is False:
        return "bad", "Not proved closed", f"{policy} is not proved: nothing is relayed until it is."
    return "unknown", "The state is not known", "The relay did not say whether its policy is proved."


def _store(status: Status) -> str:
    healthy = status["store_healthy"]
    if healthy is True:
        return "<p>The database writes.</p>"
    if healthy is False:
        return '<p class="bad">The database does not write: mail is refused for now (451).</p>'
    return f'<p class="unknown">Whether the database writes is {UNKNOWN}.</p>'


def _listeners(listeners: list[ListenerStatus]) -> str:
    return _table(
        "listeners",
        ("Name", "Role", "Addresses", "State", "Messages accepted", "Refused"),
        (
            (
                text(listener["name"]),
                text(listener["role"]),
                "<br>".join(map(text, listener["addresses"])),
                "open" if listener["bound"] else '<strong class="bad">not bound</strong>',
                _number(listener["accepted"]),
                _number(listener["refused"]),
            )
            for listener in listeners
        ),
        numbers=2,
        empty="No listener.",
    )


def _self_audit(audit: SelfAuditStatus | None) -> str:
    """What the relay found out by asking its own listeners."""
    if audit is None:
        return f'<p class="unknown">The first audit comes two minutes after the start: until then this is {UNKNOWN}.</p>'
    if audit["verdict"] == "failed":
        return f'<p class="unknown">The audit of {_time(audit["at"])} could not be made: {text(audit["why"])}</p>'
    rows = (
        (
            text(row["listener"]),
            text(row["address"]),
            text(row["source"]),
            text(row["verdict"]) if row["verdict"] == "closed" else f'<strong class="bad">{text(row["verdict"])}</strong>',
            text(row["summary"]),
            text(row["grade"]),
        )
        for row in audit["addresses"]
    )
    columns = ("Listener", "Address", "Asked from", "Verdict", "Found", "Grade")
    return _table("self-audit", columns, rows, numbers=0, empty="No address could be asked.") + (
        f"<p>Asked on {_time(audit['at'])}. A new audit: <code>postlatch audit self --now</code>.</p>"
    )


def _queue(status: Status) -> str:
    queue = status["queue"]
    if queue is None:
        return f'<p class="unknown">The queue is {UNKNOWN}.</p>'
    order = [state for state in _STATES if state in queue] + sorted(queue.keys() - set(_STATES))
    rows = ((text(state), _number(queue[state])) for state in order)
    oldest = status.get("oldest_seconds")
    age = "" if oldest is None else f"<p>The oldest has waited for {_duration(oldest)}.</p>"
    return _table("queue", ("State", "Recipients"), rows, numbers=1, empty="The queue is empty.") + age


def _refusals(refusals: list[RuleStatus]) -> str:
    return _table(
        "refusals",
        ("Rule", "Last", "Listener", "Client", "Why", "Times"),
        (
            (
                text(refusal["rule"]),
                _time(refusal["at"]) if "at" in refusal else UNKNOWN,
                text(refusal.get("listener", "")),
                text(refusal.get("client", "")),
                text(refusal.get("why", "")),
                _number(refusal["count"]),
            )
            for refusal in refusals
        ),
        numbers=1,
        empty="Nothing was refused yet.",
    )


def _table(heading: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], *, numbers: int, empty: str) -> str:
    """A table named by a heading, of cells that are HTML already: a header first in each row, ``numbers`` numbers last."""
    first_number = len(columns) - numbers
    body = "".join(_row(cells, first_number) for cells in rows)
    if not body:
        return f"<p>{empty}</p>"
    head = "".join(f'<th scope="col"{_align(i, first_number)}>{name}</th>' for i, name in enumerate(columns))
    table = f'<table aria-labelledby="{heading}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{heading}">{table}</div>'


def _row(cells: tuple[str, ...], first_number: int) -> str:
    rest = "".join(f"<td{_align(i, first_number)}>{cell}</td>" for i, cell in enumerate(cells) if i)
    return f'<tr><th scope="row">{cells[0]}</th>{rest}</tr>'


def _align(column: int, first_number: int) -> str:
    return ' class="number"' if column >= first_number else ""


def _number(value: float) -> str:
    return text(f"{value:,}")


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count:,} {unit}{'' if count == 1 else 's'}"
    return "less than a minute"


def _time(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{moment:%Y-%m-%d %H:%M:%S} UTC</time>'
