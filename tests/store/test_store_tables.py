"""The small tables, and the lock of the data directory."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from postlatch.store import bans, counters, meta, rights
from postlatch.store.bans import Ban
from postlatch.store.database import StoreError, open_database
from postlatch.store.lock import Held, acquire
from postlatch.store.meta import Run
from postlatch.store.rights import StoredRight


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(open_database(tmp_path / "postlatch.db", create=True)) as connection:
        yield connection


def test_meta_remembers_the_last_value(connection: sqlite3.Connection) -> None:
    assert meta.get(connection, "a") is None
    meta.put("a", "1")(connection)
    meta.put("a", "2")(connection)
    assert meta.get(connection, "a") == "2"


def test_a_run_is_clean_only_if_the_one_before_it_ended_itself(connection: sqlite3.Connection) -> None:
    assert meta.begin_run(connection) == Run(1, clean=True), "there was none before it"
    assert meta.begin_run(connection) == Run(2, clean=False), "the first was killed"
    meta.end_run(2)(connection)
    assert meta.begin_run(connection) == Run(3, clean=True)
    meta.end_run(2)(connection)
    assert meta.begin_run(connection) == Run(4, clean=False), "an older run's word does not count"


def test_a_right_is_added_renewed_and_revoked(connection: sqlite3.Connection) -> None:
    rights.add("printers", "{}", now=1.0, by="ops")(connection)
    assert rights.load(connection) == [StoredRight("printers", "{}", 1.0, "ops")]
    assert rights.replace("printers", '{"a": 1}')(connection)
    assert rights.load(connection)[0].body == '{"a": 1}'
    assert rights.revoke("printers", now=2.0)(connection)
    assert rights.load(connection) == []
    assert not rights.revoke("printers", now=3.0)(connection)
    assert not rights.replace("printers", "{}")(connection), "a revoked right is not brought back by renewing it"


def test_a_name_is_taken_only_while_its_right_is_in_force(connection: sqlite3.Connection) -> None:
    rights.add("printers", "{}", now=1.0, by="ops")(connection)
    with pytest.raises(StoreError, match="there is a right 'printers' already"):
        rights.add("printers", "[]", now=2.0, by="eve")(connection)
    assert rights.load(connection) == [StoredRight("printers", "{}", 1.0, "ops")]
    rights.revoke("printers", now=2.0)(connection)
    rights.add("printers", "[]", now=3.0, by="eve")(connection)
    assert rights.load(connection) == [StoredRight("printers", "[]", 3.0, "eve")]


def test_the_last_use_of_a_right_never_goes_back(connection: sqlite3.Connection) -> None:
    rights.record_usage({"printers": 5.0, "web": 1.0})(connection)
    rights.record_usage({"printers": 3.0, "web": 2.0})(connection)
    assert rights.load_usage(connection) == {"printers": 5.0, "web": 2.0}


def test_a_ban_is_replaced_lifted_and_lapses(connection: sqlite3.Connection) -> None:
    short, endless = Ban("192.0.2.1/32", 10.0, "guessing", 1.0), Ban("198.51.100.0/24", None, "by hand", 1.0)
    for ban in (short, endless, short._replace(until=20.0)):
        bans.add(ban)(connection)
    assert bans.load(connection) == [short._replace(until=20.0), endless]
    assert bans.prune(19.0)(connection) == []
    assert bans.prune(20.0)(connection) == ["192.0.2.1/32"]
    assert bans.remove("198.51.100.0/24")(connection)
    assert not bans.remove("198.51.100.0/24")(connection)
    assert bans.load(connection) == []


def test_counters_are_saved_over_each_other_and_deleted(connection: sqlite3.Connection) -> None:
    counters.save([("a", "[1]"), ("b", "[2]")])(connection)
    counters.save([("a", "[3]")])(connection)
    assert sorted(counters.load(connection)) == [("a", "[3]"), ("b", "[2]")]
    counters.delete(["a", "absent"])(connection)
    assert counters.load(connection) == [("b", "[2]")]


def test_a_second_process_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with acquire(tmp_path), pytest.raises(Held, match=f"is in use by process {os.getpid()}") as caught:
        acquire(tmp_path)
    assert caught.value.pid == os.getpid()
    acquire(tmp_path).close()


def test_the_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from postlatch.store.lock import acquire\n"
        "lock = acquire(Path(sys.argv[1])); print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "locked\n"
        with pytest.raises(Held) as caught:
            acquire(tmp_path)
        assert caught.value.pid == child.pid
        child.kill()
        child.wait()
    acquire(tmp_path).close()


def test_a_child_that_inherits_the_lock_keeps_it(tmp_path: Path) -> None:
    lock = acquire(tmp_path, inheritable=True)
    program = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, pass_fds=[lock.descriptor]) as child:
        lock.close()
        with pytest.raises(Held):
            acquire(tmp_path)
        assert child.stdin is not None
        child.stdin.close()
        child.wait()
    acquire(tmp_path).close()


def test_a_lock_file_without_a_process_id_is_no_puzzle(tmp_path: Path) -> None:
    with acquire(tmp_path):
        (tmp_path / "postlatch.lock").write_text("")
        with pytest.raises(Held, match="another process"):
            acquire(tmp_path)


def test_a_directory_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="check data_dir"):
        acquire(tmp_path / "absent")
