"""An aiosmtpd whose handler commits each message to SQLite before its 250: what one writes in an afternoon.

``benchmarks/install_peers.sh`` gives it an environment of its own.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Self

from postlatch.testing.peers.haraka import peers_folder
from postlatch.testing.peers.ports import end, free_port, listens, wait_until


class Aiosmtpd:
    """``with Aiosmtpd(folder, sink.port) as peer: peer.port``. ``deliver=False`` leaves mail in its database."""

    @staticmethod
    def version() -> str:
        """The version that is installed, or nothing."""
        file = peers_folder() / "aiosmtpd" / "version"
        return file.read_text().strip() if file.exists() else ""

    def __init__(self, folder: Path, next_hop: int, *, deliver: bool = True) -> None:
        self.port = free_port()
        folder.mkdir(parents=True)
        script = Path(__file__).with_name("aiosmtpd_relay.py")
        python = peers_folder() / "aiosmtpd" / "bin" / "python"
        # Isolated, so that this module is not taken for the package of the same name.
        words = [python, "-I", script, self.port, next_hop if deliver else 0, folder / "queue.db"]
        self._command = [str(word) for word in words]
        self._log = folder / "log"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_until(lambda: listens(self.port), 20, "aiosmtpd to listen")
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)
