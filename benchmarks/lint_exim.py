"""Does the linter say of Exim what Exim does? Random access control lists, judged by the linter and asked of a real Exim.

Exim plays each conversation itself (``exim -bh ADDRESS``): it walks its lists for that client, and sends nothing. For each
configuration and client the linter's answer for that client is compared with whether any of the senders got a foreign recipient
accepted. Needs Exim (Debian's exim4-daemon-light, which may be unpacked by ``dpkg -x``) and its user Debian-exim; runs as root.

    python benchmarks/lint_exim.py [--exim /usr/sbin/exim4] [--count 300] [--seed 1]
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from postlatch.audit.lint.exim import lint
from postlatch.audit.lint.problem import LintError

CLIENTS: Final = ("198.51.100.7", "192.0.2.9", "10.1.2.3", "203.0.113.130", "2001:db8::5")
SENDERS: Final = (
    "",
    "user@elsewhere.example",
    "boss@example.com",
    "postmaster@example.com",
    "x@partner.example",
    "a@b.partner.example",
    "postmaster@third-party.example",
    "postmaster@mx.example.com",
)
RECIPIENT: Final = "user@third-party.example"
HEAD: Final = """\
primary_hostname = mx.example.com
spool_directory = {spool}
log_file_path = {spool}/%slog
exim_user = Debian-exim
tls_advertise_hosts =
host_lookup =
rfc1413_hosts =
smtp_enforce_sync = false
"""
TAIL: Final = """
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = out
begin transports
out:
  driver = smtp
"""
_HOSTS: Final = (
    "*",
    "127.0.0.1",
    "192.0.2.0/24",
    "198.51.100.7",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "::::/0",
    "2001::db8::::/32",
    "203.0.113.128/25",
    "+nets",
    "+more",
    "@[]",
)
_DOMAINS: Final = (
    "*",
    "example.com",
    "third-party.example",
    "*.example",
    "@",
    "+ours",
    "+others",
    "^third",
    "\\N^.*\\.org$\\N",
    "*party.example",
)
_SENDERS: Final = (
    "*@example.com",
    "boss@example.com",
    "*",
    "",
    "^boss",
    "*@*.partner.example",
    "partner.example",
    "elsewhere.example",
    "*@+ours",
)
_PARTS: Final = ("user", "^u", "*er", "postmaster", "^[.] : ^.*[@%!/|]", "\\N^a+$\\N")
_TRUTHS: Final = (
    "yes",
    "no",
    "0",
    "1",
    "",
    "${if eq{a}{a}}",
    "${if eq{a}{b}{yes}{no}}",
    "${if and{{eq{a}{a}}{!eq{a}{b}}}}",
    "${if def:sender_host_address}",
)
_VERBS: Final = ("accept", "accept", "deny", "deny", "require", "drop", "defer", "warn", "discard")


class Maker:
    """Makes configurations from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def configuration(self, spool: Path) -> str:
        """One configuration."""
        lines = [HEAD.format(spool=spool)]
        lines += [f"hostlist nets = {self._list(_HOSTS[:-3])}", f"hostlist more = {self._list(_HOSTS[:-2])}"]
        lines += [f"domainlist ours = {self._list(_DOMAINS[:-5])}", f"domainlist others = {self._list(_DOMAINS[:5])}"]
        used = [stage for stage in ("connect", "helo", "mail") if self._random.random() < 0.25]
        lines += [f"acl_smtp_{stage} = acl_{stage}" for stage in used]
        if self._random.random() < 0.95:
            lines.append("acl_smtp_rcpt = acl_rcpt")
        lines.append("begin acl")
        for stage in used:
            lines += [f"acl_{stage}:", *self._statements(stage), "  accept"]
        lines += ["acl_called:", *self._statements("called"), "acl_rcpt:", *self._statements("rcpt")]
        return "\n".join(lines) + TAIL

    def _list(self, items: tuple[str, ...]) -> str:
        chosen = self._random.choices(items, k=self._random.randint(1, 3))
        return " : ".join(("! " if self._random.random() < 0.25 else "") + item for item in chosen)

    def _statements(self, stage: str) -> list[str]:
        lines = []
        for _ in range(self._random.randint(1, 5)):
            verb = self._random.choice(_VERBS)
            lines.append(f"  {verb if verb != 'discard' or stage == 'rcpt' else 'deny'}")
            conditions = [self._condition(stage) for _ in range(self._random.randint(1, 2 if verb == "accept" else 3))]
            if verb == "accept" and self._random.random() < 0.15:
                conditions.insert(self._random.randint(0, len(conditions)), "endpass")
            lines += [f"    {condition}" for condition in conditions]
        return lines

    def _condition(self, stage: str) -> str:
        kinds = ["hosts", "condition", "authenticated"]
        if stage in {"mail", "rcpt", "called"}:
            kinds += ["senders", "sender_domains"]
        if stage in {"rcpt", "called"}:
            kinds += ["domains", "local_parts", "domains"]
        if stage == "rcpt":
            kinds += ["acl"]
        kind = self._random.choice(kinds)
        lists = {
            "hosts": _HOSTS,
            "domains": _DOMAINS,
            "senders": _SENDERS,
            "sender_domains": _DOMAINS[:5],
            "local_parts": _PARTS,
        }
        if kind in lists:
            value = self._list(lists[kind])
        else:
            value = {"condition": self._random.choice(_TRUTHS), "authenticated": "*", "acl": "acl_called"}[kind]
        return ("!" if self._random.random() < 0.2 else "") + f"{kind} = {value}"


