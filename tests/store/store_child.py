"""A process with a writer, for the tests that break its disk: prints one line a submission, and its changes of health."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from store_tools import Journal, put

from postlatch.store.database import open_database
from postlatch.store.transaction import WriteFailed
from postlatch.store.writer import Writer


async def main(path: Path, count: int) -> None:
    """Submit ``count`` keys, one after the other; after a failure only when the writer is healthy again."""
    healthy = asyncio.Event()

    def changed(now_healthy: bool, reason: str) -> None:
        say("healthy" if now_healthy else "unhealthy", reason)
        (healthy.set if now_healthy else healthy.clear)()

    writer = Writer(lambda: open_database(path, create=False), Journal().seal, on_change=changed, retry_after=0.05)
    writer.start()
    for number in range(count):
        try:
            await writer.submit([put(f"{number:03}")])
            say("ok", f"{number:03}")
        except WriteFailed as failure:
            say("failed", f"{number:03} unknown={failure.unknown} full={failure.disk_full}")
            await healthy.wait()
    await writer.close()


def say(*words: str) -> None:
    """One line for the test to read."""
    sys.stdout.write(f"{' '.join(words)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
