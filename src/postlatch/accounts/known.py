"""Whom each account has written to before. A thief writes to strangers; the limit on new recipients is where that shows."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, Protocol, TypeVar

from postlatch.model.address import Address
from postlatch.store.writer import Operation

T = TypeVar("T")
MAX_DIGESTS: Final = 1_000_000  # in memory, of all accounts together: about 70 MB


class Read(Protocol):
    """``Reader.read`` of the store: runs a query on a connection of its own, off the loop's thread."""

    def __call__(self, query: Callable[[sqlite3.Connection], set[bytes]], /) -> Awaitable[set[bytes]]:
        """The query's result."""
        ...


class KnownRecipients:
    """A bounded cache over the table ``known_recipients``. It belongs to the loop's thread.

    ``secret`` (16 octets or more, the same after a restart) keys the digests: who copies the database cannot try addresses out.
    """

    def __init__(self, read: Read, secret: bytes, max_accounts: int = 1_000, max_digests: int = MAX_DIGESTS) -> None:
        self._read = read
        self._secret = secret
        self._max_accounts = max_accounts
        self._max_digests = max_digests
        self._total = 0
        self._accounts: OrderedDict[str, set[bytes]] = OrderedDict()  # least recently used first
        self._loading: dict[str, tuple[asyncio.Future[None], set[bytes]]] = {}

    async def load(self, account: str) -> None:
        """Have the account's recipients in memory. Raises what the reader raises; the account then stays unknown."""
        while account in self._loading:
            await asyncio.shield(self._loading[account][0])
        if account in self._accounts:
            self._accounts.move_to_end(account)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        added: set[bytes] = set()
        self._loading[account] = done, added
        try:
            digests = await self._read(lambda connection: _select(connection, account))
            self._keep(account, digests | added)
        finally:
            del self._loading[account]
            done.set_result(None)  # whoever waited looks again, and loads for itself if this failed

    def loaded(self, account: str) -> bool:
        """True if ``is_new`` knows this account."""
        return account in self._accounts

    def is_new(self, account: str, address: Address) -> bool:
        """True if the account has not written to that mailbox before, or if this is not known (it is not loaded)."""
        digests = self._accounts.get(account)
        return digests is None or self._digest(account, address) not in digests

    def remember(self, account: str, addresses: Iterable[Address], now: float) -> Operation[None]:
        """Know these from now on, and the operation that keeps it. Returned even if there is nothing new to keep."""
        digests = {self._digest(account, address) for address in addresses}
        if account in self._loading:
            self._loading[account][1].update(digests)
        elif account in self._accounts:
            known = self._accounts[account]
            self._total -= len(known)
            known |= digests
            self._total += len(known)
            self._shrink()
        rows = [(account, digest, now) for digest in digests]

        def operation(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR IGNORE INTO known_recipients (account, digest, first_at) VALUES (?, ?, ?)", rows)

        return operation

    def forget(self, account: str) -> None:
        """Drop a deleted account from memory; ``changes.delete`` drops its rows."""
        self._total -= len(self._accounts.pop(account, ()))

    def _keep(self, account: str, digests: set[bytes]) -> None:
        self.forget(account)
        self._accounts[account] = digests
        self._total += len(digests)
        self._shrink()

    def _shrink(self) -> None:
        while len(self._accounts) > 1 and (len(self._accounts) > self._max_accounts or self._total > self._max_digests):
            self.forget(next(iter(self._accounts)))

    def _digest(self, account: str, address: Address) -> bytes:
        text = f"{account}\0{address.key}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=8, key=self._secret[:64]).digest()


def _select(connection: sqlite3.Connection, account: str) -> set[bytes]:
    return {digest for (digest,) in connection.execute("SELECT digest FROM known_recipients WHERE account = ?", (account,))}
