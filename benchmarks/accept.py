"""Durable accept with delivery held on every side: how fast mail goes into the queue when nothing takes it out.

Postfix puts each message into its hold queue (an access map answers HOLD): its queue manager never sees it, which is the least
that it can do. Postlatch has the destination paused by an operator. Between rounds both queues are emptied.

    python benchmarks/accept.py [--messages 5000] [--rounds 5] [--sessions 50] [--json]
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench import rivals
from bench.command import run_alone
from bench.figures import OURS, THEIRS, Aim, Plan, Row
from bench.servers import DOMAIN, RECIPIENT, SENDER, Postlatch, postfix
from postlatch.testing.peers.sink import send_load

_SLOW = 3  # the others get a third of the messages, so that a round does not wait for them


def measure(plan: Plan) -> list[Row]:
    """One row."""
    row = Row("accept", "Accepted durably, delivery held", "messages/s", Aim(5))
    messages = plan.count(5000)
    with tempfile.TemporaryDirectory(prefix="postlatch-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        hole = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1))  # takes connections, and says nothing
        next_hop = int(hole.getsockname()[1])
        relay = stack.enter_context(Postlatch(folder / OURS, next_hop=next_hop))
        paused = relay.run("destination", "pause", DOMAIN, "--reason", "benchmark").returncode == 0
        if not paused:
            row.notes.append("Postlatch's next hop takes connections and never answers: it cannot pause a destination.")
        peer = stack.enter_context(
            postfix(folder / THEIRS, next_hop, {"smtpd_end_of_data_restrictions": "check_client_access static:HOLD"})
        )
        turns: dict[str, Callable[[], Mapping[str, float]]] = {
            OURS: partial(_round, plan, relay.port("relay"), messages, lambda: _empty(relay) if paused else None),
            THEIRS: partial(_round, plan, peer.port, messages, peer.drop_queue),
        }
        if plan.peers:
            row.absent = rivals.absent()
            for rival in {"haraka", "aiosmtpd"} - set(row.absent):
                port = rivals.start(stack, folder, rival, next_hop, deliver=False)
                turns[rival] = partial(_round, plan, port, messages // _SLOW, lambda: None)
        plan.take_turns(turns, {row.key: row})
    return [row]


def _round(plan: Plan, port: int, messages: int, empty: Callable[[], None]) -> dict[str, float]:
    started = time.monotonic()
    send_load(port, messages=messages, sessions=plan.sessions, size=plan.size, sender=SENDER, recipient=RECIPIENT)
    seconds = time.monotonic() - started
    empty()
    return {"accept": messages / seconds}


def _empty(relay: Postlatch) -> None:
    done = relay.run("queue", "delete", "--domain", DOMAIN)
    if done.returncode:
        raise RuntimeError(f"the queue could not be emptied: {done.stderr}")


if __name__ == "__main__":
    sys.exit(run_alone(measure, __doc__))
