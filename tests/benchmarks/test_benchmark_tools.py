"""The small C programs of the benchmarks: they do what the figures suppose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.load import auth_plain, idle_sessions, run_load
from bench.processes import forget_peak, peak_resident, proportional_memory, resident, tree
from bench.slow_sync import SlowSync
from postlatch.testing.peers.recorder import RecordingSink

pytestmark = pytest.mark.skipif(shutil.which("cc") is None and shutil.which("gcc") is None, reason="needs a C compiler")

SYNC = "import os,sys,time\nf=open(sys.argv[1],'wb')\nfor _ in range(10): os.fsync(f.fileno()); os.fdatasync(f.fileno())\n"


def test_the_load_generator_sends_as_many_messages_as_asked_over_kept_connections() -> None:
    with RecordingSink() as sink:
        load = run_load("mail", sink.port, sessions=3, count=20, size=2000)
        assert sink.subjects == ["benchmark"] * 20
    assert load.done == 20
    assert 0 < load.p50_ms <= load.p99_ms
    assert load.started + load.seconds <= time.monotonic()


def test_the_load_generator_opens_a_connection_for_each_message() -> None:
    with RecordingSink() as sink:
        assert run_load("mail", sink.port, sessions=3, count=20, keep=0).done == 20
        assert len(sink.subjects) == 20


def test_a_reply_that_was_not_expected_ends_the_measurement() -> None:
    with RecordingSink() as sink:
        sink.answer = "451 4.3.0 not now"
        with pytest.raises(RuntimeError, match="expected 250, got: 451"):
            run_load("mail", sink.port, sessions=1, count=2)


def test_idle_sessions_are_there_until_they_are_let_go() -> None:
    with RecordingSink() as sink, idle_sessions(sink.port, 5):
        assert sink.subjects == []


def test_the_initial_response_of_auth_plain() -> None:
    assert auth_plain("a", "b") == "AGEAYg=="


@pytest.mark.parametrize("serialised", [False, True])
def test_a_slow_sync_takes_its_time_and_serialised_ones_wait_for_each_other(tmp_path: Path, serialised: bool) -> None:
    slow = SlowSync(tmp_path / "sync", seconds=0.01, serialised=serialised)
    started = time.monotonic()
    running = [
        subprocess.Popen([*slow.command_prefix(), sys.executable, "-c", SYNC, tmp_path / str(number)]) for number in range(3)
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    taken = time.monotonic() - started
    assert taken >= (3 if serialised else 1) * 20 * 0.01


def test_a_process_that_was_not_slowed_down_is_noticed(tmp_path: Path) -> None:
    slow = SlowSync(tmp_path, serialised=False)
    with subprocess.Popen([*slow.command_prefix(), "sleep", "30"]) as slowed:
        try:
            time.sleep(0.3)
            assert slow.demand_loaded([slowed.pid]) == {"sleep"}
            with pytest.raises(RuntimeError, match=str(os.getpid())):
                slow.demand_loaded([slowed.pid, os.getpid()])
        finally:
            slowed.terminate()


def test_memory_is_counted_for_a_whole_tree_of_processes() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 30 & wait"]) as parent:
        try:
            time.sleep(0.3)
            pids = tree(parent.pid)
            assert len(pids) == 2
            assert proportional_memory(pids) > proportional_memory(pids[1:]) > 0
        finally:
            for pid in reversed(tree(parent.pid)):
                os.kill(pid, 15)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_peak_of_memory_is_seen_after_it_is_over() -> None:
    forget_peak(os.getpid())
    before = resident(os.getpid())
    block = bytearray(os.urandom(1024)) * (48 * 1024)
    del block
    assert peak_resident(os.getpid()) - before > 32 * 1024 * 1024
