"""The relays that are measured beside Postlatch and Postfix: who is there, and why the others are not."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from bench.servers import DOMAIN
from postlatch.testing.peers.aiosmtpd import Aiosmtpd
from postlatch.testing.peers.haraka import Haraka

_MISSING = "benchmarks/install_peers.sh was not run"


def absent() -> dict[str, str]:
    """Those that are not installed."""
    there = {"haraka": Haraka.version(), "aiosmtpd": Aiosmtpd.version()}
    return {name: _MISSING for name, version in there.items() if not version}


def start(stack: ExitStack, folder: Path, name: str, next_hop: int, *, deliver: bool = True) -> int:
    """Start one for the time of ``stack``; its port."""
    if name == "haraka":
        return stack.enter_context(Haraka(folder / name, DOMAIN, next_hop, deliver=deliver)).port
    return stack.enter_context(Aiosmtpd(folder / name, next_hop, deliver=deliver)).port


NOTES = (
    "Haraka does not sync its queue to the disk before it answers 250: a power cut loses mail.",
    "aiosmtpd with a handler of ours, which commits each message to SQLite, has no policy and no journal.",
)
