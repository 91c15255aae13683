"""Accounts as they are stored."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from postlatch.accounts.app_passwords import AppPasswordRecord, list_all, list_of
from postlatch.accounts.passwords import Credentials, ScramVerifier
from postlatch.policy.snapshot import Account

COLUMNS = (
    "login, password_hash, scram_salt, scram_iterations, scram_stored_key, scram_server_key,"
    " send_as, suspended_at, suspended_reason, created_at, changed_at, generation, source"
)
OWN = "command"  # the source of an account whose password we keep


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """One account. Times are seconds since 1970, UTC.

    ``send_as`` is as ``parse_sending`` gives it: without the login itself. ``generation`` grows with each password, suspension
    and restoration and is never used twice, not even by a later account of the same name: a session or a cached verdict of an
    earlier generation no longer counts. ``source`` is ``OWN``, or the directory that knows the password; then the credentials
    here match nothing.
    """

    login: str
    credentials: Credentials
    send_as: frozenset[str]
    suspended_at: float | None
    suspended_reason: str
    created_at: float
    changed_at: float
    generation: int
    source: str = OWN
    app_passwords: Mapping[str, AppPasswordRecord] = field(default_factory=dict)

    @property
    def suspended(self) -> bool:
        """True while this account may log in but not send."""
        return self.suspended_at is not None

    def for_policy(self) -> Account:
        """What the policy needs to know: an address may send as itself."""
        own = {self.login} if "@" in self.login else set()
        shown = {name: one.for_policy() for name, one in self.app_passwords.items()}
        return Account(self.login, self.send_as | own, self.suspended, shown, self.source)


def list_accounts(connection: sqlite3.Connection) -> list[AccountRecord]:
    """All accounts by login; ValueError if a row is spoiled, because an account must not shrink or grow by accident."""
    shown = list_all(connection)
    rows = connection.execute(f"SELECT {COLUMNS} FROM accounts ORDER BY login")  # noqa: S608 - a constant
    return [from_row(row, shown.get(row[0], {})) for row in rows]


def read_account(connection: sqlite3.Connection, login: str) -> AccountRecord | None:
    """One account with its application passwords, as this connection sees it."""
    row = connection.execute(f"SELECT {COLUMNS} FROM accounts WHERE login = ?", (login,)).fetchone()  # noqa: S608 - a constant
    return None if row is None else from_row(row, list_of(connection, login))


def from_row(row: Sequence[Any], app_passwords: Mapping[str, AppPasswordRecord]) -> AccountRecord:
    """The record of a row of ``COLUMNS``."""
    login, password_hash, salt, iterations, stored_key, server_key, send_as, *rest = row
    suspended_at, suspended_reason, created_at, changed_at, generation, source = rest
    entries = json.loads(send_as)
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise ValueError(f"the send_as of account {login!r} is not a list of texts")
    return AccountRecord(
        login=login,
        credentials=Credentials(password_hash, ScramVerifier(salt, iterations, stored_key, server_key)),
        send_as=frozenset(entries),
        suspended_at=suspended_at,
        suspended_reason=suspended_reason or "",
        created_at=created_at,
        changed_at=changed_at,
        generation=generation,
        source=source,
        app_passwords=app_passwords,
    )
