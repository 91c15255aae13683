"""Logins a second: connect, STARTTLS with a full handshake, EHLO, AUTH PLAIN, QUIT; against Postfix with Dovecot.

Both keep the same argon2id hash (19 MiB, two passes, one lane). Caches off: every login is a hash. Caches on: Postlatch
remembers for five minutes that a password was right; Dovecot's cache keeps the hash, and computes it all the same. Dovecot
checks passwords from SQLite in several processes if its driver is installed, those of a passwd file in one.

    python benchmarks/logins.py [--messages 200] [--rounds 5] [--json]
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
from bench.servers import SENDER
from postlatch.testing.peers.sasl import dovecot_has_sqlite
from postlatch.testing.peers.sink import CountingSink
from postlatch.testing.running import PASSWORD


def measure(plan: Plan) -> list[Row]:
    """Caches off and on; with several processes of Dovecot, and caches off with one."""
    on = Row("logins_cached", "Logins (STARTTLS, AUTH), caches on", "logins/s", Aim(1.5))
    off = Row("logins", "Logins (STARTTLS, AUTH), caches off", "logins/s", Aim(1.5))
    one = Row("logins_passwd_file", "Logins, caches off, Dovecot with a passwd file", "logins/s", Aim(1.5))
    _measure(plan, on, plan.count(300), cache=True, workers=True)
    if dovecot_has_sqlite():
        _measure(plan, off, plan.count(200), cache=False, workers=True)
    else:
        off.absent[THEIRS] = "Debian's dovecot-sqlite is not installed, and without it one process checks all passwords"
    _measure(plan, one, plan.count(200), cache=False, workers=False)
    return [on, off, one]


def _measure(plan: Plan, row: Row, logins: int, *, cache: bool, workers: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="postlatch-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        sink = stack.enter_context(CountingSink())
        ours = start_ours(stack, folder, sink.port, cache=cache)
        theirs = start_theirs(stack, folder, sink.port, workers=workers, cache=cache)
        turns = {OURS: partial(_round, row.key, ours, logins), THEIRS: partial(_round, row.key, theirs, logins)}
        plan.take_turns(turns, {row.key: row})


def _round(key: str, port: int, logins: int) -> dict[str, float]:
    load = run_load("login", port, sessions=LOGINS_AT_ONCE, count=logins, tls=1, auth=auth_plain(SENDER, PASSWORD))
    return {key: load.rate}


if __name__ == "__main__":
    sys.exit(run_alone(measure, __doc__))
