"""The command line that all measurements have in common."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

from bench.figures import Plan, Row
from bench.machine import describe
from bench.report import as_json, as_text

Measure = Callable[[Plan], list[Row]]


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """With the options that make a plan."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of everything, two rounds: a look, not a result")
    parser.add_argument("--rounds", type=int, default=0, help="rounds that count; one more before is a warm-up (default 5)")
    parser.add_argument("--sessions", type=int, default=50, help="connections of the client at once (default 50)")
    parser.add_argument("--size", type=int, default=4096, help="octets of a message (default 4096)")
    parser.add_argument("--messages", type=int, default=0, help="messages (or logins, or refusals) of a round")
    parser.add_argument("--no-peers", action="store_true", help="only Postfix to compare with")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    return parser


def make_plan(options: argparse.Namespace) -> Plan:
    """What was asked for."""
    return Plan(
        rounds=options.rounds or (2 if options.quick else 5),
        quick=options.quick,
        sessions=options.sessions,
        size=options.size,
        messages=options.messages,
        peers=not options.no_peers,
        say=(lambda _: None) if options.quiet else _progress,
    )


def get_ready() -> None:
    """Demand root, which Postfix, Dovecot and clear_refs need; see to it that SIGTERM leaves no server behind."""
    if os.geteuid() != 0:
        sys.exit("The benchmarks start Postfix and Dovecot, and read other processes' memory: run them as root.")
    os.environ["PATH"] += os.pathsep + "/usr/sbin"
    signal.signal(signal.SIGTERM, _end)


def run_alone(measure: Measure, description: str | None, arguments: Sequence[str] | None = None) -> int:
    """One measurement as a command of its own; 1 if it falls short of an aim."""
    parser = make_parser(description)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    get_ready()
    plan = make_plan(options)
    machine = describe()
    rows = measure(plan)
    print(json.dumps(as_json(rows, machine, plan)) if options.json else as_text(rows, machine, plan))
    return int(any(row.reached() is False for row in rows))


def _end(number: int, _frame: object) -> None:
    """As an exception, so that every server's context is left."""
    sys.exit(128 + number)


def _progress(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)
