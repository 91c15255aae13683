"""What a server of the lab is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.testing.peers.network import Network

LOCAL: Final = "local.example"  # the domain of every server here
MAILBOX: Final = f"alice@{LOCAL}"  # its only mailbox
CANARY: Final = "canary.example"
STRANGER: Final = "127.0.0.2"  # the auditor's address: the servers may trust their own, 127.0.0.1


class Lab(NamedTuple):
    """What a server is started with: a folder of its own, and the port of the canary, to which its mail for others goes."""

    folder: Path
    canary: int


class Running(NamedTuple):
    """A server that runs: its port on ``address``, and where the canary listens. The auditor asks from ``network``, if any."""

    port: int
    address: str = "127.0.0.1"
    source: str = STRANGER
    local: str = MAILBOX
    canary: str = "127.0.0.1"
    network: Network | None = None

    def inside(self) -> AbstractContextManager[None]:
        """What is started meanwhile is started where the auditor is."""
        return self.network.inside() if self.network is not None else nullcontext()


class Server(NamedTuple):
    """``truth``: the verdicts that are right. ``why``: what makes it so, in the words of the administrator who did it."""

    name: str
    truth: tuple[str, ...]
    why: str
    start: Callable[[Lab], AbstractContextManager[Running]]

    @property
    def is_open(self) -> bool:
        """Does mail of a stranger for a stranger leave it?"""
        return "open" in self.truth


class Absent(Exception):
    """The program is not installed; the text says how to get it."""
