"""``salvage``: what can be read of a stopped relay's damaged database, into a new file beside it. The old one stays."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from postlatch.app.answer import BAD_NEWS, GOOD, UNUSABLE, Answer
from postlatch.app.clock import SystemClock
from postlatch.app.offline import become_user
from postlatch.app.privileges import UserError
from postlatch.app.world import WRITER, bodies_of
from postlatch.journal.seal import Sealer
from postlatch.model.events import Event, JsonValue
from postlatch.settings.tree import Settings
from postlatch.store.database import StoreError, open_database
from postlatch.store.lock import acquire
from postlatch.store.salvage import SalvageReport
from postlatch.store.salvage import salvage as save


def salvage(settings: Settings, arguments: dict[str, Any]) -> Answer:
    """The answer of ``postlatch salvage``."""
    damaged = settings.database
    target = Path(arguments["to"]) if arguments.get("to") else damaged.with_name(f"{damaged.name}.salvaged")
    try:
        become_user(settings)
        with acquire(settings.data_dir):
            report = save(damaged, target, bodies_of(settings))
            _journal(target, report)
    except (StoreError, UserError, OSError, sqlite3.Error) as error:
        return Answer(UNUSABLE, {}, str(error))
    return Answer(BAD_NEWS if report.lost or report.damaged else GOOD, _data(damaged, target, report))


def _journal(target: Path, report: SalvageReport) -> None:
    """Say in the new journal what it is."""
    clock = SystemClock()
    fields: dict[str, JsonValue] = {
        "messages": report.messages,
        "held": report.held,
        "lost": sum(report.lost.values()),
        "tables": list(report.damaged),
    }
    with closing(open_database(target, create=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        Sealer(WRITER, clock).seal(connection, [Event("store.salvaged", clock.now(), fields)])
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _data(damaged: Path, target: Path, report: SalvageReport) -> dict[str, Any]:
    rows = report.rows
    return {
        "schema": "postlatch.salvage/1",
        "file": str(target),
        "damaged": str(damaged),
        "messages": report.messages,
        "held": report.held,
        "without_body": report.without_body,
        "accounts": rows["accounts"],
        "rights": rows["rights"],
        "bans": rows["bans"],
        "events": report.events,
        "tables": list(report.damaged),
        "lost": report.lost,
        "quarantine": str(report.quarantine) if report.quarantine is not None else None,
        "next": _next_steps(damaged, target, report),
    }


def _next_steps(damaged: Path, target: Path, report: SalvageReport) -> list[str]:
    steps = [
        f"Keep the damaged file: mv {damaged} {damaged}.damaged   (and {damaged.name}-wal and -shm, if they are there)",
        f"Put the new one in its place: mv {target} {damaged}",
        "Look at the queue, all of which is held: postlatch queue list --state held   and then: postlatch queue release …",
        "See what the journal has lost: postlatch journal verify",
    ]
    if report.quarantine is not None:
        steps.insert(0, f"Read what could not be saved: {report.quarantine}/report.ndjson")
    if "accounts" in report.damaged or "rights" in report.damaged:
        steps.append(
            "Accounts or rights may be missing: compare postlatch account list and postlatch rights with what you know."
        )
    return steps
