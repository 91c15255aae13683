"""Is there room on the disk for one more message? Asked at every MAIL, so it is looked up once a second and remembered.

Space and inodes alike. What was once too little must come back with a margin before mail is taken again, or a relay with a full
disk would change its mind with every message that it delivers.
"""

from __future__ import annotations

import os

from postlatch.settings.tree import Settings

_SHARE = 0.02  # of a small disk: never is more than this part of it kept free
_MARGIN = 1.25  # times what is kept free, until mail is taken again
_INODES_OF_A_MESSAGE = 4  # a body file and its folder, and a file in a Maildir with its


class DiskSpace:
    """What the data directory's file system has left."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.data_dir
        self._free = self._reserve = 0
        self._inodes = self._inodes_reserve = 0
        self._short = False
        self._kept = settings.overload
        self.refresh()

    def configure(self, settings: Settings) -> None:
        """Other thresholds hold from now on."""
        self._kept = settings.overload
        self.refresh()

    def refresh(self) -> None:
        """Look again. A file system that does not answer counts as full: unknown means later."""
        try:
            status = os.statvfs(self._directory)
        except OSError:
            self._free, self._short = 0, True
            return
        self._free = status.f_bavail * status.f_frsize
        self._reserve = min(self._kept.disk_free, int(status.f_blocks * status.f_frsize * _SHARE))
        counted = status.f_files > 0  # some file systems have no fixed number of inodes
        self._inodes = status.f_favail if counted else 1
        self._inodes_reserve = min(self._kept.inodes_free, int(status.f_files * _SHARE)) if counted else 0
        margin = _MARGIN if self._short else 1.0
        self._short = self._free < self._reserve * margin or self._inodes < self._inodes_reserve * margin

    def has_room(self, size: int) -> bool:
        """Room for a message of ``size`` octets, half as much again (Postfix's rule), and what is kept free."""
        if self._short or (self._inodes_reserve and self._inodes - self._inodes_reserve < _INODES_OF_A_MESSAGE):
            return False
        return self._free - self._reserve > size * 1.5
