"""Application passwords: one for each device or program, made by us, shown once, and taken away alone.

The secret is 140 random bits, so nothing can guess it and a plain digest keeps it (a slow hash protects what people choose).
It is looked up by the login that was claimed: ``alice@example.com``, or ``alice@example.com/printer`` to name the password as
well, which SCRAM needs, because there the server must say whose salt it is before it knows what the client has.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, NamedTuple

from postlatch.accounts.names import NULL_SENDER, login_key, parse_send_as
from postlatch.accounts.passwords import SALT, Random, ScramVerifier, scram_verifier
from postlatch.accounts.problem import AccountError
from postlatch.policy.networks import IPNetwork, normalise
from postlatch.policy.snapshot import AppPassword

ITERATIONS = 4096  # of SCRAM: the least (RFC 7677 section 4), because there is nothing to slow down; the same for ever
MOST = 100  # of one account

_CHARACTERS = 28  # base32: 140 bits
_GROUP = 4
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_SECRET = re.compile(rf"[a-z2-7]{{{_CHARACTERS}}}", re.ASCII)
_DOMAIN = b"postlatch application password\0"
COLUMNS = (
    "login, name, digest, scram_salt, scram_stored_key, scram_server_key, senders, networks, expires_at, created_at,"
    " created_by, last_used"
)


class Claim(NamedTuple):
    """Whom a client claims to be: a canonical login, and the application password that it names (None: any or the main one)."""

    login: str
    credential: str | None = None

    def __str__(self) -> str:
        """As a client would write it."""
        return self.login if self.credential is None else f"{self.login}/{self.credential}"


@dataclass(frozen=True, slots=True)
class AppPasswordRecord:
    """One application password. Times are seconds since 1970, UTC; ``expires_at`` None: it has no end."""

    login: str
    name: str
    digest: bytes = field(repr=False)
    scram: ScramVerifier
    senders: frozenset[str]
    networks: tuple[IPNetwork, ...]
    expires_at: float | None
    created_at: float
    created_by: str
    last_used: float | None

    @property
    def generation(self) -> int:
        """As an account's: one that was made anew under its name has another, whatever the clock says."""
        return int.from_bytes(self.digest[:7], "big")

    def for_policy(self) -> AppPassword:
        """What the policy needs to know."""
        return AppPassword(self.name, self.senders, self.networks, self.expires_at)


class Secret(NamedTuple):
    """A new secret: ``text`` is for the person, once; the rest is kept."""

    text: str
    digest: bytes
    scram: ScramVerifier

    def __repr__(self) -> str:
        """Nothing secret."""
        return "Secret(...)"


def split_login(text: str) -> Claim:
    """What a client calls itself, as it is looked up: the login, and the name behind the last ``/`` if it can be one.

    A local part may hold ``/`` too; a name holds no ``@``, so there is one reading.
    """
    login, slash, name = text.rpartition("/")
    if slash and login and _NAME.fullmatch(name.lower()):
        return Claim(login_key(login), name.lower())
    return Claim(login_key(text))


def parse_name(text: str) -> str:
    """The canonical name; AccountError, saying what would be right."""
    name = text.lower()
    if not text.isascii() or not _NAME.fullmatch(name):
        raise AccountError(
            "the name of an application password is 1 to 64 letters, digits, dots, underscores and hyphens, like printer"
        )
    return name


def parse_scope(login: str, send_as: frozenset[str], senders: Iterable[str]) -> frozenset[str]:
    """The canonical senders; AccountError for one that the account itself may not send as."""
    found = frozenset(map(parse_send_as, senders))
    own = send_as | ({login} if "@" in login else frozenset())
    for entry in sorted(found):
        domain = f"@{entry.rpartition('@')[2]}"
        if entry not in own and (entry == NULL_SENDER or domain not in own):
            raise AccountError(
                f"{login} may not send as {entry} itself: an application password can only do less than its account"
            )
    return found


def parse_networks(texts: Iterable[str]) -> tuple[IPNetwork, ...]:
    """Networks as they are compared; AccountError, naming what is none."""
    found = []
    for text in texts:
        try:
            found.append(normalise(ip_network(text)))
        except ValueError:
            raise AccountError(f"{text!a} is no network: write ADDRESS or ADDRESS/LENGTH without host bits") from None
    return tuple(dict.fromkeys(found))


def make_secret(login: str, random: Random) -> Secret:
    """A new secret for a (canonical) login. ``random`` is as secrets.token_bytes."""
    plain = base64.b32encode(random(18)).decode("ascii").lower()[:_CHARACTERS]
    text = "-".join(plain[start : start + _GROUP] for start in range(0, _CHARACTERS, _GROUP))
    return Secret(text, digest_of(login, plain), scram_verifier(text.encode(), random(SALT), ITERATIONS))


def digest_of(login: str, secret: str) -> bytes:
    """Of a secret without its hyphens. The login is in it: the same secret of another account is another digest."""
    return hashlib.sha256(_DOMAIN + login.encode("utf-8", "surrogatepass") + b"\0" + secret.encode()).digest()


def find_secret(claim: Claim, password: str, known: Mapping[str, AppPasswordRecord]) -> AppPasswordRecord | None:
    """The application password among ``known`` that this is; None for anything else. People may leave out the hyphens."""
    plain = password.replace("-", "").replace(" ", "").lower() if len(password) <= 2 * _CHARACTERS else ""
    if not _SECRET.fullmatch(plain):
        return None
    digest, found = digest_of(claim.login, plain), None
    for one in known.values():  # all of them, whichever it is
        if hmac.compare_digest(one.digest, digest) and claim.credential in (None, one.name):
            found = one
    return found


def from_row(row: Sequence[Any]) -> AppPasswordRecord:
    """The record of a row of ``COLUMNS``; ValueError if it is spoiled."""
    login, name, digest, salt, stored_key, server_key, senders, networks, *rest = row
    listed, places = json.loads(senders), json.loads(networks)
    if not all(isinstance(value, list) and all(isinstance(entry, str) for entry in value) for value in (listed, places)):
        raise ValueError(f"the scope of the application password {name!r} of {login!r} is not a list of texts")
    expires_at, created_at, created_by, last_used = rest
    return AppPasswordRecord(
        login=login,
        name=name,
        digest=digest,
        scram=ScramVerifier(salt, ITERATIONS, stored_key, server_key),
        senders=frozenset(listed),
        networks=tuple(map(ip_network, places)),
        expires_at=expires_at,
        created_at=created_at,
        created_by=created_by,
        last_used=last_used,
    )


def list_all(connection: sqlite3.Connection) -> dict[str, dict[str, AppPasswordRecord]]:
    """All of them, by login and name; ValueError if a row is spoiled."""
    found: dict[str, dict[str, AppPasswordRecord]] = {}
    for row in connection.execute(f"SELECT {COLUMNS} FROM app_passwords ORDER BY login, name"):  # noqa: S608 - a constant
        record = from_row(row)
        found.setdefault(record.login, {})[record.name] = record
    return found


def list_of(connection: sqlite3.Connection, login: str) -> dict[str, AppPasswordRecord]:
    """Those of one account, by name."""
    rows = connection.execute(f"SELECT {COLUMNS} FROM app_passwords WHERE login = ? ORDER BY name", (login,))  # noqa: S608
    return {record.name: record for record in map(from_row, rows)}
