"""The entry point of the ``postlatch`` command. Imports nothing heavy: ``--help`` must answer at once."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; the exit status (click exits by itself, with the documented ones)."""
    if sys.argv[1:2] == ["sendmail"]:  # with options of its own, which are older than any parser, and no time to lose
        from postlatch.cli.sendmail import main as sendmail  # noqa: PLC0415

        return sendmail(sys.argv[2:])
    from postlatch.app.backend import LocalBackend  # noqa: PLC0415
    from postlatch.cli.build import build_cli  # noqa: PLC0415

    status: int = build_cli(LocalBackend())()
    return status
