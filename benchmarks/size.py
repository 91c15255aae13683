"""What a million deferred recipients cost: start, claims, mail beside them, listings, and what the file gives back.

Rows are written by the queue's own schema, with its triggers and indexes; bodies too. The relay is the real program: killed
and started, and for the rates two of them beside each other, one with an empty queue, in turns. Medians; ratios count.

    python benchmarks/size.py [--recipients 1000000] [--destinations 100000] [--body 1024] [--rounds 5] [--folder DIR] [--json]

Needs some gigabytes in --folder (the temporary directory by default) and Postfix's smtp-source and smtp-sink.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from postlatch.app import control
from postlatch.model.ids import IdSource, format_id
from postlatch.spool import admin, claims
from postlatch.spool.priority import Shares
from postlatch.spool.queue import QueueFilter
from postlatch.store.database import open_database, rest, shrink
from postlatch.testing.peers.sink import CountingSink, send_load
from postlatch.testing.running import RunningRelay

_CONFIG = """\
hostname = "bench.postlatch.test"
data_dir = "data"

[[listeners]]
name = "relay"
address = "127.0.0.1:0"
role = "relay"

[domains."example.com"]
deliver = "maildir:data/mail"
recipients = ["alice"]

[[rights]]
name = "bench"
networks = ["127.0.0.1/32"]
listeners = ["relay"]
owner = "ops@example.com"
expires = 2099-12-31
senders = ["@example.com"]
masked = "the benchmark's own client on loopback"
limits = { messages = ["100000000/day", "1000000/minute"], recipients = ["100000000/day"] }

[limits.client]
connections = 1000
commands = ["100000000/minute"]

[outbound.routes]
"elsewhere.example" = "smtp://127.0.0.1:SINK"

[alerts]
to = ["alice@example.com"]

[http]
address = "127.0.0.1:0"
"""

# One in ten urgent, two in ten bulk; due in an order that has nothing to do with that of arrival.
_MESSAGES = """
INSERT INTO messages SELECT value, 'sender' || (value % 5000) || '@example.com', 'sender' || (value % 5000), 'example.com', ?1,
  ?2, 'inline', randomblob(16), 0, 0, ?2, '8BITMIME', 0, '', '', 'relay', 'relay', '127.0.0.1', 'client.example.com', '',
  '<' || value || '@example.com>', '', NULL, CASE value % 10 WHEN 0 THEN 0 WHEN 1 THEN 2 WHEN 2 THEN 2 ELSE 1 END, NULL, 0, 0,
  ''
FROM json_each(?3)
"""
_BODIES = "INSERT INTO bodies SELECT value, randomblob(?1) FROM json_each(?2)"
_RECIPIENTS = """
INSERT INTO recipients (message, number, address, local, domain, destination, grant_reason, grant_ref, notify, orcpt,
  original_local, original_domain, state, attempts, due, last_reply, last_remote, possible_duplicate, warned, priority)
SELECT value, 0, 'somebody' || (value % 977) || '@' || d, 'somebody' || (value % 977), d, 'foreign', 'NETWORK', 'bench', '', '',
  '', '', 'deferred', 3, ?1 + (value % 1000003 * 7919 % 1000003) * ?2, '451 4.4.1 no answer from mx.' || d, 'mx.' || d, 0, 0,
  CASE value % 10 WHEN 0 THEN 0 WHEN 1 THEN 2 WHEN 2 THEN 2 ELSE 1 END
FROM (SELECT value, 'destination' || (value % 1000003 * 104729 % ?3) || '.example' AS d FROM json_each(?4))
"""
_CHUNK = 20_000
_HOUR = 3600.0
Answer = dict[str, Any]


def build(path: Path, recipients: int, destinations: int, body: int) -> list[int]:
    """Make a queue of that many deferred recipients, one a message, due in one to eleven hours; the ids in their order."""
    now = time.time()
    source = IdSource(lambda: now - 86_400, 7)
    ids = [source.next() for _ in range(recipients)]
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(open_database(path, create=True)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for start in range(0, recipients, _CHUNK):
            part = json.dumps(ids[start : start + _CHUNK])
            connection.execute("BEGIN")
            connection.execute(_MESSAGES, (now - 86_400, body, part))
            connection.execute(_BODIES, (body, part))
            connection.execute(_RECIPIENTS, (now + _HOUR, 10 * _HOUR / 1_000_003, destinations, part))
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    os.sync()
    return ids


def claim_cost(path: Path, batches: int = 30, batch: int = 256) -> dict[str, float]:
    """Microseconds for each message of a claim of 256, with its commit. What was claimed is given back.

    ``cpu`` beside ``wall``, because a shared machine stretches that; the commit writes a page a message, where the rows of
    a short queue share their pages.
    """
    far, shares, costs = time.time() + 1e6, Shares(), []
    with closing(open_database(path, create=False)) as connection:
        for _ in range(batches):
            started, used = time.perf_counter(), time.process_time()
            connection.execute("BEGIN IMMEDIATE")
            found = claims.claim_due(batch, far, 1, shares)(connection)
            connection.execute("COMMIT")
            if len(found) == batch:
                costs.append((time.perf_counter() - started, time.process_time() - used))
        claims.recover(time.time() + _HOUR, ())(connection)
    wall, cpu = (statistics.median(column) / batch * 1e6 for column in zip(*costs, strict=True))
    return {"wall": round(wall, 1), "cpu": round(cpu, 1)}


def timed(action: Callable[[], object]) -> float:
    """Seconds."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def start_times(relay: RunningRelay, rounds: int) -> dict[str, float]:
    """Median seconds from the command to the ready line: after a stop in good order, and after kill -9. It runs afterwards."""
    clean, killed = [], []
    relay.start(120)
    for _ in range(rounds):
        relay.stop()
        clean.append(timed(lambda: relay.start(120)))
        relay.kill()
        killed.append(timed(lambda: relay.start(120)))
    return {"clean": statistics.median(clean), "killed": statistics.median(killed)}


