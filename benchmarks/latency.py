"""How long a client waits between its final dot and the 250, while the relay works at full speed and somebody watches it.

The load is that of the relay measurement, from a client that notes the time of each message; Postlatch's dashboard is fetched
every second meanwhile.

    python benchmarks/latency.py [--messages 10000] [--rounds 5] [--sessions 50] [--json]
"""

from __future__ import annotations

import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from bench.command import run_alone
from bench.figures import OURS, THEIRS, Aim, Plan, Row
from bench.load import run_load
from bench.servers import RECIPIENT, SENDER, Postlatch, postfix
from postlatch.testing.peers.sink import CountingSink


class _Pages:
    """What became of the dashboard."""

    def __init__(self) -> None:
        self.fetched = 0
        self.failed: list[str] = []


def measure(plan: Plan) -> list[Row]:
    """The 99th percentile and the median, and the rate of the same client."""
    rows = [
        Row("latency_p99", "Final dot to 250 under full load, 99th percentile", "ms", Aim(50, ratio=False, least=False)),
        Row("latency_p50", "Final dot to 250 under full load, median", "ms"),
        Row("latency_rate", "Accepted meanwhile", "messages/s"),
    ]
    messages = plan.count(10_000)
    pages = _Pages()
    with tempfile.TemporaryDirectory(prefix="postlatch-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        ours, theirs = stack.enter_context(CountingSink()), stack.enter_context(CountingSink())
        relay = stack.enter_context(Postlatch(folder / OURS, next_hop=ours.port))
        peer = stack.enter_context(postfix(folder / THEIRS, theirs.port))
        turns = {
            OURS: partial(_watched, plan, relay, ours, messages, pages),
            THEIRS: partial(_round, plan, peer.port, theirs, messages // 3),
        }
        plan.take_turns(turns, {row.key: row for row in rows})
    if pages.failed:
        raise RuntimeError(f"the dashboard failed {len(pages.failed)} times: {pages.failed[0]}")
    rows[0].notes.append(f"The dashboard was fetched {pages.fetched} times, once a second.")
    return rows


def _round(plan: Plan, port: int, sink: CountingSink, messages: int) -> dict[str, float]:
    before = sink.messages
    load = run_load("mail", port, sessions=plan.sessions, count=messages, size=plan.size, sender=SENDER, recipient=RECIPIENT)
    sink.wait_for(before + messages, 300)
    return {"latency_p99": load.p99_ms, "latency_p50": load.p50_ms, "latency_rate": load.rate}


def _watched(plan: Plan, relay: Postlatch, sink: CountingSink, messages: int, pages: _Pages) -> dict[str, float]:
    with _dashboard(f"http://127.0.0.1:{relay.port('http')}/", pages):
        return _round(plan, relay.port("relay"), sink, messages)


@contextmanager
def _dashboard(url: str, pages: _Pages) -> Iterator[None]:
    """Fetch the page every second."""
    done = threading.Event()

    def look() -> None:
        while True:
            try:
                with urllib.request.urlopen(url, timeout=10) as page:
                    page.read()
                pages.fetched += 1
            except (OSError, urllib.error.URLError) as error:
                pages.failed.append(str(error))
            if done.wait(1.0):
                return

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(15)


if __name__ == "__main__":
    sys.exit(run_alone(measure, __doc__))
