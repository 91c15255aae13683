"""How much memory this process has in use."""

from __future__ import annotations

import os
from pathlib import Path


def resident_memory() -> float:
    """Octets, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))
