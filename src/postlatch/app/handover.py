"""What the supervisor hands to its children: bound sockets, the life line and the ready line, by file descriptor."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, field

_VARIABLE = "POSTLATCH_HANDOVER"


@dataclass(frozen=True, slots=True)
class Handover:
    """File descriptors. ``life`` reaches its end when the supervisor dies; one line on ``ready`` says that a child serves.

    ``lock`` is that of the data directory: a relay that outlives its supervisor, to finish a message, goes on holding it.
    """

    config: str
    life: int
    ready: int
    listeners: dict[str, list[int]] = field(default_factory=dict)
    http: int = -1
    local: int = -1
    lock: int = -1
    clean: bool = True

    def environment(self) -> dict[str, str]:
        """The child's environment."""
        return {**os.environ, _VARIABLE: json.dumps(asdict(self))}

    def descriptors(self) -> list[int]:
        """All of them, for the child to inherit."""
        sockets = [descriptor for group in self.listeners.values() for descriptor in group]
        return [self.life, self.ready, *sockets, *(fd for fd in (self.http, self.local, self.lock) if fd >= 0)]

    def sockets(self) -> dict[str, list[socket.socket]]:
        """The listening sockets by listener."""
        return {name: [socket.socket(fileno=fd) for fd in group] for name, group in self.listeners.items()}

    def say_ready(self) -> None:
        """Tell the supervisor that this child serves."""
        os.write(self.ready, b"ready\n")
        os.close(self.ready)


def received() -> Handover:
    """The handover of this process, taken out of its environment."""
    return Handover(**json.loads(os.environ.pop(_VARIABLE)))
