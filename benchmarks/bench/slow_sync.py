"""A disk that takes longer to sync, for one server: the preload library of ``slow_sync.c`` and what passes it on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bench.build import slow_sync_library
from bench.processes import maps, program

# What Postfix passes on to its daemons by default (postconf -d import_environment, 3.7), but for what only a desk needs.
_POSTFIX_KEEPS = "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME"


class SlowSync:
    """``seconds`` more for each sync. ``serialised``: one at a time over all processes of the server, else they overlap."""

    def __init__(self, folder: Path, *, seconds: float = 0.002, serialised: bool) -> None:
        self._variables = {
            "LD_PRELOAD": str(slow_sync_library()),
            "SLOW_SYNC_MICROSECONDS": str(round(seconds * 1e6)),
        }
        if serialised:
            folder.mkdir(parents=True, exist_ok=True)
            turns = folder / "turns"
            turns.touch()
            turns.chmod(0o666)
            self._variables["SLOW_SYNC_TURNS"] = str(turns)

    def command_prefix(self) -> tuple[str, ...]:
        """Before a command."""
        return ("env", *(f"{name}={value}" for name, value in self._variables.items()))

    def postfix_settings(self) -> dict[str, str]:
        """For Postfix, which starts its daemons with a clean environment."""
        words = " ".join(f"{name}={value}" for name, value in self._variables.items())
        return {"import_environment": f"{_POSTFIX_KEEPS} {words}"}

    @staticmethod
    def demand_loaded(pids: Iterable[int]) -> set[str]:
        """RuntimeError unless each process has loaded the library; the names of their programs."""
        found = {pid: program(pid) for pid in pids}
        without = [f"{name} ({pid})" for pid, name in found.items() if name and not maps(pid, slow_sync_library())]
        if without:
            raise RuntimeError(f"not slowed down: {without}")
        return set(found.values())
