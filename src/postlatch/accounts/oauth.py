"""OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's, before it): a bearer token, still to be verified, in one message.

Of a refusal the client is told in a last challenge, JSON that says what would be right, which it answers with nothing of
meaning; the mechanism fails then (RFC 7628 section 3.2.3).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

from postlatch.accounts.names import login_key
from postlatch.accounts.sasl import Challenge, Failure, Step, VerifyToken, decoded, malformed

BEARER = "OAUTHBEARER"
XOAUTH2 = "XOAUTH2"
MAX_TOKEN = 8192  # octets; more does not fit into an AUTH line
INVALID_TOKEN: Final = "invalid_token"  # noqa: S105  (the status of RFC 6750 section 3.1)
INSUFFICIENT_SCOPE: Final = "insufficient_scope"
_INVALID_REQUEST: Final = "invalid_request"

_SEPARATOR = "\x01"
_MAX_PAIRS = 16
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*", re.ASCII)  # b64token, RFC 6750 section 2.1


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a refused client is told: the scope that is needed, and where the issuer describes itself. Each may be empty."""

    scope: str = ""
    configuration: str = ""


class _Bearer:
    """What the two have in common. ``claimed`` is the account that the client named, if it did."""

    def __init__(self, discovery: Discovery) -> None:
        self._discovery = discovery
        self._refused: Failure | None = None

    def start(self, initial: bytes | None) -> Step:
        """The message, or an empty challenge for it."""
        return Challenge(b"") if initial is None else self.respond(initial)

    def respond(self, data: bytes) -> Step:
        """The message, or the answer to the last challenge, whatever it is."""
        if self._refused is not None:
            return self._refused
        text = decoded(data)
        return malformed("the token's message is not valid text") if text is None else self._message(text)

    def denied(self, login: str, status: str, reason: str) -> Challenge:
        """The token was verified, and is refused: what the client is told before the failure."""
        self._refused = Failure(login, malformed=False, reason=reason)
        return Challenge(self._error(status))

    def _message(self, text: str) -> Step:
        raise NotImplementedError

    def _error(self, status: str) -> bytes:
        raise NotImplementedError

    def _offer(self, claimed: str, authorization: str) -> Step:
        login = login_key(claimed) if claimed else ""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return self.denied(login, _INVALID_REQUEST, "it is not a bearer token")
        token = token.strip(" ")
        if len(token) > MAX_TOKEN or not _TOKEN.fullmatch(token):
            return self.denied(login, INVALID_TOKEN, "the token has not the form of one")
        return VerifyToken(login, token)


class OAuthBearer(_Bearer):
    """``gs2-header kvsep *kvpair kvsep``. A client that sends no token asks what would be right (RFC 7628 section 4.3)."""

    def _message(self, text: str) -> Step:
        head, separator, rest = text.partition(_SEPARATOR)
        if not separator or not rest.endswith(_SEPARATOR):
            return malformed("OAUTHBEARER is not in its form")
        parts = head.split(",")
        if len(parts) != 3 or parts[2]:
            return malformed("OAUTHBEARER has no GS2 header")
        flag, identity, _ = parts
        if flag.startswith("p="):
            return Failure("", malformed=False, reason="it demanded channel binding")
        claimed = _saslname(identity)
        pairs = _pairs(rest)
        if flag not in {"n", "y"} or claimed is None or pairs is None:
            return malformed("OAUTHBEARER is not in its form")
        return self._offer(claimed, pairs.get("auth", ""))

    def _error(self, status: str) -> bytes:
        """RFC 7628 section 3.2.2."""
        found = {"status": status}
        if self._discovery.scope:
            found["scope"] = self._discovery.scope
        if self._discovery.configuration:
            found["openid-configuration"] = self._discovery.configuration
        return json.dumps(found, separators=(",", ":")).encode()


class XOAuth2(_Bearer):
    """``user=LOGIN kvsep auth=Bearer TOKEN kvsep kvsep``. The user is always named."""

    def _message(self, text: str) -> Step:
        pairs = _pairs(text)
        if pairs is None or not pairs.get("user"):
            return malformed("XOAUTH2 is not in its form")
        return self._offer(pairs["user"], pairs.get("auth", ""))

    def _error(self, status: str) -> bytes:
        number = "403" if status == INSUFFICIENT_SCOPE else "401"
        return json.dumps(
            {"status": number, "schemes": "bearer", "scope": self._discovery.scope}, separators=(",", ":")
        ).encode()


def _pairs(text: str) -> dict[str, str] | None:
    """``key=value`` with a separator behind each, and one more at the end; None if it is not so, or a key comes twice."""
    if text == _SEPARATOR:
        return {}
    if not text.endswith(_SEPARATOR * 2):
        return None
    pairs: dict[str, str] = {}
    fields = text[:-2].split(_SEPARATOR, _MAX_PAIRS)
    for field in fields:
        key, equals, value = field.partition("=")
        if not (equals and key.isascii() and key.isalpha()) or key in pairs:
            return None
        pairs[key] = value
    return pairs if len(fields) <= _MAX_PAIRS else None


def _saslname(text: str) -> str | None:
    """``a=`` and a name in which ``,`` and ``=`` are escaped (RFC 5801 section 4), or nothing; None if it is neither."""
    if not text:
        return ""
    if not text.startswith("a="):
        return None
    name = text[2:]
    plain = name.replace("=2C", "").replace("=3D", "")
    return None if not name or "=" in plain or "\0" in name else name.replace("=2C", ",").replace("=3D", "=")
