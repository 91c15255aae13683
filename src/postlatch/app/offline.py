"""Commands without a running relay: the same functions on the same database, under the lock that ``serve`` takes."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from postlatch.app.answer import UNUSABLE, Answer
from postlatch.app.commands.run import run_command
from postlatch.app.policy import PolicyRefused
from postlatch.app.privileges import UserError, drop, find_user, own_directory
from postlatch.app.world import open_world
from postlatch.settings.tree import Settings
from postlatch.store.database import StoreError
from postlatch.store.lock import Held, acquire
from postlatch.store.transaction import WriteFailed


def run_offline(settings: Settings, command: str, arguments: dict[str, Any], why_offline: str) -> Answer:
    """Take the lock, open the store, run, close."""
    try:
        become_user(settings)
        with acquire(settings.data_dir):
            return asyncio.run(_run(settings, command, arguments))
    except Held as error:
        return Answer(UNUSABLE, {}, f"{error}, and it does not answer on its control socket ({why_offline})")
    except (StoreError, UserError, WriteFailed, OSError) as error:
        return Answer(UNUSABLE, {}, str(error))


def become_user(settings: Settings) -> None:
    """Root leaves no files behind that the relay's user cannot open."""
    if os.geteuid() == 0 and settings.user is not None:
        owner = find_user(settings.user)
        own_directory(settings.data_dir, owner)
        drop(settings.user, owner)
    else:
        own_directory(settings.data_dir, None)


async def _run(settings: Settings, command: str, arguments: dict[str, Any]) -> Answer:
    world = await open_world(settings, serving=False)
    try:
        world.policy.install(world.policy.candidate(), starting=True)
        return await run_command(world, command, arguments)
    except PolicyRefused as error:
        if not _harmless(command):
            return Answer(UNUSABLE, {}, f"the configuration is not closed, see postlatch check: {error}")
        world.policy.force(world.policy.candidate())
        return await run_command(world, command, arguments)
    finally:
        await world.close()


def _harmless(command: str) -> bool:
    """Commands that look, or that only take rights away, must work on a configuration that may not serve."""
    looks = {"rights", "decide", "queue.list", "queue.show", "queue.counts", "backup", "right.list", "account.list", "ban.list"}
    looks |= {"limits.list", "outbound"}
    looks |= {"destination.list", "dns", "dkim.list", "reports"}
    looks |= {"ban.export", "account.delegate.list"}
    takes_away = {
        "right.revoke",
        "account.suspend",
        "account.delete",
        "account.app-password.revoke",
        "queue.hold",
        "queue.delete",
        "ban.add",
        "ban.import",
    }
    takes_away |= {"destination.pause", "account.delegate.revoke"}
    return command in looks | takes_away or command.startswith("journal.")
