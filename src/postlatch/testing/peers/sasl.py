"""A Dovecot that only checks passwords, for Postfix's ``smtpd_sasl_type = dovecot``. Needs root."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
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
auth_mechanisms = plain login
auth_cache_size = {cache}
auth_worker_max_count = 8
passdb {{
  {passdb}
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  unix_listener {socket} {{
    mode = 0666
  }}
}}
"""

_SQL = """\
driver = sqlite
connect = {folder}/users.sqlite
password_query = SELECT login AS user, hash AS password FROM users WHERE login = '%u'
"""


def dovecot_has_sqlite() -> bool:
    """Is Debian's ``dovecot-sqlite`` installed?"""
    return Path("/usr/lib/dovecot/modules/libdriver_sqlite.so").exists()


class DovecotSasl:
    """``with DovecotSasl(folder, {"alice@example.com": "{ARGON2ID}$argon2id$…"}) as sasl: sasl.socket``.

    ``workers``: passwords are kept in SQLite, which Dovecot reads, and checks, in several worker processes; from a passwd file
    it checks one at a time in its one ``auth`` process. ``cache``: the size of its own cache, which keeps hashes, not answers.
    """

    def __init__(self, folder: Path, users: Mapping[str, str], *, workers: bool = False, cache: str = "0") -> None:
        self.socket = folder / "auth.sock"
        for name in ("run", "state"):
            (folder / name).mkdir(parents=True)
        for parent in [folder, *folder.parents]:
            if parent.stat().st_mode & 0o055 != 0o055:
                parent.chmod(parent.stat().st_mode | 0o055)
        passdb = _sqlite(folder, users) if workers else _passwd_file(folder, users)
        self._config = folder / "dovecot.conf"
        self._config.write_text(_CONFIG.format(folder=folder, socket=self.socket, passdb=passdb, cache=cache))

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            ["/usr/sbin/dovecot", "-F", "-c", self._config], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        wait_until(self.socket.exists, 20, "Dovecot's socket")
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)


def _passwd_file(folder: Path, users: Mapping[str, str]) -> str:
    (folder / "users").write_text("".join(f"{login}:{secret}::::::\n" for login, secret in users.items()))
    return f"driver = passwd-file\n  args = username_format=%u {folder}/users"


def _sqlite(folder: Path, users: Mapping[str, str]) -> str:
    file = folder / "users.sqlite"
    database = sqlite3.connect(file)
    with database:
        database.execute("CREATE TABLE users (login TEXT PRIMARY KEY, hash TEXT NOT NULL)")
        database.executemany("INSERT INTO users VALUES (?, ?)", users.items())
    database.close()
    shutil.chown(file, "nobody")
    (folder / "sql.conf").write_text(_SQL.format(folder=folder))
    return f"driver = sql\n  args = {folder}/sql.conf"
