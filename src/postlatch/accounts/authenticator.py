"""Are these credentials right? The same work for every user, known or not, and no more of it than there is room for."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from postlatch.accounts import directory
from postlatch.accounts.app_passwords import AppPasswordRecord, Claim, Secret, find_secret, make_secret, split_login
from postlatch.accounts.book import AccountBook, Profile
from postlatch.accounts.changes import Change, rehash
from postlatch.accounts.decoys import Decoys
from postlatch.accounts.directory import Directories, Entry
from postlatch.accounts.mechanisms import NO_CHANNEL, Channel, make_mechanism
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
from postlatch.accounts.records import OWN
from postlatch.accounts.sasl import Mechanism
from postlatch.accounts.scram import Found
from postlatch.model.clock import Clock
from postlatch.policy.credentials import PROVED_ELSEWHERE
from postlatch.store.writer import Operation

__all__ = ["AuthSettings", "Authenticator", "Busy"]


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """How logins are judged. Times in seconds.

    A right password is remembered for ``cache_seconds``, a wrong one for ``wrong_seconds``; ``cache_entries`` of each at most.
    ``workers`` threads hash, ``queue`` checks wait beyond them, ``per_client`` of one client at most. How many failures end a
    session, and how late they are answered, is the session's affair. ``main_password`` False: an account's own password is
    never right here, only its application passwords are.
    """

    hashing: HashSettings = field(default_factory=HashSettings)
    cache_seconds: float = 300
    wrong_seconds: float = 86_400
    cache_entries: int = 10_000
    workers: int = 2
    queue: int = 64
    per_client: int = 16
    main_password: bool = True


async def _nobody_enrols(name: str, _found: directory.Found) -> None:
    raise directory.Down(f"nobody takes up the accounts of the directory {name}")


class Authenticator:
    """Verifies passwords and makes mechanisms. It belongs to the loop's thread.

    ``salt_secret`` (16 octets or more) survives restarts, or unknown users would change their salts and so be known as unknown.
    ``hasher`` is argon2id with the settings' parameters unless another is given. Limits and bans come before any call.
    ``directories`` and ``main_password`` are replaced on reload; ``enrol`` makes an account of what a directory has said.
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
        self._clock = clock
        self._verified = Recent(clock, settings.cache_seconds, settings.cache_entries)
        self._wrong = Recent(clock, settings.wrong_seconds, settings.cache_entries)
        self._vouchers: WeakKeyDictionary[Entry, Recent] = WeakKeyDictionary()
        self.main_password = settings.main_password
        self.directories = Directories()
        self.enrol: Callable[[str, directory.Found], Awaitable[None]] = _nobody_enrols
        self.used: dict[tuple[str, str], float] = {}  # application passwords, by login and name: when last

    def mechanism(self, name: str, channel: Channel = NO_CHANNEL) -> Mechanism | None:
        """A new conversation of that mechanism, in any case; None if there is none of that name (504 5.5.4)."""
        return make_mechanism(name, self._find, self._random, channel)

    async def verify(self, login: str, password: str, client: str = "") -> Claim | None:
        """Who that is, if the password is theirs, else None. A suspended account verifies: MAIL refuses it.

        An application password counts for the plain login and for ``LOGIN/NAME``. A directory is asked about logins of its own.
        Busy (454 4.7.0) if that cannot be told now. ``client`` is the client's prefix: with it, what one client can queue is
        bounded, and its own wrong passwords are answered from memory the next time. The same hash is computed for users that
        do not exist.
        """
        claim = split_login(login)
        try:
            secret = prepare_password(password, stored=False)
        except AccountError:
            return None
        shown = find_secret(claim, password, self._app_passwords(claim.login))
        if shown is not None:
            return Claim(claim.login, shown.name)
        if claim.credential is None and (entry := self.directories.of(claim.login)) is not None:
            return await self._by_directory(entry, claim.login, password, client)
        return await self._by_hash(claim, secret, client)

    async def _by_hash(self, claim: Claim, secret: bytes, client: str) -> Claim | None:
        name = str(claim)
        record, known = self._book.get(name), self._credentials(name)
        digest = self._digest(name, known, secret)
        if record is not None and digest in self._verified:
            return claim
        wrong = self._digest(name, known, secret, client)
        if wrong in self._wrong:
            return None
        matched = await self._compare(known, secret, client)
        after = self._book.get(name)
        if (record and record.generation) != (after and after.generation):
            raise Busy("the account changed while its password was checked")
        if record is None or not matched or not self.main_password:
            if client:
                # Of this client only: a quick answer must not tell one client what another has tried.
                self._wrong.add(wrong)
            return None
        self._verified.add(digest)
        return claim

    async def _by_directory(self, entry: Entry, name: str, password: str, client: str) -> Claim | None:
        """A yes is remembered for the directory's short time, and for that time holds without it; a no is asked for again."""
        record = self._book.get(name)
        if record is not None and record.source == entry.name and self._vouched(entry, name, password) in self._answers(entry):
            return Claim(name)
        found = await entry.ask(name, password, client)
        if found is None:
            if client:
                self._wrong.add(self._attempt(entry, name, password, client))
            return None
        record = self._book.get(name)
        if record is None or record.source != entry.name or record.send_as != found.send_as - {name}:
            await self.enrol(entry.name, found)
            record = self._book.get(name)
        if record is None or record.source != entry.name:
            raise Busy("the account of this login changed while the directory was asked")
        self._answers(entry).add(self._vouched(entry, name, password))
        return Claim(name)

    def admit(self, claim: Claim, now: float) -> int | None:
        """At the end of a login: the generation of what was shown, None if it is gone meanwhile. Notes the use."""
        generation = self.generation(claim.login, claim.credential)
        if generation is not None and claim.credential is not None and claim.credential not in PROVED_ELSEWHERE:
            self.used[claim.login, claim.credential] = now
        return generation

    def generation(self, login: str, credential: str | None) -> int | None:
        """Of what was shown: the account's, or the application password's; None if it is gone."""
        shown = None if credential in PROVED_ELSEWHERE else credential
        return self._book.generation(login, shown)

    def known_wrong(self, login: str, password: str, client: str) -> bool:
        """True if this client tried this password for this login lately and it was wrong, and nothing has changed since.

        Such an attempt tells its client nothing new: a device with an old password need not be banned for repeating it
        (RELIABILITY, thresholds: count distinct wrong passwords). ``verify`` answers it without hashing.
        """
        claim = split_login(login)
        try:
            secret = prepare_password(password, stored=False)
        except AccountError:
            return False
        entry = self.directories.of(claim.login) if claim.credential is None else None
        if entry is not None:
            return self._attempt(entry, claim.login, password, client) in self._wrong
        name = str(claim)
        return self._digest(name, self._credentials(name), secret, client) in self._wrong

    async def rehash(self, claim: Claim, password: str) -> Operation[Change | None] | None:
        """After a success: the operation that keeps this password under today's parameters; None if there is nothing to do.

        The password is verified once more here, so that a mistaken call can change nothing.
        """
        record = self._book.get(claim.login) if claim.credential is None else None
        if record is None or record.source != OWN or not self._outdated(record.credentials):
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

    def unusable(self) -> Credentials:
        """Credentials that match nothing, for an account whose password a directory keeps."""
        return self._decoys.unusable(self._random)

    def new_secret(self, login: str) -> Secret:
        """A new application password for a (canonical) login."""
        return make_secret(login, self._random)

    def close(self) -> None:
        """End the hashing threads, and what directories hold."""
        self.directories.close()
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

    def _find(self, text: str) -> Found:
        """What SCRAM checks against: an application password, the password of an account where that counts, or a decoy."""
        claim = split_login(text)
        if claim.credential is not None:
            shown = self._app_passwords(claim.login).get(claim.credential)
            decoy = self._decoys.app_password(str(claim))
            return Found(decoy if shown is None else shown.scram, known=shown is not None)
        if self.directories.of(claim.login) is not None:
            # The directory knows the password and SCRAM cannot ask it: uniformly wrong, like a password that is.
            return Found(self._decoys.credentials(claim.login).scram, known=False)
        record = self._book.get(claim.login)
        known = record is not None and record.source == OWN and self.main_password
        return Found(self._credentials(claim.login).scram, known=known)

    def _app_passwords(self, login: str) -> Mapping[str, AppPasswordRecord]:
        """Those of an account whose password we keep: who comes from a directory has none but the directory's."""
        record = self._book.get(login)
        if record is None or record.source != OWN or self.directories.of(login) is not None:
            return {}
        return record.app_passwords

    def _answers(self, entry: Entry) -> Recent:
        """What this directory has said yes to. Another directory, or this one after a reload, begins anew."""
        answers = self._vouchers.get(entry)
        if answers is None:
            answers = self._vouchers[entry] = Recent(self._clock, entry.cache_seconds, self._settings.cache_entries)
        return answers

    def _vouched(self, entry: Entry, name: str, password: str) -> bytes:
        """One right password of a directory, under a key of this process. A change of the account makes it void."""
        head = f"{entry.name}\0{name}\0{self._book.generation(name)}\0"
        return hmac.digest(self._key, (head + password).encode("utf-8", "surrogatepass"), "sha256")

    def _attempt(self, entry: Entry, name: str, password: str, client: str) -> bytes:
        """One wrong password of a directory: it is asked again every time, but the device need not be counted again."""
        return hmac.digest(self._key, f"{entry.name}\0{name}\0{client}\0{password}".encode("utf-8", "surrogatepass"), "sha256")

    def _digest(self, name: str, credentials: Credentials, secret: bytes, client: str = "") -> bytes:
        """One attempt, under a key of this process. Bound to the hash and the generation, it is void once either changes.

        ``secret`` may hold any octet but NUL, and stands last.
        """
        record = self._book.get(name)
        generation = 0 if record is None else record.generation
        head = f"{name}\0{generation}\0{credentials.password_hash}\0{client}\0".encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, head + secret, "sha256")
