"""Asking the machine: programs that only read, started without a shell, in the C locale, within a time and a size."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from typing import Final

SECONDS: Final = 30.0
MOST_OCTETS: Final = 4 * 1024 * 1024
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# A program and its arguments; its standard output, or None where it is not there, failed to start or took too long.
Run = Callable[[Sequence[str]], str | None]


def run(command: Sequence[str]) -> str | None:
    """The real one. The exit status is not looked at: dpkg-query fails if one of many packages is not installed."""
    program = shutil.which(command[0], path=_PATH)
    if program is None:
        return None
    environment = {"PATH": _PATH, "LC_ALL": "C", "HOME": os.environ.get("HOME", "/")}
    with tempfile.TemporaryFile() as output:
        try:
            subprocess.run(  # noqa: S603 - a fixed program with fixed arguments, no shell
                [program, *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                env=environment,
                timeout=SECONDS,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        output.seek(0)
        return output.read(MOST_OCTETS).decode("utf-8", "replace")
