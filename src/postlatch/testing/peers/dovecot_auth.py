"""Dovecot's authentication service alone, with its socket for clients (``auth-client``). Needs root."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from postlatch.testing.peers.ports import end, wait_until

_CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols =
ssl = no
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
auth_mechanisms = plain
auth_failure_delay = 0
auth_username_format = {username_format}
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
service auth {{
  unix_listener {folder}/auth-client {{
    mode = 0600
  }}
}}
"""


class DovecotAuth:
    """``users`` are lines of its passwd-file (``alice@example.com:{PLAIN}secret::::::send_as=info@example.com``)."""

    def __init__(self, folder: Path, users: Iterable[str], username_format: str = "%Lu") -> None:
        self._folder = folder
        for name in ("run", "state"):
            (folder / name).mkdir(parents=True)
        for parent in [folder, *folder.parents]:
            if parent.stat().st_mode & 0o055 != 0o055:
                parent.chmod(parent.stat().st_mode | 0o055)
        self.users = folder / "users"
        self.users.write_text("".join(f"{user}\n" for user in users))
        self.socket = folder / "auth-client"
        self._config = folder / "dovecot.conf"
        self._config.write_text(_CONFIG.format(folder=folder, username_format=username_format))

    def __enter__(self) -> Self:
        command = ["/usr/sbin/dovecot", "-F", "-c", str(self._config)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_until(self.socket.exists, 20, "Dovecot's authentication socket")
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)

    def log(self) -> str:
        """What Dovecot has to say."""
        path = self._folder / "log"
        return path.read_text() if path.exists() else ""
