"""Accounts in the database: every operation, its errors, and the book that follows them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from accounts_support import NOW, PASSWORD, Desk, run

from postlatch.accounts import changes
from postlatch.accounts.app_passwords import Claim
from postlatch.accounts.book import AccountBook
from postlatch.accounts.problem import AccountError
from postlatch.accounts.records import AccountRecord, list_accounts
from postlatch.model.events import Event
from postlatch.policy.snapshot import Account
from postlatch.store.database import open_database
from postlatch.store.writer import Writer

ALICE = "alice@example.com"


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.add(ALICE)
    return desk


def record(desk: Desk, login: str = ALICE) -> AccountRecord:
    found = desk.book.get(login)
    assert found is not None
    assert list_accounts(desk.connection) == sorted(
        (desk.book.get(r.login) for r in list_accounts(desk.connection)), key=_login
    )
    return found


def _login(found: AccountRecord | None) -> str:
    assert found is not None
    return found.login


def test_an_account_is_added_under_its_canonical_login(desk: Desk) -> None:
    desk.add("Printers", send_as=["@Example.com", "<>"])
    added = record(desk, "printers")
    assert added.send_as == {"@example.com", "<>"}
    assert (added.created_at, added.changed_at, added.suspended) == (NOW, NOW, False)
    assert record(desk).send_as == frozenset()


def test_an_account_cannot_be_added_twice(desk: Desk) -> None:
    with pytest.raises(AccountError, match="exists already"):
        desk.add("ALICE@example.com", "another")
    assert len(list_accounts(desk.connection)) == 1


@pytest.mark.parametrize("login", ["bob@example.com", "bob"])
def test_an_unknown_account_is_an_error_of_every_change(desk: Desk, login: str) -> None:
    new = desk.credentials("new")
    for operation in (
        changes.set_password(login, new, NOW),
        changes.set_send_as(login, ["@example.com"], NOW),
        changes.suspend(login, "why", NOW),
        changes.restore(login, NOW),
        changes.restore(login, NOW, new),
        changes.delete(login),
    ):
        with pytest.raises(AccountError, match=f"no account {login}"):
            operation(desk.connection)


def test_bad_input_is_an_error_before_the_database_is_asked(desk: Desk) -> None:
    new = desk.credentials("new")
    with pytest.raises(AccountError):
        changes.add("a b", (), new, NOW)
    with pytest.raises(AccountError, match="say what it may send as"):
        changes.add("printer", (), new, NOW)
    with pytest.raises(AccountError, match="no @"):
        changes.set_send_as(ALICE, ["bob"], NOW)
    with pytest.raises(AccountError, match="reason"):
        changes.suspend(ALICE, " ", NOW)


def test_suspending_and_restoring(desk: Desk) -> None:
    desk.commit(changes.suspend(ALICE, "sent spam", NOW + 1))
    desk.commit(changes.suspend(ALICE, "again", NOW + 2))
    suspended = record(desk)
    assert (suspended.suspended, suspended.suspended_at, suspended.suspended_reason) == (True, NOW + 1, "sent spam")
    desk.commit(changes.set_password(ALICE, desk.credentials("new"), NOW + 3))
    assert record(desk).suspended, "a new password alone restores nothing"
    desk.commit(changes.restore(ALICE, NOW + 4))
    restored = record(desk)
    assert (restored.suspended, restored.suspended_reason, restored.changed_at) == (False, "", NOW + 4)
    again = desk.commit(changes.restore(ALICE, NOW + 5))
    assert again is not None
    assert again.record == restored


def test_restoring_with_a_new_password_changes_it(desk: Desk) -> None:
    desk.commit(changes.suspend(ALICE, "a leak", NOW))
    authenticator = desk.authenticator()
    desk.commit(changes.restore(ALICE, NOW, desk.credentials("new")))
    assert not record(desk).suspended
    assert run(authenticator.verify(ALICE, "new")) == Claim(ALICE)
    assert run(authenticator.verify(ALICE, PASSWORD)) is None


def test_generations_grow_and_never_come_back(desk: Desk) -> None:
    seen = [record(desk).generation]
    for operation in (
        changes.set_password(ALICE, desk.credentials("new"), NOW),
        changes.suspend(ALICE, "why", NOW - 1000),  # the clock went back
        changes.restore(ALICE, NOW),
    ):
        desk.commit(operation)
        seen.append(record(desk).generation)
    desk.commit(changes.delete(ALICE))
    desk.clock.advance(60)
    desk.add(ALICE)
    seen.append(record(desk).generation)
    assert seen == sorted(set(seen))
    desk.commit(changes.set_send_as(ALICE, ["@example.com"], NOW + 99))
    assert record(desk).generation == seen[-1]


def test_deleting_forgets_whom_it_wrote_to(desk: Desk) -> None:
    desk.add("bob@example.com")
    for account in (ALICE, "bob@example.com"):
        desk.connection.execute("INSERT INTO known_recipients VALUES (?, x'0011223344556677', 1)", (account,))
    desk.commit(changes.delete(ALICE))
    assert desk.book.get(ALICE) is None
    assert desk.connection.execute("SELECT account FROM known_recipients").fetchall() == [("bob@example.com",)]


def test_an_operation_may_run_twice(desk: Desk) -> None:
    """The writer rolls a batch back and runs it again when a neighbour fails."""
    operation = changes.add("bob@example.com", ["<>"], desk.credentials(), NOW)
    desk.connection.execute("BEGIN")
    first = operation(desk.connection)
    desk.connection.execute("ROLLBACK")
    assert operation(desk.connection) == first


def test_the_policy_sees_what_each_may_send_as(desk: Desk) -> None:
    desk.add("printers", send_as=["@example.com", "<>"])
    before = desk.book.policy_accounts()
    version = desk.book.version
    assert before == {
        ALICE: Account(ALICE, frozenset({ALICE})),
        "printers": Account("printers", frozenset({"@example.com", "<>"})),
    }
    desk.commit(changes.suspend(ALICE, "why", NOW))
    desk.commit(changes.delete("printers"))
    assert desk.book.version == version + 2
    assert len(before) == 2, "what was given out never changes"
    assert not before[ALICE].suspended
    assert desk.book.policy_accounts() == {ALICE: Account(ALICE, frozenset({ALICE}), suspended=True)}
    desk.book.apply(None)
    assert desk.book.version == version + 2


def test_loading_gives_the_same_book_as_following(desk: Desk) -> None:
    for i in range(5):
        desk.add(f"user{i}@example.com", send_as=[f"@d{i}.example"])
    desk.commit(changes.suspend("user1@example.com", "why", NOW))
    desk.commit(changes.delete("user2@example.com"))
    loaded = AccountBook()
    loaded.load(desk.connection)
    assert len(loaded) == len(desk.book) == 5
    assert loaded.policy_accounts() == desk.book.policy_accounts()
    assert all(loaded.get(login) == desk.book.get(login) for login in loaded.policy_accounts())
    assert [loaded.profile_at(share) for share in (0.0, 0.5, 0.99)] == [
        desk.book.profile_at(share) for share in (0.0, 0.5, 0.99)
    ]


def test_a_spoiled_row_stops_the_load_and_leaves_the_book(desk: Desk) -> None:
    desk.connection.execute("UPDATE accounts SET send_as = '{\"@example.com\": 1}'")
    before = desk.book.get(ALICE)
    with pytest.raises(ValueError, match="send_as"):
        desk.book.load(desk.connection)
    assert desk.book.get(ALICE) is before


@pytest.mark.parametrize(
    "change",
    [
        "suspended_at = 1",
        "suspended_reason = 'x'",
        "scram_iterations = 1",
        "scram_stored_key = x'00'",
        "scram_server_key = NULL",
        "scram_salt = x''",
        "password_hash = NULL",
        "generation = 'x'",
    ],
)
def test_the_schema_refuses_half_an_account(desk: Desk, change: str) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        desk.connection.execute(f"UPDATE accounts SET {change}")


def test_accounts_survive_a_restart_and_failures_of_neighbours(tmp_path: Path) -> None:
    """Through the real writer, into a real file."""
    path = tmp_path / "postlatch.db"
    with closing(open_database(path, create=True)):
        pass
    desk = Desk()

    def no_seal(_connection: sqlite3.Connection, _events: Sequence[Event]) -> None:
        return None

    async def scenario() -> None:
        writer = Writer(lambda: open_database(path, create=False), no_seal)
        writer.start()
        futures = [
            writer.submit([changes.add(login, (), desk.credentials(), NOW)])
            for login in (ALICE, "bob@example.com", ALICE, "carol@example.com")
        ]
        results = await asyncio.gather(*futures, return_exceptions=True)
        assert [type(result) for result in results] == [list, list, AccountError, list]
        for result in results:
            if isinstance(result, list):
                desk.book.apply(result[0])
        await writer.submit([changes.suspend("bob@example.com", "why", NOW)])
        await writer.close()

    run(scenario())
    assert len(desk.book) == 3
    book = AccountBook()
    with closing(open_database(path, create=False)) as connection:
        book.load(connection)
    desk.book = book
    suspended = book.get("bob@example.com")
    assert suspended is not None
    assert suspended.suspended_reason == "why"
    assert run(desk.authenticator().verify(ALICE, PASSWORD)) == Claim(ALICE)
