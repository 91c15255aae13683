"""A Dovecot of our own that speaks LMTP over TCP and a Unix socket, and delivers into Maildirs. Needs root."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Self

from postlatch.testing.peers.ports import end, free_port, listens, wait_until

_CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = lmtp
ssl = no
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
first_valid_uid = 1
mail_location = maildir:{folder}/mail/%d/%n
mail_uid = nobody
mail_gid = nogroup
postmaster_address = postmaster@example.com
auth_mechanisms = plain
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
  default_fields = uid=nobody gid=nogroup home={folder}/home/%u
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  unix_listener lmtp {{
    path = {folder}/lmtp.sock
    mode = 0666
  }}
}}
"""


class Dovecot:
    """``with Dovecot(folder, ["alice@example.com"]) as peer``: ``peer.port``, ``peer.socket``, ``peer.mailbox(user)``."""

    def __init__(self, folder: Path, users: list[str]) -> None:
        self.port = free_port()
        self.socket = folder / "lmtp.sock"
        self._folder = folder
        for name in ("run", "state", "mail", "home"):
            (folder / name).mkdir(parents=True)
        subprocess.run(["chown", "-R", "nobody:nogroup", folder / "mail", folder / "home"], check=True)
        for parent in [folder, *folder.parents]:
            if parent.stat().st_mode & 0o055 != 0o055:
                parent.chmod(parent.stat().st_mode | 0o055)
        (folder / "users").write_text("".join(f"{user}:{{PLAIN}}secret::::::\n" for user in users))
        self._config = folder / "dovecot.conf"
        self._config.write_text(_CONFIG.format(folder=folder, port=self.port))

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["/usr/sbin/dovecot", "-F", "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        wait_until(lambda: listens(self.port), 20, "Dovecot to listen")
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)

    def mailbox(self, user: str) -> list[Path]:
        """The new messages of a user."""
        local, _, domain = user.partition("@")
        new = self._folder / "mail" / domain / local / "new"
        return sorted(new.iterdir()) if new.is_dir() else []

    def log(self) -> str:
        """What Dovecot has to say."""
        path = self._folder / "log"
        return path.read_text() if path.exists() else ""
