"""What is kept of a password: an argon2id hash for PLAIN and LOGIN, and the keys of RFC 5802 for SCRAM-SHA-256."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from argon2 import PasswordHasher
from argon2.exceptions import HashingError, InvalidHashError, VerificationError, VerifyMismatchError

from postlatch.accounts.problem import AccountError
from postlatch.accounts.saslprep import PrepError, saslprep

MAX_PASSWORD = 1024  # octets, before preparation
SALT = 16  # octets, of both kinds: RFC 9106 section 3.1

Random = Callable[[int], bytes]  # as secrets.token_bytes: so many unpredictable octets


@dataclass(frozen=True, slots=True)
class HashSettings:
    """The cost of one guess. The defaults are OWASP's minimum for argon2id; ``memory`` in KiB, ``iterations`` of SCRAM."""

    memory: int = 19_456
    passes: int = 2
    lanes: int = 1
    iterations: int = 10_000

    def __post_init__(self) -> None:
        if self.iterations < 4096:
            raise ValueError("SCRAM-SHA-256 needs 4096 iterations or more (RFC 7677 section 4)")


@dataclass(frozen=True, slots=True)
class ScramVerifier:
    """What RFC 5802 section 3 calls the authentication information. A thief of the database still lacks the client's key."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """All that is kept of one password. Nothing secret appears in its ``repr``."""

    password_hash: str = field(repr=False)
    scram: ScramVerifier


class HashFailed(Exception):
    """The hash could not be computed (memory, a spoiled row). This is no answer to whether a password is right."""


class Hasher(Protocol):
    """The slow function. Its methods may run in any thread."""

    def hash(self, secret: bytes, salt: bytes) -> str:
        """The encoded hash; HashFailed."""
        ...

    def verify(self, encoded: str, secret: bytes) -> bool:
        """True if ``encoded`` is the hash of ``secret``; HashFailed if that cannot be told."""
        ...

    def outdated(self, encoded: str) -> bool:
        """True if ``encoded`` has other parameters than new hashes get."""
        ...

    def prefix(self) -> str:
        """Parameters of new hashes as they stand before the salt: ``$argon2id$v=19$m=19456,t=2,p=1``."""
        ...


class Argon2Hasher:
    """argon2id (RFC 9106). Both calls release the interpreter lock."""

    def __init__(self, settings: HashSettings) -> None:
        self._settings = settings
        self._hasher = PasswordHasher(
            time_cost=settings.passes, memory_cost=settings.memory, parallelism=settings.lanes, hash_len=32, salt_len=SALT
        )

    def hash(self, secret: bytes, salt: bytes) -> str:
        """The encoded hash; HashFailed."""
        try:
            return self._hasher.hash(secret, salt=salt)
        except HashingError as error:
            raise HashFailed(str(error)) from error

    def verify(self, encoded: str, secret: bytes) -> bool:
        """True if ``encoded`` is the hash of ``secret``; HashFailed if that cannot be told."""
        try:
            return self._hasher.verify(encoded, secret)
        except VerifyMismatchError:
            return False
        except (VerificationError, InvalidHashError, UnicodeEncodeError) as error:
            raise HashFailed(type(error).__name__) from error

    def outdated(self, encoded: str) -> bool:
        """True if ``encoded`` has other parameters than new hashes get."""
        return self._hasher.check_needs_rehash(encoded)

    def prefix(self) -> str:
        """Parameters of new hashes as they stand before the salt."""
        return f"$argon2id$v=19$m={self._settings.memory},t={self._settings.passes},p={self._settings.lanes}"


def prepare_password(password: str, *, stored: bool) -> bytes:
    """The octets that are hashed (RFC 4013, UTF-8); AccountError if this can be no password. ``stored``: it is being set."""
    try:
        octets = len(password.encode())
    except UnicodeEncodeError:
        raise AccountError("the password is not valid text") from None
    if octets > MAX_PASSWORD:
        raise AccountError(f"the password is longer than {MAX_PASSWORD} octets")
    try:
        prepared = saslprep(password, stored=stored).encode()
    except PrepError as error:
        raise AccountError(f"the password {error}") from None
    if not prepared:
        raise AccountError("the password is empty")
    return prepared


def make_credentials(password: str, hasher: Hasher, iterations: int, random: Random) -> Credentials:
    """Hash a new password. Slow on purpose: not for the loop's thread. AccountError if the password is unusable; HashFailed."""
    secret = prepare_password(password, stored=True)
    return Credentials(hasher.hash(secret, random(SALT)), scram_verifier(secret, random(SALT), iterations))


def scram_verifier(secret: bytes, salt: bytes, iterations: int) -> ScramVerifier:
    """RFC 5802 section 3 with SHA-256 (RFC 7677). ``secret`` is a prepared password."""
    salted = hashlib.pbkdf2_hmac("sha256", secret, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return ScramVerifier(salt, iterations, hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256"))
