"""Does the linter for Postfix say what Postfix does? ``lint_life.py --count 300``: so many random configurations, for real.

For each client of each service: whether anything got through, and what the linter says. Prints a table and every
disagreement; exit status 1 if there is one. Needs Debian's postfix and root.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "integration"))

from postfix_lottery import Lottery, Outcome, draw


def main() -> int:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="how many configurations")
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    chosen = parser.parse_args()
    counts: Counter[str] = Counter()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lint-life") as folder:
        lottery = Lottery(Path(folder))
        with lottery.peer:
            for seed in range(chosen.seed, chosen.seed + chosen.count):
                for outcome in lottery.outcomes(draw(seed)):
                    counts[_kind(outcome)] += 1
                    if not outcome.agree:
                        print(f"DISAGREE {outcome}", flush=True)
    print(f"{chosen.count} configurations, {sum(counts.values())} clients of services, {time.monotonic() - begun:.0f} s")
    for kind in ("both: open", "both: closed", "linter undecided", "DISAGREE"):
        print(f"{counts[kind]:6}  {kind}")
    return 1 if counts["DISAGREE"] else 0


def _kind(outcome: Outcome) -> str:
    if not outcome.agree:
        return "DISAGREE"
    if not outcome.decided:
        return "linter undecided"
    return "both: open" if outcome.life else "both: closed"


if __name__ == "__main__":
    sys.exit(main())
