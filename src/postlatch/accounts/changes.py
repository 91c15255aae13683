"""Changes to accounts, as operations for the writer. Whoever commits one then gives its Change to ``AccountBook.apply``.

Input is checked when the operation is made (AccountError), what the database knows when it runs (AccountError from the
writer's future). Operations hold no state: the writer may run one twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from postlatch.accounts.names import parse_login, parse_sending
from postlatch.accounts.passwords import Credentials
from postlatch.accounts.problem import AccountError
from postlatch.accounts.records import COLUMNS, AccountRecord, from_row
from postlatch.store.writer import Operation

# Time in milliseconds, or one more than any in use: so it never comes back, not even when an account is deleted and made anew.
_NEXT_GENERATION = "max(CAST(:now * 1000 AS INTEGER), coalesce((SELECT max(generation) FROM accounts), 0) + 1)"
_CREDENTIALS = (
    "password_hash = :password_hash, scram_salt = :salt, scram_iterations = :iterations,"
    " scram_stored_key = :stored_key, scram_server_key = :server_key"
)
# Built from constants only; values are always bound.
_INSERT = (
    f"INSERT INTO accounts ({COLUMNS}) VALUES (:login, :password_hash, :salt, :iterations, :stored_key, :server_key, :send_as,"  # noqa: S608
    f" NULL, NULL, :now, :now, {_NEXT_GENERATION}) ON CONFLICT DO NOTHING RETURNING {COLUMNS}"
)
_REHASH = f"UPDATE accounts SET {_CREDENTIALS} WHERE login = :login AND password_hash = :old RETURNING {COLUMNS}"  # noqa: S608
_SELECT = f"SELECT {COLUMNS} FROM accounts WHERE login = :login"  # noqa: S608


class Change(NamedTuple):
    """What became of one account. ``record`` is None if it was deleted."""

    login: str
    record: AccountRecord | None


def add(login: str, send_as: Iterable[str], credentials: Credentials, now: float) -> Operation[Change]:
    """A new account; AccountError if the login or an entry is bad, or the account exists."""
    name = parse_login(login)
    values = {**_password(credentials), "login": name, "send_as": _as_json(parse_sending(name, send_as)), "now": now}

    def operation(connection: sqlite3.Connection) -> Change:
        rows = connection.execute(_INSERT, values).fetchall()
        if not rows:
            raise AccountError(f"the account {name} exists already")
        return Change(name, from_row(rows[0]))

    return operation


def set_password(login: str, credentials: Credentials, now: float) -> Operation[Change]:
    """A new password. A suspended account stays suspended."""
    return _update(login, f"{_CREDENTIALS}, changed_at = :now, generation = {_NEXT_GENERATION}", now, **_password(credentials))


def set_send_as(login: str, send_as: Iterable[str], now: float) -> Operation[Change]:
    """Other addresses to send as, instead of those that it has."""
    entries = _as_json(parse_sending(parse_login(login), send_as))
    return _update(login, "send_as = :send_as, changed_at = :now", now, send_as=entries)


def suspend(login: str, reason: str, now: float) -> Operation[Change]:
    """Stop an account from sending. One that is suspended already keeps its first reason and time."""
    if not reason.strip():
        raise AccountError("a suspension needs a reason")
    update = f"suspended_at = :now, suspended_reason = :reason, changed_at = :now, generation = {_NEXT_GENERATION}"
    return _update(login, update, now, "AND suspended_at IS NULL", reason=reason)


def restore(login: str, now: float, credentials: Credentials | None = None) -> Operation[Change]:
    """Let a suspended account send again. With ``credentials`` its password changes too: after a theft, it must."""
    if credentials is None:
        cleared = f"suspended_at = NULL, suspended_reason = NULL, changed_at = :now, generation = {_NEXT_GENERATION}"
        return _update(login, cleared, now, "AND suspended_at IS NOT NULL")
    both = f"{_CREDENTIALS}, suspended_at = NULL, suspended_reason = NULL, changed_at = :now, generation = {_NEXT_GENERATION}"
    return _update(login, both, now, **_password(credentials))


def delete(login: str) -> Operation[Change]:
    """Remove an account and whom it has written to."""
    name = parse_login(login)

    def operation(connection: sqlite3.Connection) -> Change:
        if not connection.execute("DELETE FROM accounts WHERE login = ?", (name,)).rowcount:
            raise _unknown(name)
        connection.execute("DELETE FROM known_recipients WHERE account = ?", (name,))
        return Change(name, None)

    return operation


def rehash(record: AccountRecord, credentials: Credentials) -> Operation[Change | None]:
    """The same password under today's parameters. None if the password has changed since ``record`` was read."""
    values = {**_password(credentials), "login": record.login, "old": record.credentials.password_hash}

    def operation(connection: sqlite3.Connection) -> Change | None:
        rows = connection.execute(_REHASH, values).fetchall()
        return Change(record.login, from_row(rows[0])) if rows else None

    return operation


def _update(login: str, assignments: str, now: float, condition: str = "", **values: Any) -> Operation[Change]:
    """Change one account. Where ``condition`` does not hold the account stays as it is, which is no error."""
    name = parse_login(login)
    update = f"UPDATE accounts SET {assignments} WHERE login = :login {condition}"  # noqa: S608
    named = {**values, "login": name, "now": now}

    def operation(connection: sqlite3.Connection) -> Change:
        connection.execute(update, named)
        row: Sequence[Any] | None = connection.execute(_SELECT, {"login": name}).fetchone()
        if row is None:
            raise _unknown(name)
        return Change(name, from_row(row))

    return operation


def _password(credentials: Credentials) -> dict[str, Any]:
    scram = credentials.scram
    return {
        "password_hash": credentials.password_hash,
        "salt": scram.salt,
        "iterations": scram.iterations,
        "stored_key": scram.stored_key,
        "server_key": scram.server_key,
    }


def _as_json(send_as: frozenset[str]) -> str:
    return json.dumps(sorted(send_as))


def _unknown(login: str) -> AccountError:
    return AccountError(f"there is no account {login}")
