"""Are these credentials right? The same work for every user, known or not, and no more of it than there is room for."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from postlatch.accounts.book import AccountBook, Profile
from postlatch.accounts.changes import Change, rehash
from postlatch.accounts.decoys import Decoys
from postlatch.accounts.names import login_key
from postlatch.accounts.passwords import (
    Argon2Hasher,
    Credentials,
    Hasher,
    HashFailed,
    HashSettings,
    Random,
    make_credentials,
    prepare_password,
)
from postlatch.accounts.pool import Busy, HashPool
from postlatch.accounts.problem import AccountError
from postlatch.accounts.recent import Recent
from postlatch.accounts.sasl import Login, Mechanism, Plain
from postlatch.accounts.scram import NAME as SCRAM
from postlatch.accounts.scram import Found, ScramSha256
from postlatch.model.clock import Clock
from postlatch.store.writer import Operation

__all__ = ["MECHANISMS", "AuthSettings", "Authenticator", "Busy"]

MECHANISMS = (SCRAM, "PLAIN", "LOGIN")  # in the order in which they are offered
_NONCE = 24  # octets


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """How logins are judged. Times in seconds.

    A right password is remembered for ``cache_seconds``, a wrong one for ``wrong_seconds``; ``cache_entries`` of each at most.
    ``workers`` threads hash, ``queue`` checks wait beyond them, ``per_client`` of one client at most. How many failures end a
    session, and how late they are answered, is the session's affair.
    """

    hashing: HashSettings = field(default_factory=HashSettings)
    cache_seconds: float = 300
    wrong_seconds: float = 86_400
    cache_entries: int = 10_000
    workers: int = 2
    queue: int = 64
    per_client: int = 16


class Authenticator:
    """Verifies passwords and makes mechanisms. It belongs to the loop's thread.

    ``salt_secret`` (16 octets or more) survives restarts, or unknown users would change their salts and so be known as unknown.
    ``hasher`` is argon2id with the settings' parameters unless another is given. Limits and bans come before any call.
    """

    def __init__(
        self,
        book: AccountBook,
        settings: AuthSettings,
        *,
        clock: Clock,
        random: Random,
        salt_secret: bytes,
        hasher: Hasher | None = None,
    ) -> None:
        self._book = book
        self._settings = settings
        self._random = random
        self._hasher = hasher or Argon2Hasher(settings.hashing)
        self._decoys = Decoys(book, salt_secret, Profile(settings.hashing.iterations, self._hasher.prefix()))
        self._pool = HashPool(settings.workers, settings.queue, settings.per_client)
        self._key = random(32)  # of this process: the caches hold nothing that could be tried out elsewhere
        self._verified = Recent(clock, settings.cache_seconds, settings.cache_entries)
        self._wrong = Recent(clock, settings.wrong_seconds, settings.cache_entries)

    def mechanism(self, name: str) -> Mechanism | None:
        """A new conversation of that mechanism, in any case; None if there is none of that name (504 5.5.4)."""
        match name.upper():
            case "PLAIN":
                return Plain()
            case "LOGIN":
                return Login()
            case "SCRAM-SHA-256":
                return ScramSha256(self._find, self._random(_NONCE).hex())
            case _:
                return None

    async def verify(self, login: str, password: str, client: str = "") -> str | None:
        """The canonical login if the password is its password, else None. A suspended account verifies: MAIL refuses it.

        Busy (454 4.7.0) if that cannot be told now. ``client`` is the client's prefix: with it, what one client can queue is
        bounded, and its own wrong passwords are answered from memory the next time. The same hash is computed for users that
        do not exist.
        """
        name = login_key(login)
        try:
            secret = prepare_password(password, stored=False)
        except AccountError:
            return None
        record, known = self._book.get(name), self._credentials(name)
        digest = self._digest(name, known, secret)
        if record is not None and digest in self._verified:
            return name
        wrong = self._digest(name, known, secret, client)
        if wrong in self._wrong:
            return None
        matched = await self._compare(known, secret, client)
        after = self._book.get(name)
        if (record and record.generation) != (after and after.generation):
            raise Busy("the account changed while its password was checked")
        if record is None or not matched:
            if client:
                # Of this client only: a quick answer must not tell one client what another has tried.
                self._wrong.add(wrong)
            return None
        self._verified.add(digest)
        return name

    def known_wrong(self, login: str, password: str, client: str) -> bool:
        """True if this client tried this password for this login lately and it was wrong, and nothing has changed since.

        Such an attempt tells its client nothing new: a device with an old password need not be banned for repeating it
        (RELIABILITY, thresholds: count distinct wrong passwords). ``verify`` answers it without hashing.
        """
        name = login_key(login)
        try:
            secret = prepare_password(password, stored=False)
        except AccountError:
            return False
        return self._digest(name, self._credentials(name), secret, client) in self._wrong

    async def rehash(self, login: str, password: str) -> Operation[Change | None] | None:
        """After a success: the operation that keeps this password under today's parameters; None if there is nothing to do.

        The password is verified once more here, so that a mistaken call can change nothing.
        """
        record = self._book.get(login_key(login))
        if record is None or not self._outdated(record.credentials):
            return None

        def work() -> Credentials | None:
            if not self._hasher.verify(record.credentials.password_hash, prepare_password(password, stored=False)):
                return None
            return self._make(password)

        try:
            credentials = await self._pool.run(work, "")
        except (Busy, HashFailed, AccountError):
            return None  # the next login is another chance
        return rehash(record, credentials) if credentials else None

    async def credentials(self, password: str) -> Credentials:
        """Hash a new password off the loop's thread; AccountError if it can be none, Busy, HashFailed."""
        return await self._pool.run(lambda: self._make(password), "")

    def close(self) -> None:
        """End the hashing threads."""
        self._pool.close()

    def _make(self, password: str) -> Credentials:
        return make_credentials(password, self._hasher, self._settings.hashing.iterations, self._random)

    def _outdated(self, credentials: Credentials) -> bool:
        return credentials.scram.iterations != self._settings.hashing.iterations or self._hasher.outdated(
            credentials.password_hash
        )

    async def _compare(self, credentials: Credentials, secret: bytes, client: str) -> bool:
        try:
            return await self._pool.run(lambda: self._hasher.verify(credentials.password_hash, secret), client)
        except HashFailed as error:
            raise Busy("the password could not be checked") from error

    def _credentials(self, name: str) -> Credentials:
        """Of the account, or the decoy's. The decoy is always made: its microseconds are nobody's in particular."""
        decoy = self._decoys.credentials(name)
        record = self._book.get(name)
        return decoy if record is None else record.credentials

    def _find(self, name: str) -> Found:
        credentials = self._credentials(name)
        return Found(credentials.scram, known=self._book.get(name) is not None)

    def _digest(self, name: str, credentials: Credentials, secret: bytes, client: str = "") -> bytes:
        """One attempt, under a key of this process. Bound to the hash and the generation, it is void once either changes.

        ``secret`` may hold any octet but NUL, and stands last.
        """
        record = self._book.get(name)
        generation = 0 if record is None else record.generation
        head = f"{name}\0{generation}\0{credentials.password_hash}\0{client}\0".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, head + secret, "sha256")
