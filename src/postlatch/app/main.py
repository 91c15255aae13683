"""The entry point of the ``postlatch`` command. Imports nothing heavy: ``--help`` must answer at once."""

from __future__ import annotations

from postlatch.app.backend import LocalBackend
from postlatch.cli.build import build_cli


def main() -> int:
    """Run the command line; the exit status (click exits by itself, with the documented ones)."""
    status: int = build_cli(LocalBackend())()
    return status
