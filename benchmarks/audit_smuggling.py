"""Does the auditor know who can be smuggled to? ``python benchmarks/audit_smuggling.py [--json FILE]``.

Postfix with smtpd_forbid_bare_newline no, yes and normalize, aiosmtpd 1.4.4 (CVE-2024-27305) and 1.4.6, Exim with Debian's
patch for CVE-2023-51766: each is asked by ``postlatch audit``, and Postfix once more by ``--deep``, which must end within three
minutes. Exit status 1 if an answer is wrong. Needs what the audit lab needs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1]))

from audit_lab.exims import EXIMS
from audit_lab.postfixes import postfix
from audit_lab.run import Asked, audit
from audit_lab.small import aiosmtpd
from audit_lab.values import Absent, Lab, Running, Server
from postlatch.testing.peers.ports import free_port

_FINDING: Final = "audit.smuggling"
_LONGEST_DEEP: Final = 180  # seconds


class Row(NamedTuple):
    """What came out. ``ends``: what was taken for the end of a message, and is none."""

    name: str
    truth: str
    said: str
    ends: str
    seconds: float
    messages: int
    right: bool


@contextmanager
def _postfix(lab: Lab, forbid: str) -> Iterator[Running]:
    with postfix(lab, {"smtpd_forbid_bare_newline": forbid}) as running:
        yield running


_VULNERABLE: Final = "vulnerable"
_SAFE: Final = "safe"
_NO: Final = Server("postfix no", (_VULNERABLE,), "Postfix takes a bare line feed", partial(_postfix, forbid="no"))
_SERVERS: Final = (
    _NO,
    Server("postfix yes", (_SAFE,), "a bare line feed ends the session", partial(_postfix, forbid="yes")),
    Server("postfix normalize", (_SAFE,), "only CR LF . CR LF ends a message", partial(_postfix, forbid="normalize")),
    Server("aiosmtpd 1.4.4", (_VULNERABLE,), "CVE-2024-27305", partial(aiosmtpd, folder="aiosmtpd-1.4.4")),
    Server("aiosmtpd 1.4.6", (_SAFE,), "its repair", aiosmtpd),
    Server("exim", (_SAFE,), "patched for CVE-2023-51766", EXIMS[0].start),
)


def main() -> int:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write all results there")
    chosen = parser.parse_args()
    columns = "{:24} {:11} {:11} {:>6} {:>5}  {}"
    print(columns.format("server", "truth", "said", "s", "msgs", "taken for an end"), flush=True)
    rows = []
    for server, deep in [*((server, False) for server in _SERVERS), *((server, True) for server in _SERVERS[:3])]:
        try:
            row = _row(server, _ask(server, deep=deep), deep=deep)
        except Absent as absent:
            print(f"{server.name:24} not here: {absent}", flush=True)
            continue
        mark = "" if row.right else "WRONG "
        print(columns.format(row.name, row.truth, row.said, f"{row.seconds:.1f}", row.messages, mark + row.ends), flush=True)
        rows.append(row)
    if chosen.json:
        chosen.json.write_text(json.dumps([row._asdict() for row in rows], indent=1))
    print(f"{len(rows)} audits, {sum(not row.right for row in rows)} wrong.")
    return 0 if rows and all(row.right for row in rows) else 1


def _ask(server: Server, *, deep: bool) -> Asked:
    with tempfile.TemporaryDirectory(prefix="audit-smuggling") as folder:
        Path(folder).chmod(0o755)
        lab = Lab(Path(folder), free_port())
        with server.start(lab) as running:
            return audit(server.name, running, lab, deep=deep)


def _row(server: Server, asked: Asked, *, deep: bool) -> Row:
    result = asked.result
    said = _VULNERABLE if any(_is_bad(finding) for finding in result["findings"]) else _SAFE
    vectors = [vector for vector in result["vectors"] if vector["id"].startswith("F")]
    ends = " ".join(vector["how"] for vector in vectors if vector["stand"] == "broke")
    undecided = [vector["how"] for vector in vectors if vector["stand"] not in {"broke", "held"}]
    if undecided:
        ends += f" (no answer: {' '.join(undecided)})"
    right = said == server.truth[0] and not undecided and (not deep or asked.seconds <= _LONGEST_DEEP)
    name = f"{server.name}{' --deep' if deep else ''}"
    return Row(name, server.truth[0], said, ends, asked.seconds, result["messages"], right)


def _is_bad(finding: dict[str, Any]) -> bool:
    return bool(finding["id"] == _FINDING and finding["severity"] in {"critical", "high", "medium"})


if __name__ == "__main__":
    sys.exit(main())
