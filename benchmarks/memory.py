"""Memory of an idle connection: 5,000 in plain text, 2,000 under TLS, each after its EHLO; physical memory of all processes.

Postfix has a process for each connection, so it is asked for fewer, and its figure is the same for each further one.

    python benchmarks/memory.py [--sessions N] [--json]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from bench.command import run_alone
from bench.figures import OURS, THEIRS, Aim, Plan, Row
from bench.load import idle_sessions
from bench.processes import proportional_memory, tree
from bench.servers import Postlatch, make_certificate, many_descriptors, postfix

_DEFAULT_SESSIONS = 50  # of all measurements: here it means that nothing was asked for
_FOR_POSTFIX = 200
_SETTLE = 1.0  # seconds for what was freed, and for timers


class _Server(NamedTuple):
    port: int
    pids: Callable[[], list[int]]


def measure(plan: Plan) -> list[Row]:
    """Plain and TLS. One round: a figure that does not vary needs no median."""
    plain = Row("memory_plain", "Memory of an idle connection, plain text", "KB", Aim(6, ratio=False, least=False))
    tls = Row("memory_tls", "Memory of an idle connection, TLS", "KB", Aim(64, ratio=False, least=False))
    room = many_descriptors() - 500
    for row, usual, under_tls in ((plain, 5000, 0), (tls, 2000, 1)):
        sessions = min(usual if plan.sessions == _DEFAULT_SESSIONS else plan.sessions, room)
        _measure(row, OURS, sessions, under_tls)
        _measure(row, THEIRS, _FOR_POSTFIX, under_tls)
        plan.say(f"{row.title}: {row.values}")
        row.notes.append(f"{sessions:,} connections of Postlatch, {_FOR_POSTFIX} of Postfix.")
    return [plain, tls]


def _measure(row: Row, server: str, sessions: int, under_tls: int) -> None:
    with tempfile.TemporaryDirectory(prefix="postlatch-bench-") as name, ExitStack() as stack:
        started = _postlatch(stack, Path(name)) if server == OURS else _postfix(stack, Path(name))
        # What the first connections load stays, and is no connection's.
        with idle_sessions(started.port, 10, tls=under_tls):
            pass
        time.sleep(_SETTLE)
        before = proportional_memory(started.pids())
        with idle_sessions(started.port, sessions, tls=under_tls):
            time.sleep(_SETTLE)
            row.add(server, (proportional_memory(started.pids()) - before) / sessions / 1024)


def _postlatch(stack: ExitStack, folder: Path) -> _Server:
    relay = stack.enter_context(Postlatch(folder / OURS, next_hop=9))
    assert relay.process is not None
    root = relay.process.pid
    return _Server(relay.port("submission"), lambda: tree(root))


def _postfix(stack: ExitStack, folder: Path) -> _Server:
    certificate, key = make_certificate(folder / "certificate")
    settings = {
        "smtpd_tls_security_level": "may",
        "smtpd_tls_cert_file": str(certificate),
        "smtpd_tls_key_file": str(key),
    }
    peer = stack.enter_context(postfix(folder / THEIRS, 9, settings, processes=_FOR_POSTFIX + 100))
    return _Server(peer.port, lambda: tree(peer.master()))


if __name__ == "__main__":
    sys.exit(run_alone(measure, __doc__))
