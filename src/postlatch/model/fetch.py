"""Fetching over HTTPS as an argument: what the rooms ask for, how it can fail. ``app`` makes the real one, with its guard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class FetchError(Exception):
    """No usable answer: no address, a forbidden one, no TLS, too late, too large, a redirect. Its text is safe to show."""


class Fetched(NamedTuple):
    """A whole answer of any status. ``max_age``: seconds for which it may be kept, None if the server did not say."""

    status: int
    content_type: str
    body: bytes
    max_age: int | None = None


class Fetcher(Protocol):
    """Asks one URL, once: no redirects, no proxy, the address looked up once and pinned, all of it within ``timeout`` seconds.

    ``trusted`` is for a URL that the operator wrote into the configuration: it may be plain HTTP and lead to a private address.
    Any other must be HTTPS with a certificate that verifies, on a public address. FetchError for everything but an answer.
    """

    async def get(
        self,
        url: str,
        *,
        timeout: float,  # noqa: ASYNC109 - of all its parts together, which only it can see to
        limit: int,
        trusted: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Fetched:
        """GET. More than ``limit`` octets of body is an error."""
        ...

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        content_type: str,
        timeout: float,  # noqa: ASYNC109 - as above
        limit: int,
        trusted: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Fetched:
        """POST ``body``."""
        ...
