"""One message of 25 MB: how long until its 250, and how much memory the relay needs for it while it takes it and passes it on.

python benchmarks/large.py [--size 26214400] [--rounds 5] [--json]
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.command import run_alone
from bench.figures import OURS, THEIRS, Aim, Plan, Row
from bench.load import run_load
from bench.processes import forget_peak, peak_resident, resident
from bench.servers import RECIPIENT, SENDER, Postlatch, postfix
from postlatch.testing.peers.sink import CountingSink

_USUAL = 25 * 1024 * 1024
_DEFAULT_SIZE = 4096  # of all measurements: here it means that nothing was asked for


def measure(plan: Plan) -> list[Row]:
    """Time and memory."""
    size = _USUAL if plan.size == _DEFAULT_SIZE else plan.size
    title = f"One message of {size / 1024 / 1024:g} MB"
    seconds = Row("large_seconds", f"{title}, until its 250", "s", Aim(1.5, least=False))
    memory = Row("large_memory", f"{title}, memory that it adds", "MB", Aim(16, ratio=False, least=False))
    with tempfile.TemporaryDirectory(prefix="postlatch-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        ours, theirs = stack.enter_context(CountingSink()), stack.enter_context(CountingSink())
        relay = stack.enter_context(Postlatch(folder / OURS, next_hop=ours.port))
        peer = stack.enter_context(postfix(folder / THEIRS, theirs.port, {"message_size_limit": str(size + 1_000_000)}))
        turns = {
            OURS: partial(_ours, relay, ours, size, resident(relay.relay_pid())),
            THEIRS: partial(_send, peer.port, theirs, size),
        }
        plan.take_turns(turns, {row.key: row for row in (seconds, memory)})
    return [seconds, memory]


def _send(port: int, sink: CountingSink, size: int) -> dict[str, float]:
    before = sink.messages
    load = run_load("mail", port, sessions=1, count=1, size=size, sender=SENDER, recipient=RECIPIENT)
    sink.wait_for(before + 1, 60)
    return {"large_seconds": load.seconds}


def _ours(relay: Postlatch, sink: CountingSink, size: int, before: int) -> dict[str, float]:
    """The peak until the next hop has it, less what the process had ``before`` its first message."""
    pid = relay.relay_pid()
    forget_peak(pid)
    found = _send(relay.port("relay"), sink, size)
    return {**found, "large_memory": max(peak_resident(pid) - before, 0) / 1024 / 1024}


if __name__ == "__main__":
    sys.exit(run_alone(measure, __doc__))
