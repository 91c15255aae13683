"""Salvage of databases that were damaged at random (RELIABILITY case 8): no exception, and all that is left is saved.

How much is left is known from SQLite's own ``dbstat``: a row may be lost with the page that holds it, or with one that holds a
part of it, and with no other.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from spool_contract import LARGE
from spool_tools import BODY, Relay, delivered, in_loop

from postlatch.journal.seal import Sealer
from postlatch.journal.verify import verify
from postlatch.model.events import Event
from postlatch.model.ids import format_id
from postlatch.store import schema
from postlatch.store.database import StoreError, check_whole, open_database
from postlatch.store.files import body_path
from postlatch.store.salvage import SalvageReport, salvage
from postlatch.testing.clock import FakeClock

pytestmark = pytest.mark.soak

PAGE = 4096
ROUNDS = int(os.environ.get("POSTLATCH_SALVAGE_ROUNDS", "40"))
TABLES = sorted(name for kind, name in schema.expected() if kind == "table" and name != "queue_counts")
ACCOUNT = """
INSERT INTO accounts VALUES (?, '$argon2id$', zeroblob(16), 4096, zeroblob(32), zeroblob(32), '[]', NULL, NULL, 1.0, 1.0, 1)
"""
NOT_HELD = """
SELECT 1 FROM messages WHERE finished_at IS NULL AND id NOT IN (SELECT message FROM recipients WHERE state = 'held')
"""


class Furnished(NamedTuple):
    """A stopped relay's folder, and what was in it."""

    path: Path
    whole: bytes
    rows: dict[str, set[tuple[Any, ...]]]
    pages: dict[int, tuple[str, str, int]]  # page → table, kind of page, cells

    @property
    def target(self) -> Path:
        return self.path.with_name("salvaged.db")

    def salvage(self, content: bytes) -> SalvageReport:
        """Of a file with this content; the file must be as it was afterwards, alone."""
        shutil.rmtree(self.path.with_name("salvaged.db.quarantine"), ignore_errors=True)
        self.target.unlink(missing_ok=True)
        self.path.write_bytes(content)
        try:
            return salvage(self.path, self.target)
        finally:
            assert self.path.read_bytes() == content
            names = {entry.name for entry in self.path.parent.iterdir()}
            assert names <= {"postlatch.db", "bodies", "salvaged.db", "salvaged.db.quarantine"}


def rows_of(path: Path) -> dict[str, set[tuple[Any, ...]]]:
    with closing(open_database(path, create=False)) as connection:
        return {table: set(connection.execute(f"SELECT * FROM {table}")) for table in TABLES}


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Furnished:
    folder = tmp_path_factory.mktemp("salvage") / "data"

    @in_loop
    async def fill() -> None:
        async with Relay(folder) as relay:
            for number in range(150):
                body = LARGE if number in {20, 90} else BODY * (1 + number % 150)
                await relay.accept("bob@example.com", *(f"x{n}@elsewhere.example" for n in range(number % 9)), body=body)
            for claim in relay.spool.take(30):
                await relay.finish(claim, *[delivered(r.number) for r in claim.recipients])
            relay.spool.take(5)  # under way when it stops

    fill()
    path = folder / "postlatch.db"
    with closing(open_database(path, create=False)) as connection:
        connection.execute("BEGIN")
        connection.executemany(ACCOUNT, [(f"user{n:03}@example.com",) for n in range(120)])
        connection.executemany("INSERT INTO rights VALUES (?, '{}', 1.0, 'ops', NULL)", [(f"right{n:03}",) for n in range(90)])
        connection.executemany("INSERT INTO bans VALUES (?, NULL, 'spam', 1.0)", [(f"10.{n}.0.0/16",) for n in range(200)])
        connection.executemany("INSERT INTO counters VALUES (?, '[]')", [(f"client:10.0.{n}.1",) for n in range(250)])
        connection.execute("COMMIT")
        clock = FakeClock()
        for number in range(300):
            clock.advance(600)
            connection.execute("BEGIN")
            events = [Event("message.accepted", clock.now(), {"message": f"{number}", "why": "x" * (number * 37 % 6000)})]
            Sealer("embedded", clock).seal(connection, events)
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        listed = connection.execute("SELECT pageno, name, pagetype, ncell FROM dbstat").fetchall()
    owner = {"messages_finished": "", "sqlite_schema": ""}
    pages = {page: (owner.get(name, name), kind, cells) for page, name, kind, cells in listed}
    return Furnished(path, path.read_bytes(), rows_of(path), pages)


