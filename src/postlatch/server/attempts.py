"""Logins under attack: failures are answered late, strangers leave room for those who are known, and somebody is told.

Nothing here holds a thread: a late answer is a timer, and a check that waits for its place is a future. Both are bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

from postlatch.accounts.app_passwords import split_login
from postlatch.accounts.pool import Busy
from postlatch.model.envelope import IPAddress

PLACES: Final = 1  # password checks of strangers at once: of the two hashing threads, one is free for who is known
QUEUE: Final = 64
PER_CLIENT: Final = 16


class Watcher(Protocol):
    """Who judges attempts. All of it is quick, and of the loop's thread."""

    def known(self, login: str, address: IPAddress) -> bool:
        """Did this login log in from there lately?"""
        ...

    def somebody_known(self, address: IPAddress) -> bool:
        """Did anybody log in from there lately?"""
        ...

    def failed(self, login: str, password: str | None, address: IPAddress) -> int:
        """A login failed (``password`` None: it never came here). How often the wait for the answer is to be doubled."""
        ...

    def pressed(self, address: IPAddress) -> None:
        """A login was refused unheard, because too many failed from there, and nobody is known there."""
        ...

    def refused(self, rule: str, address: IPAddress) -> None:
        """A recipient was refused for good."""
        ...


class Attempts:
    """``slowest``: the longest wait in seconds. ``waiting``: answers that wait at once. Without a watcher nobody is known."""

    def __init__(self, watcher: Watcher | None = None, *, slowest: float = 30.0, waiting: int = 1000) -> None:
        self.watcher = watcher
        self.waiting = 0
        self.slowest = slowest
        self.most_waiting = waiting
        self._places = PLACES
        self._queue: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._of_client: dict[str, int] = {}

    def known(self, login: str, address: IPAddress) -> bool:
        """Did this login log in from there lately?"""
        return self.watcher is not None and self.watcher.known(split_login(login).login, address)

    def somebody_known(self, address: IPAddress) -> bool:
        """Did anybody log in from there lately?"""
        return self.watcher is not None and self.watcher.somebody_known(address)

    def failed(self, login: str, password: str | None, address: IPAddress, wait: float) -> float:
        """Tell the watcher; how long the answer is to wait, at least ``wait`` seconds."""
        account = split_login(login).login  # LOGIN/NAME is an attempt on LOGIN
        doublings = self.watcher.failed(account, password, address) if self.watcher is not None else 0
        return max(wait, min(self.slowest, wait * float(1 << min(doublings, 10))))

    def pressed(self, address: IPAddress) -> None:
        """Tell the watcher of a login that was refused unheard."""
        if self.watcher is not None:
            self.watcher.pressed(address)

    def refused(self, rule: str, address: IPAddress) -> None:
        """Tell the watcher of a refused recipient."""
        if self.watcher is not None:
            self.watcher.refused(rule, address)

    def later(self, seconds: float, answer: Callable[..., None], *arguments: Any) -> bool:
        """Call ``answer`` later; False if too many wait already, and nothing will be called."""
        if self.waiting >= self.most_waiting:
            return False
        self.waiting += 1
        asyncio.get_running_loop().call_later(seconds, self._due, answer, arguments)
        return True

    def _due(self, answer: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.waiting -= 1
        answer(*arguments)

    @contextlib.asynccontextmanager
    async def place(self, login: str, address: IPAddress, client: str) -> AsyncIterator[None]:
        """Around the check of a password. A stranger waits for a place; Busy if too many do, of all or of this ``client``.

        Who is known goes first: the hashing threads never have more than ``PLACES`` checks of strangers before it.
        """
        if self.known(login, address):
            yield
            return
        try:
            await self._take(client)
        except Busy:
            # Else guessers would hide behind each other: who presses on where there is no room is never heard, so never banned.
            if not self.somebody_known(address):
                self.pressed(address)
            raise
        try:
            yield
        finally:
            self._give_back(client)

    async def _take(self, client: str) -> None:
        held = self._of_client.get(client, 0)
        if held >= PER_CLIENT:
            raise Busy("this client has too many password checks waiting")
        if len(self._queue) >= QUEUE:
            raise Busy("too many password checks are waiting")
        self._of_client[client] = held + 1
        if self._places > 0:
            self._places -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((client, place))
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._give_back(client)  # it came, and nobody takes it
            else:
                self._leave(client)
            raise

    def _give_back(self, client: str) -> None:
        self._leave(client)
        while self._queue:
            _, place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._places += 1

    def _leave(self, client: str) -> None:
        left = self._of_client[client] - 1
        if left:
            self._of_client[client] = left
        else:
            del self._of_client[client]
