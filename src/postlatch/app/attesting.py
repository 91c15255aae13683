"""The journal's signed heads in the running relay: when they are signed, and what is told when they cannot be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from postlatch.app.verifying import verify_newest
from postlatch.app.world import World
from postlatch.journal.heads import key_name
from postlatch.journal.keys import KeyProblem, PublicKey, is_untouched, load_private, make_key
from postlatch.journal.signer import JournalChanged, append, due, last_signed
from postlatch.model.events import Event
from postlatch.store.database import StoreError

if TYPE_CHECKING:
    from postlatch.app.relay import Relay


class Attesting:
    """Signs the heads of one relay's journal and looks at its newest part. Everything that lasts is in files."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._world: World = relay.world
        self._folder = relay.world.settings.data_dir

    async def begin(self) -> None:
        """At a start: make the key if there never was one, sign what the last run left, and look what became of it since."""
        now = self._world.now()
        try:
            if await asyncio.to_thread(is_untouched, self._folder):
                made = await asyncio.to_thread(make_key, self._folder, now)
                self._relay.record(key_event(made, now, "there was none"))
        except KeyProblem as error:
            self._unsigned(str(error))
            return
        await self.sign("start")
        await self.look()

    async def sign(self, reason: str = "") -> None:
        """Sign what is due; with a ``reason`` also the end of the chain as it is now."""
        world, now = self._world, self._world.now()
        try:
            key = await asyncio.to_thread(load_private, self._folder)
            last = await asyncio.to_thread(last_signed, self._folder)
            name = key_name(key.public_key())
            items = await world.reader.read(lambda connection: due(connection, last, name, now, reason))
            if items:
                await asyncio.to_thread(append, self._folder, last, items, now)
        except JournalChanged as error:
            self._changed(str(error))
        except (KeyProblem, StoreError) as error:
            self._unsigned(str(error))

    async def look(self) -> None:
        """Check the newest part of the journal, with its heads."""
        try:
            report = await asyncio.to_thread(verify_newest, self._world)
        except (KeyProblem, StoreError) as error:
            self._changed(str(error))
            return
        if report.failures:
            self._changed(report.failures[0])

    def _unsigned(self, why: str) -> None:
        self._relay.notices.alert("the journal's heads are not signed", {"why": why})

    def _changed(self, why: str) -> None:
        self._relay.notices.alert("the journal was changed or damaged: run postlatch journal verify", {"why": why})


def key_event(key: PublicKey, now: float, why: str) -> Event:
    """A key was made: said in the journal, where whoever verifies looks for it."""
    return Event("journal.keyed", now, {"key": key.name, "why": why})
