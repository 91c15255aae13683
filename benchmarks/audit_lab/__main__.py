"""What is the truth, what says the auditor, what says nmap? ``python benchmarks/audit_lab [--only TEXT] [--json FILE]``.

Each server is started for real, with its mail for others going to the audit's canary; then it is asked by ``postlatch audit``
and by nmap's smtp-open-relay. Exit status 1 if a verdict of ours is wrong, an "open" has no delivered message, or an audit took
more than ten seconds or sixty messages. Needs root, Debian's postfix, dovecot-core, haproxy and nmap, and what ``install.sh``
and ``benchmarks/install_peers.sh`` unpack.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1]))

from audit_lab.exims import EXIMS
from audit_lab.masked import MASKED
from audit_lab.others import OTHERS
from audit_lab.postfixes import POSTFIXES
from audit_lab.run import audit, nmap
from audit_lab.small import SMALL
from audit_lab.values import Absent, Lab, Running, Server
from postlatch.testing.peers.ports import free_port

_SERVERS = (*POSTFIXES, *EXIMS, *OTHERS, *MASKED, *SMALL)
_LONGEST, _MOST = 10, 60  # seconds and messages that an audit may take if it is not a deep one
_COLUMNS = "{:24} {:13} {:13} {:3} {:5} {:7} {:>6} {:>5} {:>5}  {}"


class Row(NamedTuple):
    """What came out for one server. ``nmap`` is its verdict in a word; ``seconds`` ours."""

    name: str
    truth: str
    why: str
    verdict: str
    evidence: str
    grade: str
    nmap: str
    seconds: float
    messages: int
    connections: int
    right: bool
    result: dict[str, Any]

    @property
    def unproved(self) -> bool:
        """Open without a message that arrived?"""
        return self.verdict == "open" and self.evidence != "E4"


def main() -> int:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="servers whose name has this in it")
    parser.add_argument("--json", type=Path, help="write all results there")
    parser.add_argument("--deep", action="store_true", help="audit with --deep")
    chosen = parser.parse_args()
    print(_COLUMNS.format("server", "truth", "verdict", "ev", "grade", "nmap", "s", "msgs", "conns", "why"), flush=True)
    rows = list(_rows([server for server in _SERVERS if chosen.only in server.name], deep=chosen.deep))
    if chosen.json:
        chosen.json.write_text(json.dumps([row._asdict() for row in rows], indent=1))
    return _summary(rows, deep=chosen.deep)


def _rows(servers: Iterable[Server], *, deep: bool) -> Iterable[Row]:
    for server in servers:
        with tempfile.TemporaryDirectory(prefix="audit-lab") as folder:
            Path(folder).chmod(0o755)
            lab = Lab(Path(folder), free_port())
            try:
                with server.start(lab) as running:
                    row = _ask(server, running, lab, deep=deep)
            except Absent as absent:
                print(f"{server.name:24} not here: {absent}", flush=True)
                continue
        _print(row)
        yield row


def _ask(server: Server, running: Running, lab: Lab, *, deep: bool) -> Row:
    target, seconds = audit(server.name, running, lab, deep=deep)
    return Row(
        server.name,
        "/".join(server.truth),
        server.why,
        target["verdict"],
        target["evidence"],
        target["grade"],
        nmap(running),
        seconds,
        target["messages"],
        target["connections"],
        target["verdict"] in server.truth,
        target,
    )


def _print(row: Row) -> None:
    mark = "" if row.right else "WRONG "
    texts = (row.name, row.truth, row.verdict, row.evidence, row.grade, row.nmap)
    print(_COLUMNS.format(*texts, f"{row.seconds:.1f}", row.messages, row.connections, mark + row.why), flush=True)


def _by_program(rows: list[Row]) -> Iterable[str]:
    """The table of the docs."""
    yield "| Server | Configurations | Open | Found open | nmap finds | Others | Called open by nmap | Seconds |"
    yield "|---|---|---|---|---|---|---|---|"
    for program in dict.fromkeys(row.name.split()[0] for row in rows):
        own = [row for row in rows if row.name.split()[0] == program]
        opened = [row for row in own if row.truth == "open"]
        others = [row for row in own if row.truth != "open"]
        seconds = [row.seconds for row in own]
        found, nmap_finds = sum(row.verdict == "open" for row in opened), sum(row.nmap == "open" for row in opened)
        counts = (len(own), len(opened), found, nmap_finds, len(others), sum(row.nmap == "open" for row in others))
        cells = (program, *map(str, counts), f"{min(seconds):.1f} to {max(seconds):.1f}")
        yield f"| {' | '.join(cells)} |"


def _summary(rows: list[Row], *, deep: bool) -> int:
    print("\n".join(_by_program(rows)))
    wrong = [row for row in rows if not row.right]
    unproved = [row for row in rows if row.unproved]
    open_ones = [row for row in rows if row.truth == "open"]
    others = [row for row in rows if row.truth != "open"]
    missed = sum(row.nmap != "open" for row in open_ones)
    falsely = sum(row.nmap == "open" for row in others)
    print(
        f"{len(rows)} servers, {len(open_ones)} open. Wrong verdicts: {len(wrong)}; open without a delivery: {len(unproved)}."
    )
    print(f"nmap: {missed} of {len(open_ones)} open ones not found, {falsely} of {len(others)} others called open.")
    slow = [row.name for row in rows if not deep and (row.seconds > _LONGEST or row.messages > _MOST)]
    if slow:
        print(f"Over {_LONGEST} s or {_MOST} messages: {', '.join(slow)}.")
    if rows:
        slowest = max(rows, key=lambda row: row.seconds)
        print(f"Slowest {slowest.seconds:.1f} s ({slowest.name}); most messages {max(row.messages for row in rows)}.")
    return 1 if wrong or unproved or slow or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
