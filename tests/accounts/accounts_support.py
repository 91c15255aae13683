"""A hasher that counts, randomness that repeats, and a database: what the tests of this room share."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from postlatch.accounts import changes
from postlatch.accounts.authenticator import Authenticator, AuthSettings
from postlatch.accounts.book import AccountBook
from postlatch.accounts.passwords import Credentials, HashFailed, HashSettings, Random, make_credentials
from postlatch.store import schema
from postlatch.testing.clock import FakeClock

T = TypeVar("T")

NOW = 1_767_225_600.0
SECRET = b"a secret that survives restarts"
SETTINGS = AuthSettings(hashing=HashSettings(iterations=4096))
PASSWORD = "correct horse"


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run one conversation on a loop of its own."""
    return asyncio.run(coroutine)


def counting_random() -> Random:
    """As secrets.token_bytes, but predictable: every call gives other octets."""
    numbers = itertools.count(1)
    return lambda size: hashlib.shake_128(next(numbers).to_bytes(8)).digest(size)


class CountingHasher:
    """A quick stand-in for argon2id that keeps the parameters and outcome of every call."""

    def __init__(self, parameters: str = "m=8,t=1,p=1") -> None:
        self.parameters = parameters
        self.verified: list[str] = []  # the parameters of each hash that was checked
        self.hashed = 0
        self.fails = False
        self.agrees = False
        self.gate: threading.Event | None = None

    def hash(self, secret: bytes, salt: bytes) -> str:
        """The encoded hash."""
        self.hashed += 1
        return f"{self.prefix()}${_b64(salt)}${_b64(hashlib.sha256(_b64(salt).encode() + secret).digest())}"

    def verify(self, encoded: str, secret: bytes) -> bool:
        """True if ``encoded`` is the hash of ``secret``."""
        prefix, salt, digest = encoded.rsplit("$", 2)
        self.verified.append(prefix)
        if self.gate is not None:
            self.gate.wait(10)
        if self.fails:
            raise HashFailed("no memory")
        return self.agrees or digest == _b64(hashlib.sha256(salt.encode() + secret).digest())

    def outdated(self, encoded: str) -> bool:
        """True if ``encoded`` has other parameters."""
        return not encoded.startswith(self.prefix() + "$")

    def prefix(self) -> str:
        """Parameters as they stand before the salt."""
        return f"$argon2id$v=19${self.parameters}"


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


class Desk:
    """A database in memory with its book: what the composition root does around operations, done at once."""

    def __init__(self, hasher: CountingHasher | None = None) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        schema.create(self.connection)
        self.book = AccountBook()
        self.random = counting_random()
        self.hasher = hasher or CountingHasher()
        self.clock = FakeClock(NOW)

    def credentials(self, password: str = PASSWORD) -> Credentials:
        """Hash a password, without counting it."""
        made = make_credentials(password, self.hasher, SETTINGS.hashing.iterations, self.random)
        self.hasher.hashed -= 1
        return made

    def commit(self, operation: Callable[[sqlite3.Connection], changes.Change | None]) -> changes.Change | None:
        """Run an operation and let the book know."""
        change = operation(self.connection)
        self.book.apply(change)
        return change

    def add(self, login: str, password: str = PASSWORD, send_as: Iterable[str] = ()) -> None:
        """An account."""
        self.commit(changes.add(login, send_as, self.credentials(password), self.clock.now()))

    def authenticator(self, settings: AuthSettings = SETTINGS, salt_secret: bytes = SECRET) -> Authenticator:
        """An authenticator over the book."""
        return Authenticator(
            self.book, settings, clock=self.clock, random=self.random, salt_secret=salt_secret, hasher=self.hasher
        )
