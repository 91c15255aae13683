"""The relay measurement with a disk that takes 2 ms longer to sync, for both sides, by a preload library (slow_sync.c).

A virtual disk that syncs in a tenth of a millisecond flatters whoever syncs every message. Twice: syncs of different processes
overlap, as on a good SSD; and one waits for the other, as where one journal or one head serves all.

    python benchmarks/sync2ms.py [--messages 2500] [--rounds 5] [--sessions 50] [--json]
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.command import run_alone
from bench.figures import OURS, THEIRS, Aim, Plan, Row
from bench.processes import tree
from bench.servers import Postlatch, postfix
from bench.slow_sync import SlowSync
from postlatch.testing.peers.postfix import Postfix
from postlatch.testing.peers.sink import CountingSink
from relay import run_round

_POSTFIX_PROGRAMS = {"master", "smtpd", "cleanup", "qmgr", "smtp"}


def measure(plan: Plan) -> list[Row]:
    """Overlapping, then serialised."""
    overlapping = Row("sync_overlapping", "Relayed, syncs 2 ms longer, overlapping", "messages/s", Aim(4))
    serialised = Row("sync_serialised", "Relayed, syncs 2 ms longer, one after the other", "messages/s", Aim(10))
    also = Row("sync_overlapping_accepted", "Accepted meanwhile, syncs overlapping", "messages/s")
    too = Row("sync_serialised_accepted", "Accepted meanwhile, syncs one after the other", "messages/s")
    _measure(plan, overlapping, also, plan.count(2500), serialised=False)
    _measure(plan, serialised, too, plan.count(1500), serialised=True)
    return [overlapping, also, serialised, too]


def _measure(plan: Plan, relayed: Row, accepted: Row, messages: int, *, serialised: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="postlatch-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)  # Postfix's daemons open what is in it
        ours, theirs = stack.enter_context(CountingSink()), stack.enter_context(CountingSink())
        slow = {server: SlowSync(folder / f"{server}-sync", serialised=serialised) for server in (OURS, THEIRS)}
        relay = stack.enter_context(Postlatch(folder / OURS, next_hop=ours.port, prefix=slow[OURS].command_prefix()))
        peer = stack.enter_context(postfix(folder / THEIRS, theirs.port, slow[THEIRS].postfix_settings()))
        send = partial(run_round, plan, messages=messages, keep=True, keys=(accepted.key, relayed.key))
        seen: set[str] = set()
        turns = {
            OURS: partial(send, relay.port("relay"), ours),
            THEIRS: partial(_checked, peer, seen, partial(send, peer.port, theirs)),
        }
        slow[OURS].demand_loaded([relay.relay_pid()])
        plan.take_turns(turns, {row.key: row for row in (relayed, accepted)})
    if missing := _POSTFIX_PROGRAMS - seen:
        raise RuntimeError(f"not seen slowed down in any round: {sorted(missing)}")


def _checked(peer: Postfix, seen: set[str], turn: partial[dict[str, float]]) -> dict[str, float]:
    """A turn of Postfix, after which each of its processes must be found slowed down. Some may have ended by then."""
    found = turn()
    seen |= SlowSync.demand_loaded(tree(peer.master()))
    return found


if __name__ == "__main__":
    sys.exit(run_alone(measure, __doc__))
