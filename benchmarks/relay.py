"""End-to-end relay rate: client → server (durable) → next hop, 4 KB messages, over kept connections and one a connection.

Every server relays from loopback to the same kind of sink; Postfix's own C tools send and count. Postlatch runs with its guard
rails on: a right with limits, the proof, the journal.

    python benchmarks/relay.py [--one-per-connection | --kept] [--messages 5000] [--rounds 5] [--sessions 50] [--json]
"""

from __future__ import annotations

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
from bench.servers import RECIPIENT, SENDER, Postlatch, postfix
from postlatch.testing.peers.sink import CountingSink, send_load

_SLOW = 3  # the others get a third of the messages, so that a round does not wait for them


def measure(plan: Plan) -> list[Row]:
    """Both ways."""
    return [*measure_kept(plan), *measure_each(plan)]


def measure_kept(plan: Plan) -> list[Row]:
    """Kept connections, beside all peers."""
    relayed = Row("relayed", "Relayed end to end, kept connections", "messages/s", Aim(5))
    accepted = Row("accepted", "Accepted meanwhile, kept connections", "messages/s")
    _measure(plan, relayed, accepted, plan.count(5000), keep=True, peers=plan.peers)
    return [relayed, accepted]


def measure_each(plan: Plan) -> list[Row]:
    """One message a connection, beside Postfix."""
    relayed = Row("relayed_each", "Relayed end to end, one message a connection", "messages/s", Aim(4))
    accepted = Row("accepted_each", "Accepted meanwhile, one message a connection", "messages/s")
    _measure(plan, relayed, accepted, plan.count(3000), keep=False, peers=False)
    return [relayed, accepted]


def _measure(plan: Plan, relayed: Row, accepted: Row, messages: int, *, keep: bool, peers: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="postlatch-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        ours, theirs = stack.enter_context(CountingSink()), stack.enter_context(CountingSink())
        port = stack.enter_context(Postlatch(folder / OURS, next_hop=ours.port)).port("relay")
        send = partial(run_round, plan, keep=keep, keys=(accepted.key, relayed.key))
        turns: dict[str, Callable[[], Mapping[str, float]]] = {
            OURS: partial(send, port, ours, messages=messages),
            THEIRS: partial(send, stack.enter_context(postfix(folder / THEIRS, theirs.port)).port, theirs, messages=messages),
        }
        if peers:
            relayed.absent = rivals.absent()
            relayed.notes += rivals.NOTES
            for rival in {"haraka", "aiosmtpd"} - set(relayed.absent):
                sink = stack.enter_context(CountingSink())
                turns[rival] = partial(send, rivals.start(stack, folder, rival, sink.port), sink, messages=messages // _SLOW)
        plan.take_turns(turns, {row.key: row for row in (relayed, accepted)})


def run_round(
    plan: Plan, port: int, sink: CountingSink, *, messages: int, keep: bool, keys: tuple[str, str]
) -> dict[str, float]:
    """Messages a second of one round: accepted, and relayed until the last one is at the sink."""
    before = sink.messages
    started = time.monotonic()
    send_load(port, messages=messages, sessions=plan.sessions, size=plan.size, sender=SENDER, recipient=RECIPIENT, keep=keep)
    accepted = time.monotonic()
    last = sink.wait_for(before + messages, 300)
    return {keys[0]: messages / (accepted - started), keys[1]: messages / (last - started)}


def _main() -> int:
    arguments = sys.argv[1:]
    for flag, chosen in {"--one-per-connection": measure_each, "--kept": measure_kept}.items():
        if flag in arguments:
            arguments.remove(flag)
            return run_alone(chosen, __doc__, arguments)
    return run_alone(measure, __doc__, arguments)


if __name__ == "__main__":
    sys.exit(_main())
