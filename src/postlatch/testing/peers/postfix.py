"""A Postfix of our own: private configuration, queue and port. Needs Debian's package and root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from postlatch.testing.peers.ports import free_port, listens, wait_until

_MASTER = """\
127.0.0.1:{port} inet n - n - {processes} smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp unix - - n - {processes} smtp
relay unix - - n - {processes} smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_MAIN: dict[str, str] = {
    "compatibility_level": "3.6",
    "myhostname": "postfix.test",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "alias_maps": "",
    "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
    "smtp_dns_support_level": "disabled",
    "smtp_host_lookup": "native",
    "maillog_file_prefixes": "/",
    "smtputf8_enable": "no",
}


class Postfix:
    """Start with ``with Postfix(folder, {"relayhost": "[127.0.0.1]:2525"}) as peer: peer.port``.

    ``services`` are further lines of master.cf; ``prefix`` goes before the command.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str],
        processes: int = 100,
        *,
        services: str = "",
        prefix: tuple[str, ...] = (),
    ) -> None:
        self.port = free_port()
        self._prefix = prefix
        self._config = folder / "config"
        self._config.mkdir(parents=True)
        for name, owner in (("spool", "root"), ("data", "postfix")):
            (folder / name).mkdir()
            shutil.chown(folder / name, owner)
        # Postfix gives up its rights and then walks down to its queue.
        for parent in [folder, *folder.parents]:
            if parent.stat().st_uid == os.geteuid() and parent.stat().st_mode & 0o055 != 0o055:
                parent.chmod(parent.stat().st_mode | 0o055)
        values = {**_MAIN, "queue_directory": str(folder / "spool"), "data_directory": str(folder / "data")}
        values |= {"maillog_file": str(folder / "maillog"), **settings}
        (self._config / "main.cf").write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
        (self._config / "master.cf").write_text(_MASTER.format(port=self.port, processes=processes) + services)

    def __enter__(self) -> Self:
        self._run("start")
        wait_until(lambda: listens(self.port), 20, "Postfix to listen")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("stop")

    def _run(self, verb: str) -> None:
        command = [*self._prefix, "/usr/sbin/postfix", "-c", str(self._config), verb]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            log = self._config.parent / "maillog"
            raise RuntimeError(f"postfix {verb}: {done.stderr} {log.read_text() if log.exists() else ''}")

    def log(self) -> str:
        """What it has logged."""
        path = self._config.parent / "maillog"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def master(self) -> int:
        """The process id of master(8), the parent of all its daemons."""
        return int((self._config.parent / "spool" / "pid" / "master.pid").read_text())

    def drop_queue(self) -> None:
        """Delete all that is queued or held."""
        subprocess.run(["/usr/sbin/postsuper", "-c", self._config, "-d", "ALL"], capture_output=True, check=True)

    def queue(self) -> str:
        """The output of mailq."""
        return subprocess.run(
            ["/usr/sbin/postqueue", "-c", self._config, "-p"], capture_output=True, text=True, check=False
        ).stdout
