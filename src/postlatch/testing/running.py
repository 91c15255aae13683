"""The real program in a folder of its own: start it, talk to it, kill it. For integration tests and benchmarks."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from postlatch.testing.peers.ports import end

ACCOUNT = "alice@example.com"
PASSWORD = "correct horse battery staple"  # noqa: S105  (an account of a test)

BASE = """\
hostname = "relay.example.com"
data_dir = "data"

[tls]
certificate = "cert.pem"
key = "key.pem"

[[listeners]]
name = "mx"
address = ["127.0.0.1:0", "[::1]:0"]
role = "mx"

[[listeners]]
name = "submission"
address = ["127.0.0.1:0", "[::1]:0"]
role = "submission"

[[listeners]]
name = "submissions"
address = ["127.0.0.1:0", "[::1]:0"]
role = "submissions"

[[listeners]]
name = "relay"
address = ["127.0.0.1:0", "[::1]:0"]
role = "relay"

[domains."example.com"]
deliver = "maildir:data/mail"
recipients = ["alice", "bob"]

[session]
greeting_delay = 0
auth_failure_delay = 0

[limits.client]
connections = 1000
commands = ["1000000/minute"]
auth_failures = ["1000/minute"]

[limits.account]
messages = ["100000/minute"]
recipients = ["1000000/hour"]
new_recipients = ["1000000/day"]

[alerts]
to = ["alice@example.com"]

[http]
address = "127.0.0.1:0"
"""

LOOPBACK_RIGHT = """
[[rights]]
name = "loopback"
networks = ["127.0.0.1/32"]
listeners = ["relay"]
owner = "ops@example.com"
expires = 2099-12-31
masked = "the test's own client"
limits = { messages = ["1000000/minute"] }
"""

NO_CHECKS = """
[authentication]
check = false
"""


class RunningRelay:
    """``with RunningRelay(folder, BASE + …) as relay: relay.port("mx")``. The configuration is ``folder/postlatch.toml``."""

    def __init__(self, folder: Path, config: str = BASE, *, certificate: bool = True) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.config = folder / "postlatch.toml"
        folder.mkdir(parents=True, exist_ok=True)
        # A test has no DNS: strangers are checked where it says how, and else their mail would only be deferred.
        self.config.write_text(config if "[authentication]" in config else config + NO_CHECKS, "utf-8")
        self.log = folder / "log"
        self.addresses: dict[str, list[str]] = {}
        self.process: subprocess.Popen[str] | None = None
        if certificate:
            self._make_certificate()

    def _make_certificate(self) -> None:
        from postlatch.app.certificate import write_self_signed  # noqa: PLC0415  (cryptography is slow to load)

        if not (self.folder / "key.pem").exists():
            write_self_signed("relay.example.com", self.folder / "cert.pem", self.folder / "key.pem", time.time())

    def start(self, seconds: float = 30, prefix: tuple[str, ...] = ()) -> Self:
        """Start ``serve`` and wait for its ready line. ``prefix`` goes before the command (strace, unshare)."""
        self.launch(prefix)
        assert self.process is not None
        assert self.process.stdout is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not select.select([self.process.stdout], [], [], 0.2)[0]:
                continue
            line = self.process.stdout.readline()
            if line.startswith("ready "):
                self._note(line)
                return self
            if not line:
                break
        status = self.process.poll()
        end(self.process)
        raise RuntimeError(f"serve did not become ready (status {status}): {self.read_log()}")

    def launch(self, prefix: tuple[str, ...] = ()) -> None:
        """Start ``serve`` and wait for nothing."""
        command = [*prefix, sys.executable, "-m", "postlatch", "--config", str(self.config), "serve"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=self.folder)

    def _note(self, line: str) -> None:
        self.addresses = {}
        for word in line.split()[1:]:
            name, _, address = word.partition("=")
            self.addresses.setdefault(name, []).append(address)

    def port(self, listener: str, *, ipv6: bool = False) -> int:
        """The port of a listener, or of ``http``."""
        for address in self.addresses[listener]:
            if address.startswith("[") == ipv6:
                return int(address.rpartition(":")[2])
        raise KeyError(listener)

    def read_log(self) -> str:
        """What it wrote on standard error."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a ``postlatch`` command beside it."""
        command = [sys.executable, "-m", "postlatch", "--config", str(self.config), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=60, cwd=self.folder)

    def json(self, *arguments: str) -> dict[str, Any]:
        """The JSON result of a command."""
        done = self.run(*arguments, "--json")
        if not done.stdout:
            raise RuntimeError(f"{arguments}: status {done.returncode}: {done.stderr}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def add_account(self, login: str = ACCOUNT, password: str = PASSWORD, *send_as: str) -> None:
        """Make an account."""
        extra = [word for address in send_as for word in ("--send-as", address)]
        done = self.run("account", "add", login, "--password-stdin", *extra, stdin=password + "\n")
        if done.returncode:
            raise RuntimeError(done.stderr)

    def maildir(self, user: str) -> list[Path]:
        """The new messages of ``user@domain``."""
        local, _, domain = user.partition("@")
        new = self.data / "mail" / domain / local / "new"
        return sorted(new.iterdir()) if new.is_dir() else []

    def children(self) -> dict[str, int]:
        """Process ids by name: ``relay`` and ``desk``."""
        assert self.process is not None
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if int(stat[1]) == self.process.pid and len(words) > 2:
                found[words[-2].decode().rpartition(".")[2]] = int(entry.name)  # the last word is empty
        return found

    def kill(self) -> None:
        """kill -9 of the supervisor and of its children, at once: a power cut as far as the programs can tell."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)  # or it could start one more child behind our back
        children = self.children().values()
        self.process.kill()
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        end(self.process)
        for pid in children:
            _wait_gone(pid)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        return end(self.process, 45)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None:
            self.stop()


def _wait_gone(pid: int) -> None:
    for _ in range(200):
        if not _runs(pid):
            return
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    """A zombie does not run: all that it held is free, and its new parent may take its time to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