def truth(exim: Path, config: Path, client: str) -> bool | None:
    """Whether Exim accepts a foreign recipient from any of the senders; None: it does not start with this configuration."""
    accepted, dropped = _asked(exim, config, client, SENDERS)
    if accepted is False and dropped:  # "drop" ends the connection, so each sender gets one of its own
        return any(_asked(exim, config, client, (sender,))[0] for sender in SENDERS)
    return accepted


def _asked(exim: Path, config: Path, client: str, senders: tuple[str, ...]) -> tuple[bool | None, bool]:
    """Whether one of the senders is served, and whether the connection was dropped."""
    attempts = (f"MAIL FROM:<{sender}>\r\nRCPT TO:<{RECIPIENT}>\r\nRSET\r\n" for sender in senders)
    talk = "EHLO client.elsewhere.example\r\n" + "".join(attempts) + "QUIT\r\n"
    run = subprocess.run(
        [exim, "-C", config, "-bh", client], input=talk, capture_output=True, text=True, check=False, timeout=60
    )
    if "Exim configuration error" in run.stderr:
        return None, False
    # What is discarded has a 250 as well.
    accepted = run.stdout.count("250 Accepted") > run.stderr.count("discarded by RCPT ACL")
    return accepted, ": DROP" in run.stderr


def main() -> int:
    """Prints the table and each disagreement with its seed; status 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--exim", type=Path, default=Path(shutil.which("exim4") or "/usr/sbin/exim4"))
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    counts: dict[str, int] = {}
    wrong = 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lint-exim-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        config = folder / "exim.conf"
        for seed in range(arguments.seed, arguments.seed + arguments.count):
            config.write_text(Maker(seed).configuration(folder), encoding="utf-8")
            for client in CLIENTS:
                real = truth(arguments.exim, config, client)
                said = _said(config, client)
                key = f"Exim {'does not start' if real is None else 'accepts' if real else 'refuses'}, linter says {said}"
                counts[key] = counts.get(key, 0) + 1
                if real is not None and said != ("open" if real else "closed"):
                    wrong += 1
                    print(f"seed {seed}, client {client}: {key}")
    for key, count in sorted(counts.items()):
        print(f"{count:6} {key}")
    took = time.monotonic() - started
    print(f"{arguments.count} configurations, {len(CLIENTS)} clients each, {wrong} disagreements, {took:.0f} s")
    return 1 if wrong else 0


def _said(config: Path, client: str) -> str:
    try:
        return str(lint(config, ip_address(client)).verdict)
    except LintError:
        return "error"


if __name__ == "__main__":
    sys.exit(main())
