"""Is there room on the disk for one more message? Asked at every MAIL, so it is looked up once a second and remembered."""

from __future__ import annotations

import os
from pathlib import Path

_RESERVE = 64 * 1024 * 1024  # octets kept free for the journal, the WAL and the administrator…
_SHARE = 0.02  # …but never more than this part of a small disk


class DiskSpace:
    """Free octets of the data directory's file system."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._free = 0
        self._reserve = 0
        self.refresh()

    def refresh(self) -> None:
        """Look again. A file system that does not answer counts as full: unknown means later."""
        try:
            status = os.statvfs(self._directory)
        except OSError:
            self._free = 0
            return
        self._free = status.f_bavail * status.f_frsize
        self._reserve = min(_RESERVE, int(status.f_blocks * status.f_frsize * _SHARE))

    def has_room(self, size: int) -> bool:
        """Room for a message of ``size`` octets, half as much again (Postfix's rule), and the reserve."""
        return self._free - self._reserve > size * 1.5
