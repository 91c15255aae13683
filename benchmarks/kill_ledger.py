"""kill -9 under load, again and again, and what became of everything that was acknowledged.

Two recipients a message, one in a Maildir and one at a next hop; what was delivered is counted there, not asked of the relay.
It is killed under load, while it delivers, and while it starts and recovers. The exit status is 1 if anything was lost, if
anything was delivered twice without being flagged, or if more was than had its final dot on the way at a kill.

    python benchmarks/kill_ledger.py [--cycles 200] [--seed 1] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from postlatch.testing.ledger import run_cycles


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which it is killed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="postlatch-ledger-") as name:
        ledger = run_cycles(Path(name), options.cycles, random.Random(options.seed))
    figures = ledger.summary() | {"seconds": round(time.monotonic() - began, 1)}
    if options.json:
        print(json.dumps({"schema": "postlatch.kill-ledger/1", **figures}))
    else:
        for label, figure in figures.items():
            print(f"{label.replace('_', ' '):<24} {figure:>10}")
    for recipient in ledger.lost:
        print(f"LOST {recipient}", file=sys.stderr)
    return int(not ledger.good)


if __name__ == "__main__":
    sys.exit(main())
