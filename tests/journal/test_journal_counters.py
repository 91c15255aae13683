from __future__ import annotations

import gc
import json
import sys
import threading

import pytest

from postlatch.journal.counters import Counters


def test_counts_add_up_by_name_and_labels() -> None:
    counters = Counters()
    counters.inc("a")
    counters.inc("a", amount=2)
    counters.inc("a", ("mx", "relay"))
    counters.set("b", 5)
    counters.set("b", 7.5)
    assert counters.snapshot() == [
        {"name": "a", "labels": [], "value": 3},
        {"name": "a", "labels": ["mx", "relay"], "value": 1},
        {"name": "b", "labels": [], "value": 7.5},
    ]


def test_a_histogram_counts_up_to_each_bound_inclusively() -> None:
    counters = Counters({"t": (1.0, 2.0)})
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        counters.observe("t", value)
    (sample,) = counters.snapshot()
    assert sample == {"name": "t", "labels": [], "value": 5, "sum": 14.0, "buckets": [(1.0, 2), (2.0, 4)]}


def test_a_histogram_without_bounds_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Counters({}).observe("t", 1)


def test_a_snapshot_passes_through_json() -> None:
    counters = Counters()
    counters.inc("a", ("x",))
    counters.observe("postlatch_commit_seconds", 0.001)
    back = json.loads(json.dumps(counters.snapshot()))
    assert [sample["name"] for sample in back] == ["a", "postlatch_commit_seconds"]
    assert back[1]["buckets"][0] == [0.0005, 0]


def test_the_total_of_a_counter_is_over_all_labels_behind_the_first() -> None:
    counters = Counters()
    counters.inc("a", ("mx", "relay"), 2)
    counters.inc("a", ("mx", "unknown user"), 3)
    counters.inc("a", ("relay", "relay"), 5)
    counters.inc("b", ("mx", "relay"), 7)
    assert counters.total("a", "mx") == 5
    assert counters.total("c", "mx") == 0


def test_a_snapshot_is_taken_while_another_thread_counts_new_names() -> None:
    counters = Counters()
    stop = threading.Event()

    def count() -> None:
        for number in range(20_000):
            counters.inc("a", (str(number),))
            if stop.is_set():
                return

    def collected(_phase: str, _info: dict[str, int]) -> None:
        sum(range(200))  # long enough for the interpreter to change threads in the middle of a collection

    thread = threading.Thread(target=count, daemon=True)
    interval = sys.getswitchinterval()
    gc.callbacks.append(collected)
    sys.setswitchinterval(1e-5)
    try:
        thread.start()
        while thread.is_alive():
            counters.snapshot()
            counters.total("a", "1")
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        gc.callbacks.remove(collected)
    thread.join()
    assert len(counters.snapshot()) == 20_000
