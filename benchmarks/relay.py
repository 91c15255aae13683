"""End-to-end relay rate beside Postfix, in one run: client → server (durable) → next hop, 4 KB messages.

Both servers relay from loopback to the same kind of sink, Postfix's own C tools send and count, rounds are interleaved, and
medians are compared as a ratio. Postlatch runs with its guard rails on: a right with limits, the proof, the journal.

    python benchmarks/relay.py [--messages 5000] [--rounds 5] [--sessions 50] [--size 4096] [--one-per-connection] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from postlatch.testing.peers.postfix import Postfix
from postlatch.testing.peers.sink import CountingSink, send_load
from postlatch.testing.running import RunningRelay

_CONFIG = """\
hostname = "bench.postlatch.test"
data_dir = "data"

[[listeners]]
name = "relay"
address = "127.0.0.1:0"
role = "relay"

[domains."example.com"]
deliver = "maildir:data/mail"
recipients = ["alice"]

[[rights]]
name = "bench"
networks = ["127.0.0.1/32"]
listeners = ["relay"]
owner = "ops@example.com"
expires = 2099-12-31
senders = ["@example.com"]
masked = "the benchmark's own client on loopback"
limits = { messages = ["100000000/day", "1000000/minute"], recipients = ["100000000/day"] }

[limits.client]
connections = 1000
commands = ["100000000/minute"]

[outbound.routes]
"elsewhere.example" = "smtp://127.0.0.1:SINK"

[alerts]
to = ["alice@example.com"]

[http]
address = "127.0.0.1:0"
"""


@contextmanager
def postlatch(folder: Path, sink: CountingSink) -> Iterator[int]:
    """Start Postlatch relaying to ``sink``; yields its port."""
    with RunningRelay(folder, _CONFIG.replace("SINK", str(sink.port)), certificate=False) as relay:
        yield relay.port("relay")


def measure(port: int, sink: CountingSink, options: argparse.Namespace) -> tuple[float, float]:
    """(accepted, relayed) messages a second of one round."""
    before = sink.messages
    started = time.monotonic()
    send_load(
        port,
        messages=options.messages,
        sessions=options.sessions,
        size=options.size,
        sender="alice@example.com",
        recipient="bob@elsewhere.example",
        keep=not options.one_per_connection,
    )
    accepted = time.monotonic()
    last = sink.wait_for(before + options.messages, 300)
    return options.messages / (accepted - started), options.messages / (last - started)


def run(options: argparse.Namespace) -> dict[str, object]:
    """Interleaved rounds; the first of each server is a warm-up and is not counted."""
    rates: dict[str, list[tuple[float, float]]] = {"postlatch": [], "postfix": []}
    with tempfile.TemporaryDirectory(prefix="postlatch-bench-") as name, ExitStack() as stack:
        ours, theirs = stack.enter_context(CountingSink()), stack.enter_context(CountingSink())
        ports = {
            "postlatch": (stack.enter_context(postlatch(Path(name) / "postlatch", ours)), ours),
            "postfix": (
                stack.enter_context(Postfix(Path(name) / "postfix", {"relayhost": f"[127.0.0.1]:{theirs.port}"})).port,
                theirs,
            ),
        }
        for number in range(options.rounds + 1):
            for server, (port, sink) in ports.items():
                figures = measure(port, sink, options)
                if number:
                    rates[server].append(figures)
    medians = {s: [round(statistics.median(f[i] for f in figures), 1) for i in (0, 1)] for s, figures in rates.items()}
    return {
        "schema": "postlatch.benchmark/1",
        "what": f"{options.messages} messages of {options.size} octets, {options.sessions} sessions, "
        + ("one message a connection" if options.one_per_connection else "kept connections"),
        "rounds": options.rounds,
        "cores": os.cpu_count(),
        "accepted_per_second": {s: m[0] for s, m in medians.items()},
        "relayed_per_second": {s: m[1] for s, m in medians.items()},
        "ratio_accepted": round(medians["postlatch"][0] / medians["postfix"][0], 2),
        "ratio_relayed": round(medians["postlatch"][1] / medians["postfix"][1], 2),
        "all_relayed": {s: [round(f[1], 1) for f in figures] for s, figures in rates.items()},
    }


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--one-per-connection", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = run(options)
    if options.json:
        print(json.dumps(result))
        return
    print(f"{result['what']}, {result['cores']} cores, medians of {result['rounds']}")
    for name in ("accepted_per_second", "relayed_per_second"):
        print(f"  {name}: {result[name]}")
    print(f"  ratio accepted {result['ratio_accepted']}, relayed end to end {result['ratio_relayed']} (Postlatch / Postfix)")


if __name__ == "__main__":
    main()
