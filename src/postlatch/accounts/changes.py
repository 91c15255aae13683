"""Changes to accounts, as operations for the writer. Whoever commits one then gives its Change to ``AccountBook.apply``.

Input is checked when the operation is made (AccountError), what the database knows when it runs (AccountError from the
writer's future). Operations hold no state: the writer may run one twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

from postlatch.accounts.app_passwords import MOST, Secret, parse_name, parse_networks, parse_scope
from postlatch.accounts.names import parse_login, parse_sending
from postlatch.accounts.passwords import Credentials, ScramVerifier
from postlatch.accounts.problem import AccountError
from postlatch.accounts.records import COLUMNS, OWN, AccountRecord, read_account
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
    f" NULL, NULL, :now, :now, {_NEXT_GENERATION}, :source) ON CONFLICT DO NOTHING"
)
_REHASH = f"UPDATE accounts SET {_CREDENTIALS} WHERE login = :login AND password_hash = :old"  # noqa: S608
_TAKEN_OVER = (
    f"UPDATE accounts SET {_CREDENTIALS}, source = :source, changed_at = :now, generation = {_NEXT_GENERATION}"  # noqa: S608
    " WHERE login = :login AND source <> :source"
)
_INSERT_SHOWN = (
    "INSERT INTO app_passwords VALUES (:login, :name, :digest, :salt, :stored_key, :server_key, :senders, :networks, :expires,"
    " :now, :by, NULL) ON CONFLICT DO NOTHING"
)


class Change(NamedTuple):
    """What became of one account. ``record`` is None if it was deleted."""

    login: str
    record: AccountRecord | None


def add(login: str, send_as: Iterable[str], credentials: Credentials, now: float) -> Operation[Change]:
    """A new account; AccountError if the login or an entry is bad, or the account exists."""
    name = parse_login(login)
    entries = _as_json(parse_sending(name, send_as))
    values = {**_password(credentials), "login": name, "send_as": entries, "now": now, "source": OWN}

    def operation(connection: sqlite3.Connection) -> Change:
        if not connection.execute(_INSERT, values).rowcount:
            raise AccountError(f"the account {name} exists already")
        return _change(connection, name)

    return operation


def set_password(login: str, credentials: Credentials, now: float) -> Operation[Change]:
    """A new password. A suspended account stays suspended."""
    update = f"{_CREDENTIALS}, changed_at = :now, generation = {_NEXT_GENERATION}"
    return _own(login, _update(login, update, now, **_password(credentials)))


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
    return _own(login, _update(login, both, now, **_password(credentials)))


def delete(login: str) -> Operation[Change]:
    """Remove an account and whom it has written to."""
    name = parse_login(login)

    def operation(connection: sqlite3.Connection) -> Change:
        if not connection.execute("DELETE FROM accounts WHERE login = ?", (name,)).rowcount:
            raise _unknown(name)
        connection.execute("DELETE FROM known_recipients WHERE account = ?", (name,))
        connection.execute("DELETE FROM delegations WHERE login = ?", (name,))
        connection.execute("DELETE FROM app_passwords WHERE login = ?", (name,))
        return Change(name, None)

    return operation


def rehash(record: AccountRecord, credentials: Credentials) -> Operation[Change | None]:
    """The same password under today's parameters. None if the password has changed since ``record`` was read."""
    values = {**_password(credentials), "login": record.login, "old": record.credentials.password_hash}

    def operation(connection: sqlite3.Connection) -> Change | None:
        return _change(connection, record.login) if connection.execute(_REHASH, values).rowcount else None

    return operation


def enrol(login: str, directory: str, send_as: Iterable[str], unusable: Credentials, now: float) -> Operation[Change]:
    """What a directory has said of a login of its own, as an account. It stays suspended if it was.

    An account of that name whose password we kept is taken over, and loses all that let it in without the directory.
    """
    name = parse_login(login)
    entries = _as_json(parse_sending(name, send_as))
    values = {**_password(unusable), "login": name, "send_as": entries, "now": now, "source": directory}

    def operation(connection: sqlite3.Connection) -> Change:
        if not connection.execute(_INSERT, values).rowcount:
            if connection.execute(_TAKEN_OVER, {**values}).rowcount:
                connection.execute("DELETE FROM app_passwords WHERE login = ?", (name,))
            connection.execute("UPDATE accounts SET send_as = ?, changed_at = ? WHERE login = ?", (entries, now, name))
        return _change(connection, name)

    return operation


