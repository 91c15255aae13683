"""Spraying: one password, or a few, tried at many accounts from many addresses, each of which stays below every limit.

A wrong password that was tried at ``accounts`` different accounts within a day is burnt: all who tried it are guessers, and so
is whoever tries it next. So are all who tried any of a few passwords that together were tried at three times as many.
Passwords come as digests under a key of this process.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from postlatch.monitor.circles import IPNetwork

WINDOW: Final = 86_400.0
SHARED: Final = 3  # accounts at which a wrong password is more than a coincidence
FEW: Final = 3  # times ``accounts``: pairs of a shared password and an account
_CLIENTS: Final = 512  # of one password
_PASSWORDS: Final = 20_000


class _Password:
    __slots__ = ("burnt", "clients", "logins", "seen")

    def __init__(self) -> None:
        self.logins: set[str] = set()
        self.clients: dict[IPNetwork, None] = {}
        self.burnt = False
        self.seen = 0.0


class Spray:
    """``accounts``: at how many accounts one wrong password makes a spray."""

    def __init__(self, accounts: int, passwords: int = _PASSWORDS) -> None:
        self._accounts = accounts
        self._most = passwords
        self._passwords: OrderedDict[bytes, _Password] = OrderedDict()
        self._shared: set[bytes] = set()

    def add(self, digest: bytes, login: str, client: IPNetwork, now: float) -> tuple[IPNetwork, ...]:
        """One wrong password; the clients that are found out by it."""
        password = self._password(digest, now)
        if password.burnt:
            return (client,)
        password.logins.add(login)
        if len(password.clients) < _CLIENTS:
            password.clients[client] = None
        if len(password.logins) >= SHARED:
            self._shared.add(digest)
        if len(password.logins) >= self._accounts:
            return self._burn([digest])
        pairs = sum(len(self._passwords[shared].logins) for shared in self._shared)
        return self._burn(sorted(self._shared)) if pairs >= FEW * self._accounts else ()

    def __len__(self) -> int:
        return len(self._passwords)

    def _password(self, digest: bytes, now: float) -> _Password:
        found = self._passwords.get(digest)
        if found is not None and not 0 <= now - found.seen < WINDOW:
            self._drop(digest)
            found = None
        if found is None:
            found = self._passwords[digest] = _Password()
        found.seen = now
        self._passwords.move_to_end(digest)
        while len(self._passwords) > self._most:
            self._drop(next(iter(self._passwords)))
        return found

    def _burn(self, digests: list[bytes]) -> tuple[IPNetwork, ...]:
        found: dict[IPNetwork, None] = {}
        for digest in digests:
            password = self._passwords[digest]
            found.update(password.clients)
            password.burnt = True
            password.logins, password.clients = set(), {}
            self._shared.discard(digest)
        return tuple(found)

    def _drop(self, digest: bytes) -> None:
        del self._passwords[digest]
        self._shared.discard(digest)
