"""Tokens that are JWTs (RFC 7519), verified with the issuer's keys by the rules of RFC 8725, over ``joserfc``."""

from __future__ import annotations

import base64
import json
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError

from postlatch.accounts.oauth_keys import ALGORITHMS, IssuerKeys, SigningKey
from postlatch.accounts.oauth_tokens import Checked, TokenRules, judge, refused
from postlatch.model.clock import Clock

_MAX_TRIED = 4  # keys without a name, for one token
_MAX_HEADER = 2048  # characters
_MAX_KID = 256
_TYPES = frozenset({"", "jwt", "at+jwt", "application/jwt", "application/at+jwt"})


class _Registry(jws.JWSRegistry):
    """The algorithms that we take. joserfc's own list has HMAC, and warns of EdDSA, which many issuers still call so."""

    max_header_length = _MAX_HEADER

    def get_alg(self, name: str) -> Any:
        if name not in ALGORITHMS:
            raise UnsupportedAlgorithmError(f"{name!r} is not taken")
        return self.algorithms[name]


_REGISTRY = _Registry(strict_check_header=False)


class JwtChecker:
    """Verifies JWTs; the issuer is asked for nothing but its keys."""

    def __init__(self, keys: IssuerKeys, rules: TokenRules, clock: Clock) -> None:
        self._keys = keys
        self._rules = rules
        self._clock = clock

    async def check(self, token: str, client: str) -> Checked:  # noqa: ARG002  (of TokenChecker)
        """See TokenChecker."""
        header = _header(token)
        if isinstance(header, Checked):
            return header
        alg, kid = header
        claims = _verified(token, await self._keys.find(kid, alg))
        if claims is None:
            return refused("no key of the issuer has made the token's signature")
        return judge(claims, self._rules, self._clock.now(), whole=True)


def _header(token: str) -> tuple[str, str] | Checked:
    """(algorithm, key name) of a token that can be verified at all."""
    parts = token.split(".", 5)
    if len(parts) == 5:
        return refused("the token is encrypted")
    if len(parts) != 3 or not all(parts):
        return refused("the token is no signed JWT")
    header = _object(parts[0]) if len(parts[0]) <= _MAX_HEADER else None
    if header is None:
        return refused("the token's header is no JSON object")
    if "crit" in header or "cty" in header or "b64" in header:
        return refused("the token has another token inside, or demands what we do not know")
    kind, alg, kid = header.get("typ", ""), header.get("alg"), header.get("kid", "")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        return refused("the token is of another type")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        return refused("the token's algorithm is not taken")
    if not isinstance(kid, str) or len(kid) > _MAX_KID:
        return refused("the token's key has no usable name")
    return alg, kid


def _verified(token: str, keys: list[SigningKey]) -> dict[str, Any] | None:
    """The claims, if one of these keys has signed them."""
    for signer in keys[:_MAX_TRIED]:
        try:
            jws.deserialize_compact(token, signer.key, registry=_REGISTRY)
        except (JoseError, ValueError, TypeError, RecursionError):
            continue
        return _object(token.split(".")[1]) or {}
    return None


def _object(part: str) -> dict[str, Any] | None:
    try:
        found = json.loads(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
