"""Directories: others who know passwords. A directory vouches for the logins of its own domains, and for nothing else.

What it says is held to that here, whatever kind it is: another login than was asked for is a lie, and a sender address outside
of its domains is left out. Where it gives no answer that can be understood in time, nobody knows, and that is ``Down``
(454 4.7.0, RFC 4954 section 6), never a yes and never a no.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from postlatch.accounts.names import login_key, parse_login, parse_send_as
from postlatch.accounts.pool import Busy
from postlatch.accounts.problem import AccountError
from postlatch.limits.gauge import Gauge

MOST_ENTRIES: Final = 1000  # sender addresses of one account
MAX_ENTRY: Final = 320  # octets of one of them
_SHOWN: Final = 200


class Found(NamedTuple):
    """A directory's yes: whose password it was, and as whom that login may send beside itself."""

    login: str
    send_as: frozenset[str] = frozenset()


class Down(Busy):
    """No answer: unreachable, too late, too much, not understood. Its text is ours, or printable and short."""


class Lies(Down):
    """An answer about somebody else than was asked for."""


class Directory(Protocol):
    """One kind of directory. ``login`` is canonical and in its domains, ``password`` is never empty."""

    async def verify(self, login: str, password: str) -> Found | None:
        """Found if this is the password of that login, None if it is not; ``Down`` (or any other error) if nobody knows."""
        ...

    def close(self) -> None:
        """Let go of what it holds; questions under way fail."""
        ...


Told = Callable[[str, str, str], None]  # directory, outcome ("accepted", "refused", "failed", "lied"), why


def _nobody(_directory: str, _outcome: str, _why: str) -> None:
    return


@dataclass(slots=True, eq=False, weakref_slot=True)
class Entry:
    """A directory as the configuration names it, with the bounds of one question.

    A "no" takes a multiple of ``step`` seconds, so that an unknown user and a wrong password look alike from outside although
    the directory may be quicker with one of them. ``cache_seconds``: how long a yes needs no second question.
    """

    name: str
    domains: frozenset[str]
    directory: Directory
    timeout: float = 5.0
    cache_seconds: float = 60.0
    step: float = 0.25
    places: int = 32
    per_client: int = 4
    told: Told = _nobody
    _taken: int = 0
    _clients: Gauge = field(default_factory=Gauge)

    async def ask(self, login: str, password: str, client: str) -> Found | None:
        """What the directory says of a login in its domains, held to what it may say; ``Busy`` if it cannot be asked now."""
        if self._taken >= self.places:
            raise Busy("too many questions wait for the directory")
        if client and not self._clients.acquire(client, self.per_client):
            raise Busy("this client has too many questions waiting for the directory")
        self._taken += 1
        try:
            return await self._ask(login, password)
        finally:
            self._taken -= 1
            if client:
                self._clients.release(client)

    async def _ask(self, login: str, password: str) -> Found | None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(self.timeout):
                found = await self.directory.verify(login, password)
            checked = None if found is None else held(self, login, found)
        except Lies as error:
            self.told(self.name, "lied", str(error))
            raise
        except Exception as error:
            why = str(error) if isinstance(error, Down) else _named(error)
            self.told(self.name, "failed", why)
            raise Down(why) from error
        self.told(self.name, "refused" if checked is None else "accepted", "")
        if checked is None and self.step > 0:
            await asyncio.sleep(self.step - (loop.time() - started) % self.step)
        return checked


def _named(error: Exception) -> str:
    """Of an error of a library: its kind alone, for its text may hold what was sent."""
    return "it did not answer in time" if isinstance(error, TimeoutError) else f"{type(error).__name__} while it was asked"


class Directories:
    """Which directory knows a login: by its domain, exactly. Names without a domain are ours."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries = tuple(entries)
        self._by_domain = {domain: entry for entry in self.entries for domain in entry.domains}

    def close(self) -> None:
        """They are asked no more."""
        for entry in self.entries:
            entry.directory.close()

    def of(self, login: str) -> Entry | None:
        """The directory of a login in the form of ``login_key``; None if we keep its password ourselves.

        None too for what can be no login: a directory may be less strict, and take " alice@example.com" for alice.
        """
        entry = self._by_domain.get(login.rpartition("@")[2]) if "@" in login else None
        return entry if entry is not None and _is_login(login) else None


def _is_login(text: str) -> bool:
    try:
        return parse_login(text) == text
    except AccountError:
        return False


def held(entry: Entry, login: str, found: Found) -> Found:
    """The answer as far as it may go. ``Lies`` if it is about another login."""
    if login_key(found.login) != login:
        raise Lies(f"it answered for {printable(found.login)!r} when asked for {printable(login)!r}")
    if len(found.send_as) > MOST_ENTRIES:
        raise Down(f"it names more than {MOST_ENTRIES} sender addresses")
    sending = (_entry(text) for text in found.send_as)
    return Found(login, frozenset(text for text in sending if text.rpartition("@")[2] in entry.domains))


def printable(text: str) -> str:
    """For people: ASCII, short."""
    return ascii(text)[1:-1][:_SHOWN]


def _entry(text: str) -> str:
    """Its canonical form; empty, and so of no domain, where it is none."""
    if len(text) > MAX_ENTRY:
        return ""
    try:
        return parse_send_as(text)
    except AccountError:
        return ""
