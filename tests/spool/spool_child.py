"""A relay that accepts, delivers and defers as fast as it can, and tells what it has acknowledged: to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from spool_contract import LARGE
from spool_tools import BODY, Relay, deferred, delivered

from postlatch.model.ids import format_id
from postlatch.testing.clock import FakeClock


async def main(folder: Path, start: float) -> None:
    """Accept with ten clients at once; finish every second claim."""
    clock = FakeClock(start)
    async with Relay(folder, clock) as relay:
        await asyncio.gather(*(client(relay, clock, number) for number in range(10)), deliver(relay, clock))


async def client(relay: Relay, clock: FakeClock, number: int) -> None:
    """Say ``accepted ID``, as a server says 250, only when the commit has returned."""
    while True:
        clock.advance(0.001)
        message = await relay.accept("bob@example.com", "x@elsewhere.example", body=LARGE if number == 0 else BODY)
        say("accepted", format_id(message))


async def deliver(relay: Relay, clock: FakeClock) -> None:
    """Say ``sent ID`` before the outcome is recorded, as a next hop sees it, and ``done ID`` after."""
    while True:
        for claim in relay.spool.take(3):
            name = format_id(claim.message.message_id)
            say("sent", name)
            await relay.finish(claim, delivered(0), deferred(1, clock.now()))
            say("done", name)
        await asyncio.sleep(0)


def say(*words: str) -> None:
    """One line for the test to read."""
    sys.stdout.write(f"{' '.join(words)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), float(sys.argv[2])))
