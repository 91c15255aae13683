"""Which DNS lists can be trusted now. Each is tested before its first answer counts, once a day, and after an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from postlatch.model.dns import Resolver
from postlatch.model.events import Event, JsonValue
from postlatch.senderauth.reputation.dnsbl import DnsList, Health, Said, examine
from postlatch.senderauth.reputation.score import Asked
from postlatch.server.metering import Count

DAILY: Final = 86_400.0
HOURLY: Final = 3_600.0
_SOON: Final = 60.0  # seconds until a test that had no answer is repeated
_TEST: Final = 15.0  # seconds for one test

Alert = Callable[[str, Mapping[str, JsonValue]], None]


@dataclass(slots=True)
class _State:
    usable: bool = False
    tested: bool = False
    next_test: float = 0.0
    told_at: float = float("-inf")
    why: str = "not tested yet"


class ListHealth:
    """The lists of the configuration and how they are. ``lists`` may be replaced; what is known of those that stay is kept."""

    def __init__(self, resolver: Resolver, record: Callable[[Event], None], alert: Alert, count: Count) -> None:
        self._resolver = resolver
        self._record = record
        self._alert = alert
        self._count = count
        self._states: dict[tuple[str, bool], _State] = {}
        self._lists: tuple[DnsList, ...] = ()

    def use(self, lists: Iterable[DnsList]) -> None:
        """These are the lists from now on."""
        self._lists = tuple(lists)
        keys = {_key(one) for one in self._lists}
        self._states = {key: self._states.get(key, _State()) for key in keys}

    def usable(self) -> list[DnsList]:
        """The lists whose answers count now."""
        return [one for one in self._lists if self._states[_key(one)].usable]

    def why_not(self, one: DnsList) -> str:
        """Why a list is not asked; empty if it is."""
        state = self._states[_key(one)]
        return "" if state.usable else state.why

    def note(self, asked: Iterable[Asked], now: float) -> None:
        """Count what lists said; one that reports an error is not asked again until it was tested."""
        for one, answer in asked:
            self._count.inc("postlatch_dns_list_answers_total", (one.zone, str(answer.said)))
            state = self._states.get(_key(one))
            if answer.said is Said.ERROR and state is not None and state.usable:
                self._switch_off(one, state, answer.why, now)

    async def look(self, now: float) -> None:
        """Test the lists that are due, all at once."""
        due = {_key(one): one for one in self._lists if self._states[_key(one)].next_test <= now}
        found = await asyncio.gather(*(self._test(one) for one in due.values()))
        for (key, one), health in zip(due.items(), found, strict=True):
            if (state := self._states.get(key)) is not None:
                self._settle(one, state, health, now)

    async def _test(self, one: DnsList) -> Health:
        try:
            async with asyncio.timeout(_TEST):
                return await examine(self._resolver, one)
        except TimeoutError:
            return Health(None, "the DNS did not answer in time")

    def _settle(self, one: DnsList, state: _State, health: Health, now: float) -> None:
        if health.usable is None:  # what was known before still holds
            state.next_test = now + _SOON
            state.why = state.why if state.tested else health.why
            return
        if not health.usable:
            self._switch_off(one, state, health.why, now)
        elif not state.usable:
            state.usable, state.why = True, ""
            if state.tested:
                self._record(Event("list.enabled", now, {"list": one.zone}))
        state.tested = True
        state.next_test = now + (DAILY if state.usable else HOURLY)

    def _switch_off(self, one: DnsList, state: _State, why: str, now: float) -> None:
        if state.usable or not state.tested:
            self._record(Event("list.disabled", now, {"list": one.zone, "why": why}))
        state.usable, state.tested, state.why = False, True, why
        state.next_test = now + HOURLY
        if now - state.told_at >= DAILY:
            state.told_at = now
            self._alert(f"the DNS list {one.zone} cannot be used: it is not asked until it can", {"list": one.zone, "why": why})


def _key(one: DnsList) -> tuple[str, bool]:
    return one.zone, one.domains
