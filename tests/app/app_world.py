"""An opened world with a clock of ours, for what the application does by the clock."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ParamSpec

from postlatch.app.notices import Notices
from postlatch.app.world import World, open_world
from postlatch.settings.load import load_text
from postlatch.testing.clock import FakeClock

P = ParamSpec("P")

CONFIG = """hostname = "relay.example.com"
data_dir = "{folder}"
[[listeners]]
name = "mx"
address = "127.0.0.1:0"
role = "mx"
[domains."example.com"]
deliver = "maildir:mail"
recipients = ["alice", "reports"]
"""


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a coroutine test on a loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@asynccontextmanager
async def opened(folder: Path, more: str = "") -> AsyncIterator[World]:
    """A world whose policy is installed."""
    settings = load_text(CONFIG.replace("{folder}", str(folder)) + more, folder / "postlatch.toml")
    world = await open_world(settings, serving=True)
    try:
        world.policy.install(world.policy.candidate(), starting=True)
        yield world
    finally:
        await world.close()


def notices(world: World, clock: FakeClock) -> Notices:
    """Notices that go into the world's queue."""
    return Notices(
        clock=clock,
        spool=world.spool,
        limiter=world.limiter,
        snapshot=lambda: world.policy.snapshot,
        submit=world.writer.submit,
        record=world.writer.record,
        wake=lambda: None,
        alert_recipients=list,
    )
