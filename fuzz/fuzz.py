"""Runs the targets, some at a time, for their share of the time, and prints what came of them. Called by script/fuzz."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parent / "src"
TARGETS = (
    "engine",
    "client",
    "address",
    "headers",
    "config",
    "journal",
    "spf",
    "spf_macro",
    "dkim",
    "dmarc",
    "authres",
    "arc",
    "reports",
    "proxy",
    "way_out",
)
MAX_INPUT = 8192  # octets
STUCK = 20  # seconds for one input
MEMORY = 2048  # MiB
_COVERAGE = re.compile(r"cov: (\d+).*corp: (\d+)/")
_STAT = re.compile(r"stat::(\w+):\s+(\d+)")
_HEADINGS = ("target", "executions", "a second", "corpus", "coverage", "found")


@dataclass(frozen=True)
class Result:
    """What came of one target."""

    target: str
    executions: int
    rate: int
    corpus: int
    coverage: int
    crashes: tuple[Path, ...]
    output: str

    @property
    def row(self) -> tuple[str, ...]:
        """For the table."""
        numbers = (self.executions, self.rate, self.corpus, self.coverage)
        return (self.target, *(f"{number:,}" for number in numbers), str(len(self.crashes)))


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 if any target found something, or did not run at all."""
    options = _parser().parse_args(arguments)
    targets = options.target or list(TARGETS)
    share = max(1, int(options.minutes * 60 * options.processes / len(targets)))
    _say(f"{len(targets)} targets, {share} seconds each, {options.processes} at a time")
    with ThreadPoolExecutor(options.processes) as pool:
        results = list(pool.map(lambda target: fuzz(target, share), targets))
    _table([_HEADINGS, *(result.row for result in results)])
    bad = [result for result in results if result.crashes or not result.executions]
    for result in bad:
        _explain(result)
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="script/fuzz", description="Fuzz every parser that a stranger reaches.")
    parser.add_argument("--minutes", type=float, default=60, help="for all targets together (60)")
    parser.add_argument("--target", action="append", choices=TARGETS, help="only this one; may be repeated")
    parser.add_argument("--processes", type=int, default=2, help="targets at a time (2)")
    return parser


def fuzz(target: str, seconds: int) -> Result:
    """Run one target. Its corpus is kept between runs, so that each goes on where the last one ended."""
    script, corpus, crashes = HERE / f"fuzz_{target}.py", HERE / "corpus" / target, HERE / "crashes"
    crashes.mkdir(parents=True, exist_ok=True)
    before = set(crashes.iterdir())
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}:{HERE}"}
    subprocess.run([sys.executable, script, "--seeds", corpus], env=environment, check=True)  # noqa: S603
    command = [
        *(sys.executable, str(script), str(corpus)),
        *(f"-max_total_time={seconds}", f"-max_len={MAX_INPUT}", f"-timeout={STUCK}", f"-rss_limit_mb={MEMORY}"),
        *(f"-artifact_prefix={crashes}/{target}-", "-print_final_stats=1"),
    ]
    environment["POSTLATCH_FUZZ"] = "1"
    done = subprocess.run(  # noqa: S603
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, cwd=HERE
    )
    output = done.stdout.decode("utf-8", "replace")
    found = tuple(sorted(path for path in set(crashes.iterdir()) - before if path.name.startswith(f"{target}-")))
    stats = {name: int(value) for name, value in _STAT.findall(output)}
    coverage, size = ([(0, 0), *((int(a), int(b)) for a, b in _COVERAGE.findall(output))])[-1]
    rate = stats.get("average_exec_per_sec", 0)
    result = Result(target, stats.get("number_of_executed_units", 0), rate, size, coverage, found, output)
    _say(f"{target}: done, status {done.returncode}")
    return result


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        _say("  ".join([first.strip().ljust(widths[0]), *rest]))


def _explain(result: Result) -> None:
    _say(f"\n{result.target}: " + "\n".join(result.output.splitlines()[-60:]))
    for path in result.crashes:
        _say(f"{path}\n{path.read_bytes().hex()}")
        _say(f"again: PYTHONPATH=src:fuzz POSTLATCH_FUZZ=1 .venv-fuzz/bin/python fuzz/fuzz_{result.target}.py {path}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
