"""A directory behind HTTP: one question as JSON, and only one kind of answer is a yes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from postlatch.accounts.directory import Down, Found
from postlatch.model.fetch import Fetched, Fetcher, FetchError

MAX_BODY: Final = 65_536  # octets
_REFUSED: Final = (401, 403)


def judge(answer: Fetched) -> Found | None:
    """Status 200 with ``{"ok": true, "login": …}`` is yes; 401, 403 and ``{"ok": false}`` are no; all else is no answer."""
    if answer.status in _REFUSED:
        return None
    if answer.status != 200:
        raise Down(f"the hook answered {answer.status}")
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise Down("the hook's answer is no JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("ok"), bool):
        raise Down("the hook's answer does not say whether the password is right")
    return _found(found) if found["ok"] else None


def _found(answer: Mapping[str, Any]) -> Found:
    login, send_as = answer.get("login"), answer.get("send_as", [])
    if not isinstance(login, str):
        raise Down("the hook's answer does not say whose password it was")
    if not isinstance(send_as, list) or not all(isinstance(entry, str) for entry in send_as):
        raise Down("the hook's send_as is not a list of texts")
    return Found(login, frozenset(send_as))


class HttpDirectory:
    """Asks ``url``, which the operator has written into the configuration. ``token`` goes into ``Authorization``."""

    def __init__(self, url: str, fetcher: Fetcher, *, timeout: float, token: str = "") -> None:
        self._url = url
        self._fetcher = fetcher
        self._timeout = timeout
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def verify(self, login: str, password: str) -> Found | None:
        """See ``Directory``."""
        body = json.dumps({"login": login, "password": password}).encode()
        try:
            answer = await self._fetcher.post(
                self._url,
                body,
                content_type="application/json",
                timeout=self._timeout,
                limit=MAX_BODY,
                trusted=True,
                headers=self._headers,
            )
        except FetchError as error:
            raise Down(f"the hook gave no answer: {error}") from None
        return judge(answer)

    def close(self) -> None:
        """Nothing is held between two questions."""
