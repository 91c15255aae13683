"""Salvage: what can still be read of a damaged database goes into a new one, and waits there for an operator.

The damaged file is never opened for writing, nor is its WAL: where there is one, a copy of both is read. Each table is read in
the order of its key, around every place that cannot be read (``salvage_read``). What damage has made of the rows that were read
is judged afterwards (``salvage_judge``): a row that breaks the schema's rules, or has lost what it belongs to, goes into
quarantine, beside the new database, and is listed in a report there; so are the places that could not be read.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from postlatch.store import schema
from postlatch.store.database import StoreError, open_database
from postlatch.store.files import sync_directory
from postlatch.store.salvage_judge import Judged, judge
from postlatch.store.salvage_open import Opened, opened
from postlatch.store.salvage_pages import Pages
from postlatch.store.salvage_quarantine import Quarantine
from postlatch.store.salvage_read import Target, columns_of, copy_table, is_older, page_size, root_of

_DERIVED = frozenset({"queue_counts"})  # kept by triggers of the new database


class SalvageReport(NamedTuple):
    """What was saved and what was not.

    ``rows`` saved by table; ``damaged`` tables could not be read through; unfinished ``messages``, of which all recipients are
    ``held``; ``without_body`` are messages among them. ``lost`` counts the entries of the report in ``quarantine``, by table;
    without any there is no such folder.
    """

    rows: dict[str, int]
    damaged: tuple[str, ...]
    messages: int
    held: int
    without_body: int
    events: int
    lost: dict[str, int]
    quarantine: Path | None


def salvage(damaged: Path, target: Path, bodies: Path | None = None) -> SalvageReport:
    """Fill a new database ``target`` with what ``damaged`` still holds; body files stay in ``bodies`` and serve both.

    StoreError if there is nothing to be read, or if ``target`` or its quarantine exists. With the relay stopped only.
    """
    folder = target.with_name(f"{target.name}.quarantine")
    for path in (target, folder):
        if path.exists():
            raise StoreError(f"{path} exists already: salvage goes into a new file")
    with opened(damaged, target) as source:
        try:
            with Quarantine(folder) as quarantine:
                if source.note:
                    quarantine.note("schema", {}, source.note)
                report = _fill(source, target, bodies or damaged.parent / "bodies", quarantine)
            if not report.lost:
                shutil.rmtree(folder)
                report = report._replace(quarantine=None)
            sync_directory(target.parent)
        except BaseException:
            for suffix in ("", "-wal", "-shm"):
                target.with_name(target.name + suffix).unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return report


def _fill(source: Opened, target: Path, bodies: Path, quarantine: Quarantine) -> SalvageReport:
    tables = sorted(name for kind, name in schema.expected() if kind == "table" and name not in _DERIVED)
    size = page_size(source.connection)
    with closing(open_database(target, create=True)) as new, closing(Pages(source.path, size)) as pages:
        new.execute("PRAGMA synchronous = OFF")  # it counts when it is whole, and the checkpoint below syncs it
        new.execute("BEGIN")
        damaged = tuple(table for table in tables if not _copy_found(source, pages, new, table, quarantine))
        found: Judged = judge(new, bodies, quarantine)
        rows = {table: _count(new, f"SELECT count(*) FROM {table}") for table in tables}  # noqa: S608 - names of the schema
        events = _count(new, "SELECT ifnull(sum(last_seq - first_seq + 1), 0) FROM journal_batches")
        messages = _count(new, "SELECT count(*) FROM messages WHERE finished_at IS NULL")
        new.execute("COMMIT")
        new.execute("PRAGMA synchronous = FULL")
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return SalvageReport(
        rows, damaged, messages, found.held, found.without_body, events, dict(quarantine.counts), quarantine.folder
    )


def _copy_found(source: Opened, pages: Pages, new: sqlite3.Connection, table: str, quarantine: Quarantine) -> bool:
    there = columns_of(source.connection, table)
    if there:
        return _copy(source, pages, Target(new, table, there, quarantine), quarantine)
    if not is_older(source.connection):
        quarantine.gap(table, "", None, None, "the table is missing, or its definition is damaged")
    return is_older(source.connection)


def _copy(source: Opened, pages: Pages, target: Target, quarantine: Quarantine) -> bool:
    """Copy one table, by its tree and, if that leads to less than there is, by its pages; whether the tree was whole."""
    before = quarantine.counts[target.name]
    whole = copy_table(source.connection, target, quarantine)
    root = root_of(source.connection, target.name)
    if whole and quarantine.counts[target.name] == before and pages.rows(root) <= target.rows:
        return True
    found = 0
    for record in pages.records(root):
        row = target.from_record(record)
        if row is not None and not target.has(row):
            found += target.put(row)
    return whole and not found


def _count(connection: sqlite3.Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])
