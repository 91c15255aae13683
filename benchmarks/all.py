"""All measurements in one run, beside Postfix (and Haraka and aiosmtpd, where benchmarks/install_peers.sh was run).

Needs root, Debian's Postfix and Dovecot (script/bootstrap dev) and a C compiler. Servers take turns in each round; medians are
compared. --json keeps the whole report; --markdown puts the table between the markers of a page, and may be given twice;
--from FILE takes a report that was kept, instead of measuring. Status 1 if an aim is missed.

    python benchmarks/all.py [--quick] [--rounds 5] [--only NAME]… [--json FILE] [--markdown FILE]… [--plot FILE] [--from FILE]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import accept
import large
import latency
import logins
import memory
import refusals
import relay
import starttls_auth
import sync2ms
from bench.command import Measure, get_ready, make_parser, make_plan
from bench.figures import Plan, Row
from bench.machine import describe
from bench.report import as_json, as_markdown, as_text, put_between_markers, rows_of
from plot import draw

MEASUREMENTS: Mapping[str, Measure] = {
    "relay": relay.measure,
    "accept": accept.measure,
    "starttls_auth": starttls_auth.measure,
    "logins": logins.measure,
    "refusals": refusals.measure,
    "memory": memory.measure,
    "large": large.measure,
    "latency": latency.measure,
    "sync2ms": sync2ms.measure,
}


def _parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__)
    parser.add_argument("--only", choices=list(MEASUREMENTS), action="append", help="this measurement; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", action="append", default=[], help="put the table into this page"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it there, as SVG")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="report", help="report again what --json kept")
    return parser


def _measure(names: list[str], plan: Plan) -> tuple[list[Row], list[str]]:
    """What was found, and what failed: one measurement that fails does not end the others."""
    rows, failed = [], []
    for name in names:
        plan.say(f"== {name}")
        started = time.monotonic()
        try:
            rows += MEASUREMENTS[name](plan)
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:  # TimeoutError is an OSError
            failed.append(f"{name}: {error}")
            plan.say(f"== {failed[-1]}")
        plan.say(f"== {name} took {time.monotonic() - started:.0f} s")
    return rows, failed


def _publish(options: argparse.Namespace, report: Mapping[str, Any], plan: Plan) -> None:
    rows, machine = rows_of(report), report["machine"]
    print(as_text(rows, machine, plan))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    for page in options.markdown:
        text = page.read_text("utf-8")
        page.write_text(put_between_markers(text, as_markdown(rows, machine, plan)), "utf-8")
    if options.plot:
        options.plot.write_text(draw(report), "utf-8")


def main() -> int:
    """Measure (or read), report."""
    options = _parser().parse_args()
    if options.report:
        report = json.loads(options.report.read_text("utf-8"))
        _publish(options, report, Plan(rounds=report["rounds"], quick=report["quick"]))
        return 0
    get_ready()
    plan = make_plan(options)
    machine = describe()
    rows, failed = _measure(options.only or list(MEASUREMENTS), plan)
    _publish(options, as_json(rows, machine, plan), plan)
    for words in failed:
        print(f"FAILED {words}", file=sys.stderr)
    return int(bool(failed) or any(row.reached() is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
