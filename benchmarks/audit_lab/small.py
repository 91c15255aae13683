"""Small servers and helpers of the lab."""

from __future__ import annotations

import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from audit_lab.values import Absent, Lab, Running, Server
from postlatch.testing.peers.haraka import peers_folder
from postlatch.testing.peers.ports import end, free_port, listens, wait_until
from postlatch.testing.running import BASE, RunningRelay

Answer = Callable[[str, bool], str]  # from a command and "in DATA?" to the reply

_DOVECOT: Final = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols =
ssl = no
disable_plaintext_auth = no
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
auth_mechanisms = plain login
passdb {{
  driver = static
  args = nopassword=y
}}
service auth {{
  unix_listener {folder}/auth-client {{
    mode = 0666
  }}
}}
"""


@contextmanager
def any_password(folder: Path) -> Iterator[Path]:
    """Dovecot's login service, to which any password is right; its socket."""
    for name in ("run", "state"):
        (folder / name).mkdir(parents=True)
    config, wanted = folder / "dovecot.conf", folder / "auth-client"
    config.write_text(_DOVECOT.format(folder=folder))
    process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", str(config)])
    try:
        wait_until(wanted.exists, 20, "Dovecot's socket")
        yield wanted
    finally:
        end(process)


class _Server(socketserver.ThreadingTCPServer):
    """Answers line by line."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(("127.0.0.1", 0), _Client)


class _Client(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        in_data = False
        with suppress(OSError):
            self.wfile.write(b"220 lab ESMTP\r\n")
            for octets in self.rfile:
                line = octets.decode("latin-1").strip("\r\n")
                if in_data and line != ".":
                    continue
                reply = self.server.answer(line, in_data)
                in_data = reply.startswith("354")
                self.wfile.write(reply.encode() + b"\r\n")
                if line.upper().startswith("QUIT"):
                    break


@contextmanager
def _serving(answer: Answer) -> Iterator[Running]:
    with _Server(answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Running(server.server_address[1])
        finally:
            server.shutdown()


def _yes(line: str, in_data: bool) -> str:
    """A trap: says yes to all, and delivers nothing."""
    if not in_data and line.upper().startswith("DATA"):
        return "354 go on"
    return "250 2.0.0 OK"


def _later(line: str, in_data: bool) -> str:
    """A greylister that has never seen us, and will not before this audit is over."""
    verb = line.upper()[:4]
    if verb == "RCPT":
        return "450 4.2.0 Greylisted, see you in five minutes"
    return "503 5.5.1 no recipient" if verb == "DATA" and not in_data else "250 2.0.0 OK"


@contextmanager
def _trap(_: Lab) -> Iterator[Running]:
    with _serving(_yes) as running:
        yield running


@contextmanager
def _greylister(_: Lab) -> Iterator[Running]:
    with _serving(_later) as running:
        yield running


@contextmanager
def aiosmtpd(lab: Lab, folder: str = "aiosmtpd") -> Iterator[Running]:
    """``python -m aiosmtpd`` as its documentation starts it: takes all, prints it, delivers nothing."""
    python, port = peers_folder() / folder / "bin" / "python", free_port()
    if not python.exists():
        raise Absent("benchmarks/install_peers.sh and audit_lab/install.sh install aiosmtpd")
    command = [str(python), "-I", "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{port}"]
    with (lab.folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: listens(port), 20, "aiosmtpd")
        yield Running(port)
    finally:
        end(process)


@contextmanager
def _postlatch(lab: Lab) -> Iterator[Running]:
    config = f'{BASE}\n[outbound]\nsmarthost = "smtp://127.0.0.1:{lab.canary}"\n'
    with RunningRelay(lab.folder / "relay", config) as relay:
        yield Running(relay.port("mx"), local="alice@example.com")


SMALL: Final = (
    Server("aiosmtpd", ("accepts",), "its default handler: prints what it takes", aiosmtpd),
    Server("trap", ("accepts",), "says 250 to all, delivers nothing", _trap),
    Server("greylister", ("inconclusive",), "450 to every stranger's first try", _greylister),
    Server("postlatch", ("closed",), "this program", _postlatch),
)
