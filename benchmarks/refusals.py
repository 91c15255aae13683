"""Refusals of relay attempts, each recorded: a stranger names recipients elsewhere as fast as he can, twenty in one segment.

Postfix logs each in its mail log; Postlatch records each in its journal (beyond a thousand a second from one network as sums
with exact counts). Afterwards what was recorded is compared with what the client was refused: a difference is an error.

    python benchmarks/refusals.py [--messages 60000] [--rounds 5] [--json]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.command import run_alone
from bench.figures import OURS, THEIRS, Aim, Plan, Row
from bench.load import run_load
from bench.servers import RECIPIENT, STRANGER, Postlatch, postfix
from postlatch.testing.peers.postfix import Postfix

_BATCH = 20
_EACH = 900  # refusals of one connection: Postlatch allows 1,000 at most
_POSTFIX = {
    "mynetworks": "",
    "smtpd_relay_restrictions": "reject_unauth_destination",
    # By default it waits a second before each refusal from the tenth on, and hangs up at the twentieth.
    "smtpd_error_sleep_time": "0",
    "smtpd_soft_error_limit": "100000",
    "smtpd_hard_error_limit": "100000",
    "smtpd_client_connection_count_limit": "1000",
}


def measure(plan: Plan) -> list[Row]:
    """One row."""
    row = Row("refusals", "Relay attempts refused, each recorded", "refusals/s", Aim(1.5))
    refusals = plan.count(60_000)
    refusals -= refusals % _BATCH
    with tempfile.TemporaryDirectory(prefix="postlatch-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        relay = stack.enter_context(Postlatch(folder / OURS, next_hop=9))
        peer = stack.enter_context(postfix(folder / THEIRS, 9, _POSTFIX))
        told = {OURS: _in_journal(relay), THEIRS: _in_log(peer)}
        turns = {
            OURS: partial(_round, plan, relay.port("mx"), refusals),
            THEIRS: partial(_round, plan, peer.port, refusals),
        }
        plan.take_turns(turns, {row.key: row})
        expected = refusals * (plan.rounds + 1)
        for server, count in {OURS: partial(_in_journal, relay), THEIRS: partial(_in_log, peer)}.items():
            recorded = _settled(count, told[server] + expected) - told[server]
            if recorded != expected:
                raise RuntimeError(f"{server} refused {expected} recipients and recorded {recorded}")
        row.notes.append(f"{expected:,} refused by each, and as many recorded by each.")
    return [row]


def _round(plan: Plan, port: int, refusals: int) -> dict[str, float]:
    load = run_load(
        "refuse", port, sessions=plan.sessions, count=refusals, batch=_BATCH, each=_EACH, sender=STRANGER, recipient=RECIPIENT
    )
    return {"refusals": load.rate}


def _settled(count: Callable[[], int], expected: int) -> int:
    """Refusals may lag the disk a little: ask again until they are all there, or ten seconds have passed."""
    deadline = time.monotonic() + 10
    while (found := count()) < expected and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _in_log(peer: Postfix) -> int:
    return peer.log().count("NOQUEUE: reject: RCPT from")


def _in_journal(relay: Postlatch) -> int:
    """Refused recipients in the journal, one by one and in sums."""
    command = [sys.executable, "-m", "postlatch", "--config", str(relay.config), "journal", "export", "--json"]
    found = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=relay.folder) as export:
        assert export.stdout is not None
        for line in export.stdout:
            if b'"recipient.refused"' in line:
                event = json.loads(line)
                found += int(event.get("count", 1))
    if export.returncode:
        raise RuntimeError(f"journal export ended with status {export.returncode}")
    return found


if __name__ == "__main__":
    sys.exit(run_alone(measure, __doc__))
