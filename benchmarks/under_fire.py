"""A user's mail while strangers attack: thousands of slow connections and a flood of refused relays at full speed.

    python benchmarks/under_fire.py [--minutes 2] [--slow 5000] [--flood 50] [--connections auto] [--json]

A user logs in over STARTTLS and sends a message, again and again. Printed: how long that took, who was shed and why, the
relay's memory over time, exceptions in its log. The exit status is 1 if a bound is broken: p99 of the message (MAIL to its 250)
under one second, memory at the end at most 15 % and 32 MiB above that of the middle, no exception, no message of the user
refused.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import smtplib
import ssl
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from postlatch.testing.peers.fire import Fire
from postlatch.testing.running import ACCOUNT, BASE, PASSWORD, RunningRelay

_BODY = (
    b"From: alice@example.com\r\nTo: bob@example.com\r\nSubject: from a user\r\n\r\n"
    + b"Some words of text.\r\n" * 200
    + b".\r\n"
)
_TROUBLE = re.compile(r"Traceback|exception|never retrieved", re.IGNORECASE)
_PAUSE = 0.2  # seconds between two messages of the user
BOUND = 1.0
_SHED = re.compile(r'^postlatch_shed_total\{listener="([^"]*)",reason="([^"]*)"\} (\S+)', re.MULTILINE)
_GAUGE = re.compile(r'^postlatch_(stress|loop_lag_seconds|store_lag_seconds|in_use\{what="\w+"\}) (\S+)', re.MULTILINE)


@dataclass
class Times:
    """Seconds of each of the user's messages."""

    login: list[float] = field(default_factory=list)  # connection to 235
    message: list[float] = field(default_factory=list)  # MAIL to the 250 of the body
    dot: list[float] = field(default_factory=list)  # the dot to its 250
    failures: list[str] = field(default_factory=list)

    def send(self, port: int, context: ssl.SSLContext) -> None:
        """One login and one message."""
        try:
            self._send(port, context)
        except (OSError, smtplib.SMTPException) as error:
            self.failures.append(f"{type(error).__name__}: {error}"[:200])

    def _send(self, port: int, context: ssl.SSLContext) -> None:
        started = time.monotonic()
        with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
            client.starttls(context=context)
            client.login(ACCOUNT, PASSWORD)
            ready = time.monotonic()
            for command, expected in ((f"MAIL FROM:<{ACCOUNT}>", 250), ("RCPT TO:<bob@example.com>", 250), ("DATA", 354)):
                code, text = client.docmd(command)
                if code != expected:
                    raise smtplib.SMTPResponseException(code, text)
            dot = time.monotonic()
            client.send(_BODY)
            code, text = client.getreply()
            if code != 250:
                raise smtplib.SMTPResponseException(code, text)
            done = time.monotonic()
        self.login.append(ready - started)
        self.message.append(done - ready)
        self.dot.append(done - dot)


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and the worst, in seconds."""
    if len(values) < 2:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 4), "p99": round(cuts[98], 4), "max": round(max(values), 4)}


def resident(pid: int) -> int:
    """Octets of memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def scrape(port: int) -> str:
    """The metrics; empty if the page does not answer in time."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return ""


def configuration(connections: str) -> str:
    """The test's configuration, with the guard rails of every day."""
    text = BASE.replace("connections = 1000\n", "connections = 100\n").replace(
        'commands = ["1000000/minute"]\n', 'commands = ["6000/minute"]\n'
    )
    cap = f'"{connections}"' if connections == "auto" else connections
    return f'{text}\n[overload]\nconnections = {cap}\n\n[log]\nlevel = "warning"\n'


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start everything, send for so many minutes, count."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    context = ssl._create_unverified_context()
    times, calm = Times(), Times()
    memory: list[tuple[float, int]] = []
    gauges: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="postlatch-fire-") as name:
        folder = Path(name)
        with RunningRelay(folder, configuration(options.connections)) as relay:
            relay.add_account()
            pid = relay.children()["relay"]
            submission, http, mx = relay.port("submission"), relay.port("http"), relay.port("mx")
            for _ in range(20):
                calm.send(submission, context)
            idle = resident(pid)
            started = time.monotonic()
            with Fire("slow", mx, options.slow) as slow, Fire("flood", mx, options.flood) as flood:
                next_look = 0.0
                while (now := time.monotonic() - started) < options.minutes * 60:
                    times.send(submission, context)
                    if now >= next_look:
                        next_look = now + max(2.0, options.minutes)
                        memory.append((round(now, 1), resident(pid)))
                        for gauge, value in _GAUGE.findall(scrape(http)):
                            gauges[gauge] = max(gauges.get(gauge, 0.0), float(value))
                    time.sleep(_PAUSE)
                attackers = {"slow": slow.stop(), "flood": flood.stop()}
            shed = {f"{listener} {reason}": int(float(value)) for listener, reason, value in _SHED.findall(scrape(http))}
            memory.append((round(time.monotonic() - started, 1), resident(pid)))
        log = relay.read_log()
    return {
        "schema": "postlatch.benchmark/1",
        "what": f"{options.slow} slow connections and {options.flood} flooding ones for {options.minutes:g} minutes",
        "cores": os.cpu_count(),
        "messages": len(times.message),
        "failures": times.failures[:20],
        "seconds": {name: percentiles(getattr(times, name)) for name in ("login", "message", "dot")},
        "seconds_in_calm": {name: percentiles(getattr(calm, name)) for name in ("login", "message", "dot")},
        "shed": shed,
        "worst": gauges,
        "refused_per_second": round(attackers["flood"].get("550", 0) / (options.minutes * 60)),
        "attackers": attackers,
        "memory_mib": {
            "idle": round(idle / 2**20, 1),
            "start": _mib(memory, 0.1),
            "middle": _mib(memory, 0.5),
            "end": round(memory[-2][1] / 2**20, 1),
            "after": round(memory[-1][1] / 2**20, 1),
        },
        "memory_over_time": [(at, round(octets / 2**20, 1)) for at, octets in memory],
        "exceptions": len(_TROUBLE.findall(log)),
        "log": log[-2000:] if _TROUBLE.search(log) else "",
    }


