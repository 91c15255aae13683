"""A real Dovecot that serves Maildirs by IMAP, in the clear and encrypted; and servers that only pretend."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest
import trustme

from postlatch.testing.peers.ports import end, free_port, listens, wait_until

USER = "canary@canary.example"
PASSWORD = 'pass "word" \\ größe'
_CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
libexec_dir = {programs}
protocols = imap
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
first_valid_uid = 1
mail_location = maildir:{folder}/mail
mail_uid = nobody
mail_gid = nogroup
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={folder}/home
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {tls_port}
  }}
}}
"""


def _programs() -> Path:
    """The directory of Dovecot's programs, in which those of IMAP must be too."""
    path = shutil.which("imap-login", path=os.environ["PATH"] + ":/usr/lib/dovecot:/usr/libexec/dovecot")
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("dovecot-imapd is not installed, and under CI every peer must be")
        pytest.skip("dovecot-imapd is not installed: run script/bootstrap dev as root")
    return Path(path).parent


class ImapServer:
    """``with ImapServer(folder) as server``: ``server.port``, ``server.tls_port``, ``server.ca``, ``server.deliver``."""

    def __init__(self, folder: Path, mechanisms: str = "plain login") -> None:
        self.port, self.tls_port = free_port(), free_port()
        self.ca = trustme.CA()
        self._folder = folder
        self._count = 0
        certificate = self.ca.issue_cert("127.0.0.1")
        for name in ("run", "state", "home", "mail", "mail/new", "mail/cur", "mail/tmp"):
            (folder / name).mkdir(parents=True)
        subprocess.run(["chown", "-R", "nobody:nogroup", folder / "mail", folder / "home"], check=True)
        for parent in [folder, *folder.parents]:
            if parent.stat().st_mode & 0o055 != 0o055:
                parent.chmod(parent.stat().st_mode | 0o055)
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        (folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}::::::\n", "utf-8")
        self._config = folder / "dovecot.conf"
        places = {"port": self.port, "tls_port": self.tls_port, "programs": _programs()}
        self._config.write_text(_CONFIG.format(folder=folder, mechanisms=mechanisms, **places))

    def deliver(self, octets: bytes) -> None:
        """Put a message into the mailbox, as a delivery agent does."""
        self._count += 1
        path = self._folder / "mail" / "tmp" / f"{self._count}.test"
        path.write_bytes(octets)
        shutil.chown(path, "nobody", "nogroup")
        path.rename(self._folder / "mail" / "new" / path.name)

    def files(self) -> list[str]:
        """The names of all messages, with their flags."""
        return sorted(path.name for name in ("new", "cur") for path in (self._folder / "mail" / name).iterdir())

    def __enter__(self) -> Self:
        command = ["/usr/sbin/dovecot", "-F", "-c", str(self._config)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            wait_until(lambda: listens(self.tls_port), 20, "Dovecot to listen")
        except TimeoutError:
            end(self._process)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)


class Dripping:
    """Begins with some octets, and sends one more every now and then, for ever."""

    def __init__(self, begins: bytes) -> None:
        self._begins = begins
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            client, _ = self._server.accept()
            with client:
                client.sendall(self._begins)
                while not self._over.wait(0.05):
                    client.sendall(b"x")
        except OSError:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.close()
        self._thread.join(10)


class Pretender:
    """Says what ``answer`` makes of each command (its tag, and the rest); None: it closes."""

    def __init__(self, answer: Callable[[bytes, bytes], bytes | None], greeting: bytes = b"* OK hello\r\n") -> None:
        self._answer = answer
        self._greeting = greeting
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            while True:
                client, _ = self._server.accept()
                with client, client.makefile("rb") as lines:
                    client.sendall(self._greeting)
                    while line := lines.readline():
                        tag, _, rest = line.strip().partition(b" ")
                        if (answer := self._answer(tag, rest)) is None:
                            break
                        client.sendall(answer)
        except OSError:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(10)
