"""Submission as people use it: STARTTLS, AUTH PLAIN, then many 4 KB messages over kept connections, relayed to a sink.

Postfix asks Dovecot, with the same argon2id hash. Both allow the account its own sender only.

    python benchmarks/starttls_auth.py [--messages 4000] [--rounds 5] [--sessions 50] [--json]
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.command import run_alone
from bench.figures import OURS, THEIRS, Aim, Plan, Row
from bench.load import auth_plain, run_load
from bench.logged_in import LOGINS_AT_ONCE, start_ours, start_theirs
from bench.servers import RECIPIENT, SENDER
from postlatch.testing.peers.sink import CountingSink
from postlatch.testing.running import PASSWORD


def measure(plan: Plan) -> list[Row]:
    """Relayed, accepted, and what the client itself took."""
    rows = [
        Row("submitted", "Relayed end to end, STARTTLS and AUTH, kept connections", "messages/s", Aim(4)),
        Row("submitted_accepted", "Accepted meanwhile, STARTTLS and AUTH, kept connections", "messages/s"),
        Row("submitted_client", "The client's own share of one core meanwhile", "%"),
    ]
    messages = plan.count(4000)
    with tempfile.TemporaryDirectory(prefix="postlatch-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        ours, theirs = stack.enter_context(CountingSink()), stack.enter_context(CountingSink())
        turns = {
            OURS: partial(_round, plan, start_ours(stack, folder, ours.port, cache=True), ours, messages),
            THEIRS: partial(_round, plan, start_theirs(stack, folder, theirs.port, cache=True), theirs, messages),
        }
        plan.take_turns(turns, {row.key: row for row in rows})
    return rows


def _round(plan: Plan, port: int, sink: CountingSink, messages: int) -> dict[str, float]:
    """The clock starts when all sessions are logged in: logins are measured by themselves."""
    before = sink.messages
    load = run_load(
        "mail",
        port,
        sessions=plan.sessions,
        opening=LOGINS_AT_ONCE,
        count=messages,
        size=plan.size,
        sender=SENDER,
        recipient=RECIPIENT,
        tls=1,
        auth=auth_plain(SENDER, PASSWORD),
    )
    last = sink.wait_for(before + messages, 300)
    return {
        "submitted": messages / (last - load.started),
        "submitted_accepted": load.rate,
        "submitted_client": load.cpu * 100,
    }


if __name__ == "__main__":
    sys.exit(run_alone(measure, __doc__))
