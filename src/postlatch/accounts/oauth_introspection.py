"""Tokens that only their issuer understands: it is asked about each (RFC 7662), and its answer kept for a short time."""

from __future__ import annotations

import base64
import hmac
import json
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final
from urllib.parse import quote_plus, urlencode

from postlatch.accounts.oauth_tokens import Checked, TokenRules, Unavailable, expiry, judge, refused
from postlatch.model.clock import Clock
from postlatch.model.fetch import Fetcher, FetchError

_FORM: Final = "application/x-www-form-urlencoded"
_MAX_ANSWER: Final = 65_536  # octets
_AT_ONCE: Final = 32  # questions, and of one client:
_OF_A_CLIENT: Final = 4


class Introspection:
    """Asks the issuer. ``key`` is random and of this process, or what is remembered could be tried out elsewhere.

    ``secret`` gives the client's secret each time, so that a file with a new one is taken up; OSError if it cannot be read.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        url: str,
        client_id: str,
        secret: Callable[[], str],
        rules: TokenRules,
        clock: Clock,
        *,
        key: bytes,
        timeout: float = 5.0,
        keep: float = 60.0,
        entries: int = 10_000,
    ) -> None:
        self._fetcher = fetcher
        self._url = url
        self._client_id = client_id
        self._secret = secret
        self._rules = rules
        self._clock = clock
        self._key = key
        self._timeout = timeout
        self._keep = keep
        self._entries = entries
        self._known: OrderedDict[bytes, tuple[float, Checked]] = OrderedDict()
        self._asked: Counter[str] = Counter()

    async def check(self, token: str, client: str) -> Checked:
        """See TokenChecker."""
        digest = hmac.digest(self._key, token.encode(), "sha256")
        until, known = self._known.get(digest, (0.0, None))
        if known is not None and self._clock.now() < until:
            return known
        if self._asked.total() >= _AT_ONCE or self._asked[client] >= _OF_A_CLIENT:
            raise Unavailable("too many tokens are being asked about")
        self._asked[client] += 1
        try:
            answer = await self._ask(token)
        finally:
            self._asked[client] -= 1
            if not self._asked[client]:
                del self._asked[client]
        return self._judged(digest, answer)

    async def _ask(self, token: str) -> bytes:
        try:
            secret = self._secret()
        except (OSError, UnicodeDecodeError):
            raise Unavailable("the secret for the issuer cannot be read") from None
        # RFC 6749 section 2.3.1: both parts are form-encoded before they are joined.
        login = base64.b64encode(f"{quote_plus(self._client_id)}:{quote_plus(secret)}".encode()).decode()
        body = urlencode({"token": token, "token_type_hint": "access_token"}).encode()
        try:
            answer = await self._fetcher.post(
                self._url,
                body,
                content_type=_FORM,
                timeout=self._timeout,
                limit=_MAX_ANSWER,
                trusted=True,
                headers={"Authorization": f"Basic {login}", "Accept": "application/json"},
            )
        except FetchError as error:
            raise Unavailable(f"the issuer does not answer: {error}") from None
        if answer.status != 200:
            raise Unavailable(f"the issuer answers with status {answer.status}")
        return answer.body

    def _judged(self, digest: bytes, answer: bytes) -> Checked:
        try:
            claims = json.loads(answer)
        except (ValueError, RecursionError):
            claims = None
        if not isinstance(claims, dict) or not isinstance(claims.get("active"), bool):
            raise Unavailable("the issuer's answer is not that of RFC 7662")
        now = self._clock.now()
        found = judge(claims, self._rules, now, whole=False) if claims["active"] else refused("the token is not active")
        until = now + self._keep
        ends = expiry(claims)
        self._remember(digest, found, until if found.status or ends is None else min(until, ends))
        return found

    def _remember(self, digest: bytes, found: Checked, until: float) -> None:
        self._known[digest] = (until, found)
        self._known.move_to_end(digest)
        if len(self._known) > self._entries:
            self._known.popitem(last=False)