def _mib(memory: list[tuple[float, int]], part: float) -> float:
    return round(memory[int((len(memory) - 1) * part)][1] / 2**20, 1)


def broken(result: dict[str, Any]) -> list[str]:
    """The bounds that do not hold, as sentences."""
    found = []
    if (p99 := result["seconds"]["message"]["p99"]) >= BOUND:
        found.append(f"p99 of a user's message is {p99} s, not under {BOUND} s")
    middle, end = result["memory_mib"]["middle"], result["memory_mib"]["end"]
    if end > middle * 1.15 + 32:
        found.append(f"memory grew from {middle} MiB in the middle to {end} MiB at the end")
    if result["exceptions"]:
        found.append(f"{result['exceptions']} exceptions in the log")
    if result["failures"] or not result["messages"]:
        found.append(f"{len(result['failures'])} messages of the user were not accepted, {result['messages']} were")
    return found


def main() -> int:
    """Parse, run, print; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--slow", type=int, default=5000)
    parser.add_argument("--flood", type=int, default=50)
    parser.add_argument("--connections", default="auto", help='overload.connections: a number, or "auto"')
    parser.add_argument("--json", action="store_true", help="print the JSON object alone")
    options = parser.parse_args()
    result = run(options)
    result["broken"] = broken(result)
    print(json.dumps(result))
    if not options.json:
        print(f"\n{result['what']}, {result['cores']} cores; {result['messages']} messages of the user")
        print(f"  {'':10} {'p50':>8} {'p99':>8} {'max':>8}   {'p50 in calm':>12}")
        for name, found in result["seconds"].items():
            calm = result["seconds_in_calm"][name]["p50"]
            print(f"  {name:10} {found['p50']:8.3f} {found['p99']:8.3f} {found['max']:8.3f}   {calm:12.3f}")
        print(f"  refused relays a second: {result['refused_per_second']}; exceptions: {result['exceptions']}")
        print(f"  shed: {result['shed']}")
        print(f"  memory, MiB: {result['memory_mib']}")
        print(f"  worst: {result['worst']}")
        print("\n".join(f"BROKEN: {sentence}" for sentence in result["broken"]) or "  every bound holds")
    return 1 if result["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
