"""Credentials for users that do not exist, so that nobody learns from our answers, or from their time, who does.

Every unknown name gets, for ever, the same salt (RFC 5802 section 9 warns of servers that give themselves away here), and a
hash whose check costs what an account's costs. After a change of parameters, while accounts still have the old ones, unknown
names have old and new ones in the same proportion.
"""

from __future__ import annotations

import base64
import hmac

from postlatch.accounts.app_passwords import ITERATIONS
from postlatch.accounts.book import AccountBook, Profile
from postlatch.accounts.passwords import SALT, Credentials, Random, ScramVerifier


class Decoys:
    """``secret`` survives restarts (in the store's meta) and is unknown outside; ``default`` is for a book without accounts."""

    def __init__(self, book: AccountBook, secret: bytes, default: Profile) -> None:
        if len(secret) < SALT:
            raise ValueError("the secret for false salts must have 16 octets or more")
        self._book = book
        self._secret = secret
        self._default = default

    def credentials(self, login: str) -> Credentials:
        """The false credentials of a login (canonical, or whatever the client sent). No password matches them."""
        share = int.from_bytes(self._derive("share", login)[:6], "big") / (1 << 48)
        profile = self._book.profile_at(share) or self._default
        kind = f"{profile.iterations} {profile.prefix}"  # a real salt changes with the parameters too
        salt, digest = self._derive(f"salt {kind}", login)[:SALT], self._derive(f"hash {kind}", login)
        scram_salt = self._derive(f"scram {kind}", login)[:SALT]
        keys = self._derive(f"stored {kind}", login), self._derive(f"server {kind}", login)
        return Credentials(
            f"{profile.prefix}${_plain(salt)}${_plain(digest)}", ScramVerifier(scram_salt, profile.iterations, *keys)
        )

    def app_password(self, claim: str) -> ScramVerifier:
        """The false verifier of an application password that is not there. Real ones have these iterations, all of them."""
        return ScramVerifier(
            self._derive("app salt", claim)[:SALT],
            ITERATIONS,
            self._derive("app stored", claim),
            self._derive("app server", claim),
        )

    def unusable(self, random: Random) -> Credentials:
        """Credentials that match nothing, for an account whose password a directory keeps."""
        digest, salts, keys = _plain(random(32)), (random(SALT), random(SALT)), (random(32), random(32))
        encoded = f"{self._default.prefix}${_plain(salts[0])}${digest}"
        return Credentials(encoded, ScramVerifier(salts[1], self._default.iterations, *keys))

    def _derive(self, purpose: str, login: str) -> bytes:
        return hmac.digest(self._secret, f"{purpose}\0{login}".encode("utf-8", "surrogatepass"), "sha256")


def _plain(data: bytes) -> str:
    """Base64 without padding, as in an encoded argon2 hash."""
    return base64.b64encode(data).decode("ascii").rstrip("=")
