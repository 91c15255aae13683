"""What a bearer token has to say, wherever its claims come from: by whom, for whom, until when, for what, and which account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from postlatch.accounts.names import login_key
from postlatch.accounts.oauth import INSUFFICIENT_SCOPE, INVALID_TOKEN

LEEWAY: Final = 30.0  # seconds by which our clock and the issuer's may differ
_MAX_LIST = 100
_MAX_LOGIN = 320


class Unavailable(Exception):
    """Whether the token is right cannot be told now (454 4.7.0). Its text is ours, for the journal."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A token that was verified. ``status`` is empty if it is right, and ``login`` whom it names then (canonical).

    ``reason`` is fixed text for the journal. ``genuine``: the issuer made it, though it holds no more: nobody is guessing.
    """

    login: str = ""
    status: str = ""
    reason: str = ""
    genuine: bool = False


class TokenChecker(Protocol):
    """Verifies bearer tokens."""

    async def check(self, token: str, client: str) -> Checked:
        """Is it right? Unavailable if that cannot be told. ``client`` is the client's prefix."""
        ...


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say. ``issuer``, ``audience`` and ``scope`` may be empty where the issuer is asked about each token.

    ``claim`` names the account.
    """

    issuer: str
    audience: str
    claim: str = "email"
    scope: str = ""


def refused(reason: str, status: str = INVALID_TOKEN, *, genuine: bool = False) -> Checked:
    """Not right."""
    return Checked(status=status, reason=reason, genuine=genuine)


def judge(claims: Mapping[str, Any], rules: TokenRules, now: float, *, whole: bool) -> Checked:
    """The claims of a token whose issuer is known to stand behind them. ``whole``: it is a JWT, which must say everything."""
    if rules.issuer and (whole or "iss" in claims) and claims.get("iss") != rules.issuer:
        return refused("the token is another issuer's")
    if rules.audience and not _in(claims.get("aud"), rules.audience):
        return refused("the token is for another audience")
    if (late := _time(claims, now, whole=whole)) is not None:
        return late
    if rules.scope and rules.scope not in _scopes(claims):
        return refused("the token lacks the scope", INSUFFICIENT_SCOPE, genuine=True)
    name = claims.get(rules.claim)
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_LOGIN:
        return refused(f"the token has no claim {rules.claim} that names an account", genuine=True)
    if rules.claim == "email" and claims.get("email_verified", True) is not True:
        return refused("the token's address is one that the issuer has not verified", genuine=True)
    return Checked(login=login_key(name), genuine=True)


def expiry(claims: Mapping[str, Any]) -> float | None:
    """When the token ends; None if it does not say."""
    value = claims.get("exp")
    return float(value) if value is not None and _is_time(value) else None


def _time(claims: Mapping[str, Any], now: float, *, whole: bool) -> Checked | None:
    for name in ("exp", "nbf"):
        if name in claims and not _is_time(claims[name]):
            return refused(f"the token's {name} is no time")
    ends = expiry(claims)
    if ends is None:
        return refused("the token has no end") if whole else None
    if now >= ends + LEEWAY:
        return refused("the token has expired", genuine=True)
    if now < claims.get("nbf", 0) - LEEWAY:
        return refused("the token does not hold yet", genuine=True)
    return None


def _is_time(value: object) -> bool:
    """Seconds since 1970 until the year 9999: neither infinite nor too large for a float, which JSON can bring."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 253_402_300_800


def _in(found: object, wanted: str) -> bool:
    return found == wanted or (isinstance(found, list) and wanted in found[:_MAX_LIST])


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """``scope`` (RFC 8693 section 4.2), or ``scp`` as some issuers call it: a text of words or a list."""
    found = claims.get("scope", claims.get("scp"))
    if isinstance(found, str):
        return found.split(" ", _MAX_LIST)[:_MAX_LIST]
    return [word for word in found[:_MAX_LIST] if isinstance(word, str)] if isinstance(found, list) else []
