"""The issuer's keys (JWKS, RFC 7517): which of them may sign, kept for a while, asked for anew when a token names another."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwk
from joserfc.errors import JoseError

from postlatch.accounts.oauth_tokens import Unavailable
from postlatch.model.clock import Clock

MAX_SET: Final = 262_144  # octets
_MAX_KEYS: Final = 100
_LIFE: Final = 3600.0  # seconds, where the issuer says nothing
_SHORTEST: Final = 300.0
_LONGEST: Final = 86_400.0
_BETWEEN: Final = 60.0  # seconds between two questions: tokens with made-up key names must be no flood at the issuer's
_AFTER_FAILURE: Final = 5.0
_RSA_BITS: Final = range(2048, 8193)
_MAX_NUMBER: Final = 2048  # characters

# Asymmetric ones only: under an HMAC the public key would be the secret, and "none" is none (RFC 8725 section 3.1).
ALGORITHMS: Final = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}


class KeySetError(Exception):
    """What was read is no key set; the text says why."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One public key. ``kid`` and ``alg`` are empty where the set does not say."""

    kid: str
    alg: str
    kind: tuple[str, str | None]
    key: jwk.Key

    def fits(self, alg: str) -> bool:
        """May it verify this algorithm?"""
        return ALGORITHMS.get(alg) == self.kind and self.alg in {"", alg}


def parse_keys(octets: bytes) -> tuple[SigningKey, ...]:
    """The keys of a set that may sign; those of a kind that we do not use are passed over. KeySetError if it is none."""
    if len(octets) > MAX_SET:
        raise KeySetError("the key set is too large")
    try:
        found = json.loads(octets)
    except (ValueError, RecursionError):
        raise KeySetError("the key set is not JSON") from None
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        raise KeySetError("the key set has no list of keys")
    if len(listed) > _MAX_KEYS:
        raise KeySetError(f"the key set has more than {_MAX_KEYS} keys")
    keys = tuple(key for key in map(_signing_key, listed) if key is not None)
    if not keys:
        raise KeySetError("the key set has no key that may sign")
    return keys


def _signing_key(given: Any) -> SigningKey | None:
    if not isinstance(given, dict) or "d" in given:  # a private key that was published is nobody's any more
        return None
    kid, alg = given.get("kid", ""), given.get("alg", "")
    operations = given.get("key_ops", ["verify"])
    if given.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return None
    if not isinstance(kid, str) or not isinstance(alg, str):
        return None
    wanted = (given.get("kty"), None if given.get("kty") == "RSA" else given.get("crv"))
    kind = next((kind for kind in ALGORITHMS.values() if kind == wanted), None)
    if kind is None:
        return None
    bare = {name: given[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in given}
    if not all(isinstance(value, str) and len(value) <= _MAX_NUMBER for value in bare.values()):
        return None
    if "n" in bare and _bits(bare["n"]) not in _RSA_BITS:  # looked at first: joserfc would only warn
        return None
    try:
        key = jwk.import_key(bare)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    return SigningKey(kid, alg, kind, key)


def _bits(number: str) -> int:
    """Of a number in base64url; 0 if it is none."""
    try:
        return int.from_bytes(base64.b64decode(number + "=" * (-len(number) % 4), altchars=b"-_", validate=True)).bit_length()
    except ValueError:
        return 0


Source = Callable[[], Awaitable[tuple[bytes, float | None]]]  # the set, and for how long it may be kept; Unavailable


class IssuerKeys:
    """The keys in force. One question at a time, whoever needs its answer; a set is not used beyond its life."""

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._keys: tuple[SigningKey, ...] = ()
        self._taken = self._ends = self._ask_again = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def find(self, kid: str, alg: str) -> list[SigningKey]:
        """The keys that may have made a signature; ``kid`` is empty where the token names none. Unavailable."""
        now = self._clock.monotonic()
        if now >= self._ends:
            await self._ask()
        elif now >= (self._taken + self._ends) / 2:
            self._start(now)  # ahead of time, so that an issuer that is away for a moment is not missed
        found = self._fitting(kid, alg)
        if found or not kid or any(key.kid == kid for key in self._keys):
            return found
        if self._asking is not None or self._clock.monotonic() >= self._ask_again:
            await self._ask()
        return self._fitting(kid, alg)

    def _fitting(self, kid: str, alg: str) -> list[SigningKey]:
        return [key for key in self._keys if key.fits(alg) and (key.kid == kid or not kid or not key.kid)]

    async def _ask(self) -> None:
        """Wait for a new set; Unavailable if there is none to be had, though an old one may still hold."""
        task = self._start(self._clock.monotonic())
        if task is None:
            raise Unavailable("the issuer's keys could not be fetched a moment ago")
        await asyncio.shield(task)  # others wait for it too

    def _start(self, now: float) -> asyncio.Task[None] | None:
        if self._asking is None and now >= self._ask_again:
            self._ask_again = now + _AFTER_FAILURE
            self._asking = asyncio.get_running_loop().create_task(self._take())
            self._asking.add_done_callback(self._answered)
        return self._asking

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._asking = None
        if not task.cancelled():
            task.exception()  # whoever waits is told; where nobody does, the next one asks again

    async def _take(self) -> None:
        octets, life = await self._source()
        try:
            keys = parse_keys(octets)
        except KeySetError as error:
            raise Unavailable(str(error)) from None
        now = self._clock.monotonic()
        self._keys = keys
        self._taken, self._ask_again = now, now + _BETWEEN
        self._ends = now + (_LIFE if life is None else min(max(life, _SHORTEST), _LONGEST))
