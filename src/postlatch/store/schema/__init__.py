"""The schema as it is now: one SQL file a room, run in the order of their names.

An older database is brought here by ``store.migrations``; a newer one, or one that nobody knows, is refused.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cache
from importlib import resources

from postlatch.store.migrations import LATEST

SCHEMA_VERSION = LATEST  # PRAGMA user_version
APPLICATION_ID = 0x504C_6174  # PRAGMA application_id: "PLat", so that `file` and we know whose it is


@cache
def ddl() -> str:
    """All statements that make an empty database ours."""
    files = [entry for entry in resources.files(__name__).iterdir() if entry.name.endswith(".sql")]
    return "\n".join(entry.read_text("utf-8") for entry in sorted(files, key=lambda entry: entry.name))


def create(connection: sqlite3.Connection) -> None:
    """Make the whole schema in one transaction, on an empty database that has no transaction open."""
    mark = f"PRAGMA user_version = {SCHEMA_VERSION}; PRAGMA application_id = {APPLICATION_ID};"
    connection.executescript(f"BEGIN IMMEDIATE;\n{ddl()}\n{mark}\nCOMMIT;")


@cache
def expected() -> frozenset[tuple[str, str]]:
    """(type, name) of every table, index and trigger that a database of this version has."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create(connection)
        return found(connection)


def found(connection: sqlite3.Connection) -> frozenset[tuple[str, str]]:
    """(type, name) of every table, index and trigger in a database; those that SQLite makes by itself are left out."""
    rows = connection.execute("SELECT type, name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
    return frozenset((kind, name) for kind, name in rows)
