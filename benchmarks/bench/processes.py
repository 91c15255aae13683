"""Trees of processes, and the memory that they take, from /proc."""

from __future__ import annotations

from pathlib import Path

_PROC = Path("/proc")


def tree(root: int) -> list[int]:
    """``root`` and all that descend from it."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:  # grows while it is walked
        found += children.get(pid, [])
    return found


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def proportional_memory(pids: list[int]) -> int:
    """Octets of physical memory; what n processes share counts an nth for each (PSS)."""
    return sum(_field(pid, "smaps_rollup", "Pss:") for pid in pids)


def resident(pid: int) -> int:
    """Octets now."""
    return _field(pid, "status", "VmRSS:")


def peak_resident(pid: int) -> int:
    """Octets at most since ``forget_peak``."""
    return _field(pid, "status", "VmHWM:")


def forget_peak(pid: int) -> None:
    """Begin the peak anew, at what is resident now."""
    (_PROC / str(pid) / "clear_refs").write_text("5")


def maps(pid: int, library: Path) -> bool:
    """Has the process loaded the library?"""
    try:
        return str(library) in (_PROC / str(pid) / "maps").read_text()
    except OSError:
        return False


def program(pid: int) -> str:
    """Its name, or nothing if it has ended."""
    try:
        return (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def _field(pid: int, file: str, name: str) -> int:
    try:
        for line in (_PROC / str(pid) / file).read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # it has ended
    return 0