def rates(relays: dict[str, tuple[RunningRelay, CountingSink]], rounds: int, messages: int) -> dict[str, Any]:
    """Accepted and relayed messages a second of each relay, in turns; the first turn of each warms up and is not counted."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in relays}
    for number in range(rounds + 1):
        for name, (relay, sink) in relays.items():
            before, started = sink.messages, time.monotonic()
            port = relay.port("relay")
            send_load(
                port, messages=messages, sessions=50, size=4096, sender="alice@example.com", recipient="bob@elsewhere.example"
            )
            accepted = time.monotonic() - started
            relayed = sink.wait_for(before + messages, 300) - started
            if number:
                found[name].append((messages / accepted, messages / relayed))
    medians = {name: [statistics.median(f[i] for f in figures) for i in (0, 1)] for name, figures in found.items()}
    ratios = [[b[i] / a[i] for a, b in zip(found["empty"], found["full"], strict=True)] for i in (0, 1)]
    return {
        "accepted_per_second": {name: round(m[0], 1) for name, m in medians.items()},
        "relayed_per_second": {name: round(m[1], 1) for name, m in medians.items()},
        "ratio_accepted": round(statistics.median(ratios[0]), 3),
        "ratio_relayed": round(statistics.median(ratios[1]), 3),
    }


def questions(relay: RunningRelay, ids: list[int], rounds: int) -> dict[str, float]:
    """Milliseconds that the relay takes to answer what operators and dashboards ask."""
    middle = f"{format_id(ids[len(ids) // 2])}.0"
    asked: dict[str, tuple[str, Answer]] = {
        "list, first page": ("queue.list", {"limit": 100}),
        "list, page in the middle": ("queue.list", {"limit": 100, "after": middle}),
        "list, one destination of all": ("queue.list", {"limit": 100, "domain": "destination77.example"}),
        "list, held (there is none)": ("queue.list", {"limit": 100, "state": "held"}),
        "counts": ("queue.counts", {}),
        "metrics": ("metrics", {}),
        "status page": ("status", {}),
    }
    found = {}
    for name, (command, arguments) in asked.items():
        times = []
        for _ in range(rounds):
            started = time.perf_counter()
            answer = control.call(relay.data, command, arguments)
            times.append((time.perf_counter() - started) * 1000)
            if answer.status:
                raise RuntimeError(f"{command}: {answer.message}")
        found[name] = round(statistics.median(times), 1)
    return found


def hold_destination(relay: RunningRelay) -> dict[str, float]:
    """An action on one destination among all, by command: seconds, and recipients."""
    started = time.perf_counter()
    answer = control.call(relay.data, "queue.hold", {"domain": "destination77.example"}, 120.0)
    return {"seconds": round(time.perf_counter() - started, 2), "recipients": len(answer.data["changed"])}


def steps(connection: sqlite3.Connection, step: Callable[[], bool]) -> Iterator[float]:
    """Repeat a step, each in a transaction of its own, while it says that there is more; milliseconds of each."""
    more = True
    while more:
        started = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        more = step()
        connection.execute("COMMIT")
        yield (time.perf_counter() - started) * 1000


def empty(path: Path, bodies: Path, ids: list[int]) -> dict[str, Any]:
    """Delete everything, forget it, and give the room back, in the steps in which the relay does it."""
    before = path.stat().st_size
    found: dict[str, Any] = {"megabytes_before": round(before / 1e6, 1)}
    with closing(open_database(path, create=False)) as connection:
        todo = iter([ids[start : start + 250] for start in range(0, len(ids), 250)])

        def delete() -> bool:
            part = next(todo, None)
            if part is None:
                return False
            chosen = QueueFilter(ids=tuple(map(format_id, part)))
            admin.delete(chosen, time.time(), bodies)(connection)
            return True

        for name, step in (
            ("delete", delete),
            ("purge", lambda: claims.purge(time.time() + 1e6, 1000)(connection) > 0),
            ("shrink", lambda: shrink(connection) > 0),
        ):
            times = list(steps(connection, step))
            found[name] = {
                "steps": len(times),
                "seconds": round(sum(times) / 1000, 1),
                "median_ms": round(statistics.median(times), 1),
                "longest_ms": round(max(times), 1),
            }
        found["wal_megabytes"] = round(path.with_name(path.name + "-wal").stat().st_size / 1e6, 1)
        found["rest_seconds"] = round(timed(lambda: rest(path, time.time() + 60)), 2)
        found["megabytes_after"] = round(path.stat().st_size / 1e6, 1)
    return found


def measure(options: argparse.Namespace, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything, in its order."""
    result: dict[str, Any] = {"schema": "postlatch.benchmark.size/1", "recipients": options.recipients, "cores": os.cpu_count()}
    result["claim_us"] = {}
    for count in (1_000, 10_000, 100_000):
        if count < options.recipients:
            path = folder / f"queue-{count}" / "postlatch.db"
            build(path, count, max(1, count // 10), options.body)
            result["claim_us"][count] = claim_cost(path, 3 if count == 1_000 else 30)
    say("building the long queue")
    with ExitStack() as stack:
        sinks = {name: stack.enter_context(CountingSink()) for name in ("empty", "full")}
        relays = {
            name: (RunningRelay(folder / name, _CONFIG.replace("SINK", str(sink.port)), certificate=False), sink)
            for name, sink in sinks.items()
        }
        full, none = relays["full"][0], relays["empty"][0]
        database = full.data / "postlatch.db"
        started = time.monotonic()
        ids = build(database, options.recipients, options.destinations, options.body)
        say(f"built in {time.monotonic() - started:.0f} s, {database.stat().st_size / 1e6:.0f} MB")
        result["claim_us"][options.recipients] = claim_cost(database)
        stack.callback(full.stop)
        stack.callback(none.stop)
        result["start_seconds"] = {
            "empty": {k: round(v, 2) for k, v in start_times(none, 3).items()},
            "full": {k: round(v, 2) for k, v in start_times(full, 3).items()},
        }
        say(f"start: {result['start_seconds']}")
        time.sleep(options.settle)  # the check of the whole file in the background
        result["rates"] = rates(relays, options.rounds, options.messages)
        say(f"rates: {result['rates']}")
        result["answers_ms"] = questions(full, ids, options.rounds)
        result["hold_one_destination"] = hold_destination(full)
        result["check_whole"] = "damaged" not in full.read_log()
    result["empty"] = empty(database, full.data / "bodies", ids)
    return result


def show(result: dict[str, Any]) -> None:
    """A table for people."""
    print(f"{result['recipients']:,} deferred recipients, {result['cores']} cores")
    for count, cost in result["claim_us"].items():
        print(f"  claim, {count:>9,} in the queue          {cost['wall']:8.1f} µs a message, {cost['cpu']} of the processor")
    for name, times in result["start_seconds"].items():
        print(f"  start, {name} queue                 {times['clean']:8.2f} s, after kill -9 {times['killed']:.2f} s")
    found = result["rates"]
    for what in ("accepted", "relayed"):
        pair = found[f"{what}_per_second"]
        print(f"  {what}: empty {pair['empty']}, full {pair['full']} messages/s: ratio {found[f'ratio_{what}']}")
    for name, cost in result["answers_ms"].items():
        print(f"  {name:<32} {cost:8.1f} ms")
    hold = result["hold_one_destination"]
    print(f"  hold one destination                {hold['seconds']:5.2f} s, {hold['recipients']} recipients")
    room = result["empty"]
    print(f"  file: {room['megabytes_before']} MB, emptied {room['megabytes_after']} MB (WAL was {room['wal_megabytes']} MB)")
    for name in ("delete", "purge", "shrink"):
        row = room[name]
        print(
            f"    {name}: {row['steps']} steps, {row['seconds']} s, median {row['median_ms']}, longest {row['longest_ms']} ms"
        )


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipients", type=int, default=1_000_000)
    parser.add_argument("--destinations", type=int, default=100_000)
    parser.add_argument("--body", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--settle", type=float, default=30.0, help="seconds between the starts and the rates")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="postlatch-size-", dir=options.folder) as name:
        result = measure(options, Path(name), lambda line: print(line, file=sys.stderr, flush=True))
    if options.json:
        print(json.dumps(result))
    else:
        show(result)


if __name__ == "__main__":
    main()
