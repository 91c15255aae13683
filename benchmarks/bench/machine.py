"""On what, and with which versions, the figures were taken."""

from __future__ import annotations

import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from postlatch.testing.peers.aiosmtpd import Aiosmtpd
from postlatch.testing.peers.haraka import Haraka

_ROOT = Path(__file__).resolve().parents[2]


def describe() -> dict[str, object]:
    """For the report; taken before anything is measured, so that the load average is that of the others."""
    return {
        "cores": os.cpu_count(),
        "processor": _first(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": f"{platform.python_version()} ({_kind_of_python()})",
        "load_average_before": [round(load, 2) for load in os.getloadavg()],
        "sync_ms": sync_milliseconds(),
        "versions": _versions(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _kind_of_python() -> str:
    """Whose Python (distributions optimise theirs by profile), and whether the hot rooms were compiled: both matter a lot."""
    build = "the system's" if sys.base_prefix == "/usr" else "built apart"
    return f"{build}, rooms compiled" if (_ROOT / "src" / "postlatch" / ".compiled").is_file() else build


def sync_milliseconds(times: int = 100) -> float:
    """The median of writing 4 KiB and syncing, where the servers keep their data."""
    taken = []
    with tempfile.TemporaryFile() as file:
        for _ in range(times):
            file.write(bytes(4096))
            file.flush()
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - started)
    return round(statistics.median(taken) * 1e3, 3)


def _versions() -> dict[str, str]:
    found = {
        "postlatch": version("postlatch"),
        "commit": _output("git", "-C", str(_ROOT), "describe", "--always", "--dirty").strip(),
        "uvloop": version("uvloop"),
        "postfix": _first(r"= (.*)", _output("/usr/sbin/postconf", "-d", "mail_version")),
        "dovecot": _first(r"(\S+)", _output("/usr/sbin/dovecot", "--version")),
        "node": _output("node", "--version").strip(),
        "haraka": Haraka.version(),
        "aiosmtpd": Aiosmtpd.version(),
    }
    return {name: text for name, text in found.items() if text}


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""