def damaged_pages(before: bytes, after: bytes) -> set[int]:
    count = -(-len(before) // PAGE)
    return {n + 1 for n in range(count) if before[n * PAGE : (n + 1) * PAGE] != after[n * PAGE : (n + 1) * PAGE]}


def may_be_lost(found: Furnished, content: bytes) -> Counter[str]:
    """How many rows of each table the damaged pages held, or held a part of."""
    lost: Counter[str] = Counter()
    for page in damaged_pages(found.whole, content):
        table, kind, cells = found.pages.get(page, ("", "", 0))
        is_rowid = table in {"messages", "bodies", "journal_batches", "journal_segments", "delivered"}
        if kind == "overflow":
            lost[table] += 1
        elif kind == "leaf" or not is_rowid:
            lost[table] += cells
    return lost


def judged(found: Furnished, report: SalvageReport, content: bytes) -> None:
    """What was saved is ours, held, and complete as far as its pages are."""
    assert check_whole(found.target) == []
    saved, bound = rows_of(found.target), may_be_lost(found, content)
    quarantined: Counter[str] = Counter()
    if report.quarantine is not None:
        for line in (report.quarantine / "report.ndjson").read_bytes().splitlines():
            entry = json.loads(line)
            if "row" in entry:
                quarantined[entry["row"]] += 1
    keys = {table: 2 if table in {"recipients", "known_recipients"} else 1 for table in TABLES}
    for table in TABLES:
        there, was = ({row[: keys[table]] for row in rows[table]} for rows in (saved, found.rows))
        lost = len(was - there)
        if table == "bodies":  # those of messages that are lost are files in quarantine
            lost -= len(list((report.quarantine / "bodies").iterdir())) if report.quarantine else 0
        assert lost <= bound[table] + quarantined[table], (table, lost, bound, quarantined)
    with closing(open_database(found.target, create=False)) as connection:
        states = {state for (state,) in connection.execute("SELECT DISTINCT state FROM recipients")}
        assert states <= {"held", "delivered", "bounced", "deleted"}
        assert not connection.execute("SELECT 1 FROM recipients WHERE due IS NOT NULL").fetchall()
        assert not connection.execute(NOT_HELD).fetchall()
        counts = connection.execute("SELECT count(*) FROM recipients WHERE state = 'held'").fetchone()[0]
        assert counts == connection.execute("SELECT recipients FROM queue_counts WHERE state = 'held'").fetchone()[0]


def overwritten(rng: random.Random, whole: bytes) -> bytes:
    content = bytearray(whole)
    for _ in range(rng.choice((1, 1, 2, 5))):
        page = rng.randrange(len(whole) // PAGE)
        content[page * PAGE : (page + 1) * PAGE] = rng.choice((rng.randbytes(PAGE), bytes(PAGE), b"\xff" * PAGE))
    return bytes(content)


def flipped(rng: random.Random, whole: bytes) -> bytes:
    content = bytearray(whole)
    for _ in range(rng.choice((1, 3, 20, 200))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def truncated(rng: random.Random, whole: bytes) -> bytes:
    return whole[: rng.randrange(PAGE * 40, len(whole))]


def swapped(rng: random.Random, whole: bytes) -> bytes:
    """Two pages written to each other's place, as a broken disk controller does."""
    content = bytearray(whole)
    one, other = (rng.randrange(1, len(whole) // PAGE) * PAGE for _ in range(2))
    content[one : one + PAGE], content[other : other + PAGE] = whole[other : other + PAGE], whole[one : one + PAGE]
    return bytes(content)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("damage", [overwritten, flipped, truncated, swapped])
def test_whatever_happens_to_it_all_that_is_left_is_saved(
    furnished: Furnished, damage: Callable[[random.Random, bytes], bytes]
) -> None:
    hopeless = 0
    for seed in range(ROUNDS):
        content = damage(random.Random(seed), furnished.whole)
        try:
            report = furnished.salvage(content)
        except StoreError:
            assert not furnished.target.exists()
            hopeless += 1
            continue
        judged(furnished, report, content)
    assert hopeless <= ROUNDS // 20


def test_without_damage_everything_is_saved_as_it_was(furnished: Furnished) -> None:
    report = furnished.salvage(furnished.whole)
    assert (report.damaged, report.lost, report.quarantine) == ((), {}, None)
    saved = rows_of(furnished.target)
    assert {table: saved[table] for table in TABLES if table != "recipients"} == {
        table: furnished.rows[table] for table in TABLES if table != "recipients"
    }
    with closing(open_database(furnished.target, create=False)) as connection:
        assert verify(connection).ok
        assert verify(connection).events == 300 == report.events


@pytest.mark.parametrize("kind", ["root", "first"])
def test_a_page_that_leads_to_all_others_hides_nothing(furnished: Furnished, kind: str) -> None:
    """The roots of large tables, and the first page of the file: with a tree alone, everything would be lost."""
    furnished.path.write_bytes(furnished.whole)
    with closing(sqlite3.connect(f"{furnished.path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_schema WHERE type = 'table'"))
    broken = [roots["messages"], roots["bodies"], roots["recipients"], roots["journal_batches"]] if kind == "root" else [1]
    content = bytearray(furnished.whole)
    for page in broken:
        content[(page - 1) * PAGE : page * PAGE] = bytes(PAGE)
    report = furnished.salvage(bytes(content))
    judged(furnished, report, bytes(content))
    assert report.messages > 100


def test_what_is_only_in_the_wal_is_saved_and_the_wal_stays(furnished: Furnished, tmp_path: Path) -> None:
    path = tmp_path / "postlatch.db"
    path.write_bytes(furnished.whole)
    with closing(open_database(path, create=False)) as connection:
        connection.execute("INSERT INTO bans VALUES ('192.0.2.0/24', NULL, 'late', 2.0)")
        wal = (tmp_path / "postlatch.db-wal").read_bytes()
        content = path.read_bytes()
        copies = tmp_path / "crashed"
        copies.mkdir()
        (copies / "postlatch.db").write_bytes(content)
        (copies / "postlatch.db-wal").write_bytes(wal)
    report = salvage(copies / "postlatch.db", copies / "new.db")
    assert report.rows["bans"] == 201
    assert (copies / "postlatch.db").read_bytes() == content
    assert (copies / "postlatch.db-wal").read_bytes() == wal
    assert sorted(entry.name for entry in copies.iterdir() if "quarantine" not in entry.name) == [
        "new.db",
        "postlatch.db",
        "postlatch.db-wal",
    ]


def test_a_message_whose_body_is_damaged_or_gone_is_held_and_says_so(furnished: Furnished) -> None:
    furnished.path.write_bytes(furnished.whole)
    bodies = furnished.path.parent / "bodies"
    with closing(open_database(furnished.path, create=False)) as connection:
        sql = "SELECT id FROM messages WHERE finished_at IS NULL AND body_kind = ? ORDER BY id"
        [inline, other, *_] = [row[0] for row in connection.execute(sql, ("inline",))]
        [in_file] = [row[0] for row in connection.execute(sql, ("file",))][-1:]
        connection.execute("DELETE FROM bodies WHERE message = ?", (inline,))
        connection.execute("UPDATE bodies SET data = zeroblob(length(data)) WHERE message = ?", (other,))
    kept = body_path(bodies, in_file)
    text = kept.read_bytes()
    kept.write_bytes(text[:-1])
    try:
        report = furnished.salvage(furnished.path.read_bytes())
    finally:
        kept.write_bytes(text)
    assert report.without_body == 3
    with closing(open_database(furnished.target, create=False)) as connection:
        sql = "SELECT DISTINCT state, last_reply FROM recipients WHERE message = ? AND finished_at IS NULL"
        said = [connection.execute(sql, (message,)).fetchall() for message in (inline, other, in_file)]
    begin = "held: salvaged from a damaged database, and the body of this message"
    changed = f"{begin} is damaged: it is not what was stored"
    assert said == [[("held", f"{begin} could not be read")], [("held", changed)], [("held", changed)]]


def test_bodies_without_a_message_are_kept_where_no_start_removes_them(furnished: Furnished) -> None:
    furnished.path.write_bytes(furnished.whole)
    bodies = furnished.path.parent / "bodies"
    with closing(open_database(furnished.path, create=False)) as connection:
        lost = [row[0] for row in connection.execute("SELECT id FROM messages WHERE finished_at IS NULL")]
        connection.execute("DELETE FROM messages WHERE finished_at IS NULL")
    report = furnished.salvage(furnished.path.read_bytes())
    assert report.quarantine is not None
    assert report.messages == 0
    assert {path.stem for path in (report.quarantine / "bodies").iterdir()} == {format_id(message) for message in lost}
    assert any(path.read_bytes() == LARGE for path in (report.quarantine / "bodies").iterdir())
    assert all(body_path(bodies, message).exists() for message in lost if body_path(bodies, message).exists())
    entries = [json.loads(line) for line in (report.quarantine / "report.ndjson").read_bytes().splitlines()]
    assert {entry["values"]["address"] for entry in entries if entry.get("row") == "recipients"} >= {"bob@example.com"}
