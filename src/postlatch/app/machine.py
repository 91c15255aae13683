"""What this machine gives to the process: file descriptors and memory. Containers count: their bound is the one that kills."""

from __future__ import annotations

import os
import resource
from dataclasses import fields
from pathlib import Path

from postlatch.server.caps import Caps, Machine, OverloadRules, derive
from postlatch.server.load import Load
from postlatch.settings.tree import Settings

_PAGE = os.sysconf("SC_PAGE_SIZE")
_CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def machine() -> Machine:
    """The limits as they are now."""
    return Machine(descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0], memory=_memory())


def overload_rules(settings: Settings) -> OverloadRules:
    """The ``[overload]`` table, without what is about the disk."""
    return OverloadRules(**{field.name: getattr(settings.overload, field.name) for field in fields(OverloadRules)})


def caps(settings: Settings) -> Caps:
    """What may be open at once, by the settings and this machine."""
    return derive(overload_rules(settings), machine(), settings.outbound.max_connections)


def make_load(settings: Settings) -> Load:
    """The server's live load."""
    memory = machine().memory
    return Load(overload_rules(settings), caps(settings), lambda: resident_share(memory))


def _memory() -> int:
    most = os.sysconf("SC_PHYS_PAGES") * _PAGE
    for path in _CONTAINER_LIMITS:
        try:
            most = min(most, int(path.read_text()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
    return most if address_space == resource.RLIM_INFINITY else min(most, address_space)


def resident_share(memory: int) -> float:
    """The part of ``memory`` octets that this process has in use, from 0."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / memory