class Scope(NamedTuple):
    """What an application password may do: empty is as much as the account. ``expires``: the first second that is too late."""

    senders: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    expires: float | None = None


def add_app_password(login: str, name: str, scope: Scope, secret: Secret, *, now: float, by: str) -> Operation[Change]:
    """One more way to log in; AccountError if the name is taken or bad, or the scope is not within the account's."""
    owner, key, networks = parse_login(login), parse_name(name), parse_networks(scope.networks)

    def operation(connection: sqlite3.Connection) -> Change:
        record = _change(connection, owner).record
        assert record is not None
        if record.source != OWN:
            raise AccountError(
                f"{owner} comes from the directory {record.source}, which alone vouches for it: it has no others"
            )
        if len(record.app_passwords) >= MOST:
            raise AccountError(f"{owner} has {MOST} application passwords: revoke those that are not used")
        senders = sorted(parse_scope(owner, record.send_as, scope.senders))
        values = {
            "login": owner,
            "name": key,
            "digest": secret.digest,
            "now": now,
            "by": by,
            "expires": scope.expires,
            "senders": json.dumps(senders),
            "networks": json.dumps(list(map(str, networks))),
            **_verifier(secret.scram),
        }
        if not connection.execute(_INSERT_SHOWN, values).rowcount:
            raise AccountError(f"{owner} has an application password {key} already: revoke it, or choose another name")
        return _change(connection, owner)

    return operation


def revoke_app_password(login: str, name: str) -> Operation[Change]:
    """End it now; AccountError if there is none of that name."""
    owner, key = parse_login(login), parse_name(name)

    def operation(connection: sqlite3.Connection) -> Change:
        if not connection.execute("DELETE FROM app_passwords WHERE login = ? AND name = ?", (owner, key)).rowcount:
            raise AccountError(f"{owner} has no application password {key}")
        return _change(connection, owner)

    return operation


def note_used(used: dict[tuple[str, str], float]) -> Operation[None]:
    """When application passwords were last used, by login and name. One that was made later under that name is left alone."""
    rows = [(at, login, name, at) for (login, name), at in used.items()]

    def operation(connection: sqlite3.Connection) -> None:
        later = "UPDATE app_passwords SET last_used = max(coalesce(last_used, 0), ?) WHERE login = ? AND name = ?"
        connection.executemany(f"{later} AND created_at <= ?", rows)

    return operation


def _update(login: str, assignments: str, now: float, condition: str = "", **values: Any) -> Operation[Change]:
    """Change one account. Where ``condition`` does not hold the account stays as it is, which is no error."""
    name = parse_login(login)
    update = f"UPDATE accounts SET {assignments} WHERE login = :login {condition}"  # noqa: S608
    named = {**values, "login": name, "now": now}

    def operation(connection: sqlite3.Connection) -> Change:
        connection.execute(update, named)
        return _change(connection, name)

    return operation


def _own(login: str, change: Operation[Change]) -> Operation[Change]:
    """Only for an account whose password we keep."""

    def operation(connection: sqlite3.Connection) -> Change:
        record = _change(connection, parse_login(login)).record
        if record is not None and record.source != OWN:
            raise AccountError(f"the password of {record.login} is kept by the directory {record.source}: change it there")
        return change(connection)

    return operation


def _change(connection: sqlite3.Connection, login: str) -> Change:
    record = read_account(connection, login)
    if record is None:
        raise _unknown(login)
    return Change(login, record)


def _password(credentials: Credentials) -> dict[str, Any]:
    scram = credentials.scram
    return {"password_hash": credentials.password_hash, "iterations": scram.iterations, **_verifier(scram)}


def _verifier(scram: ScramVerifier) -> dict[str, Any]:
    return {"salt": scram.salt, "stored_key": scram.stored_key, "server_key": scram.server_key}


def _as_json(send_as: frozenset[str]) -> str:
    return json.dumps(sorted(send_as))


def _unknown(login: str) -> AccountError:
    return AccountError(f"there is no account {login}")
