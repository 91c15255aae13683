"""The real `model.fetch.Fetcher`: HTTPS by httpx2, guarded against a URL that a stranger chose (SSRF).

What makes it safe is that nothing is decided twice. The URL is read by one strict grammar; its host is looked up once, every
address of the answer is judged by `delivery.guard`, and the connection goes to that number and no other: a name that changes
its mind between the check and the connection (DNS rebinding) is never asked again. TLS and ``Host`` keep the name. There are no
redirects, no proxies and no certificate bundles from the environment, no cookies, and no content coding: what is counted is
what came.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Final, NamedTuple

import httpx2

from postlatch.delivery.guard import is_public
from postlatch.model.address import AddressError, parse_domain
from postlatch.model.dns import DnsError, Resolver
from postlatch.model.envelope import IPAddress
from postlatch.model.fetch import Fetched, FetchError

MAX_URL: Final = 2_048
MAX_ADDRESSES: Final = 4  # of one name that are tried
MAX_HEADER_FIELDS: Final = 100  # the whole block is bounded by the client's own 100 KiB
_CONNECT: Final = 5.0  # seconds for one address, if there is another one
_HTTPS: Final = 443
_PORTS: Final = {"http": 80, "https": _HTTPS}

# RFC 3986 without what an answerable URL never needs: no user information, no empty host, no fragment, ASCII only.
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<v6>[0-9a-fA-F:.]{2,45})\]|(?P<host>[A-Za-z0-9.-]{1,253}))(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<target>/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*(?:\?[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*)?)?"
)
_FIELD_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_MAX_AGE: Final = re.compile(r"max-age=\"?([0-9]{1,10})\"?", re.IGNORECASE)
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")


class _Url(NamedTuple):
    """A URL that was read whole. ``host`` is a name, or a number and then ``address`` is set."""

    scheme: str
    host: str
    address: IPAddress | None
    port: int
    target: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class HttpFetcher:
    """`model.fetch.Fetcher`. ``authorities``: a PEM file of certificate authorities instead of the system's.

    ``may_reach`` judges the addresses of URLs that are not trusted, ``port`` is the only port of those; both are arguments for
    tests alone.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        authorities: Path | None = None,
        may_reach: Callable[[IPAddress], bool] = is_public,
        port: int = _HTTPS,
    ) -> None:
        self._resolver = resolver
        self._authorities = authorities
        self._context: ssl.SSLContext | None = None
        self._may_reach = may_reach
        self._port = port

    async def get(
        self,
        url: str,
        *,
        timeout: float,  # noqa: ASYNC109 - the contract's; it is asyncio.timeout that counts it
        limit: int,
        trusted: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> Fetched:
        """GET. More than ``limit`` octets of body is an error."""
        return await self._fetch("GET", url, None, headers or {}, timeout, limit, trusted=trusted)

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
        fields = {**(headers or {}), "Content-Type": content_type}
        return await self._fetch("POST", url, body, fields, timeout, limit, trusted=trusted)

    async def _fetch(
        self,
        method: str,
        url: str,
        body: bytes | None,
        headers: Mapping[str, str],
        seconds: float,
        limit: int,
        *,
        trusted: bool,
    ) -> Fetched:
        parts = _parse(url, trusted=trusted, port=self._port)
        _check_fields(headers)
        try:
            async with asyncio.timeout(seconds):
                addresses = await self._addresses(parts, trusted=trusted)
                return await self._ask_each(method, parts, addresses, body, headers, limit)
        except TimeoutError:
            raise FetchError(f"no whole answer within {seconds:g} seconds") from None

    async def _addresses(self, parts: _Url, *, trusted: bool) -> list[IPAddress]:
        """Where to connect. One forbidden address among several spoils all: an honest name has none."""
        if parts.address is not None:
            found = [parts.address]
        else:
            try:
                found = await self._resolver.addresses(parts.host)
            except DnsError as error:
                raise FetchError(f"the name of the server was not found: {error}") from None
        if not found:
            raise FetchError("the name of the server has no address")
        if not trusted and not all(self._may_reach(address) for address in found):
            raise FetchError("the server's address is not on the public internet")
        return found[:MAX_ADDRESSES]

    async def _ask_each(
        self, method: str, parts: _Url, addresses: list[IPAddress], body: bytes | None, headers: Mapping[str, str], limit: int
    ) -> Fetched:
        """The first address that lets us in answers for all: nothing is sent twice."""
        for address in addresses[:-1]:
            try:
                return await self._ask(method, parts, address, body, headers, limit, _CONNECT)
            except httpx2.ConnectTimeout:
                continue
            except httpx2.ConnectError as error:
                if _cause_of(error, ssl.SSLError) is not None:
                    raise FetchError(_why(error)) from None
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                raise FetchError(_why(error)) from None
        try:
            return await self._ask(method, parts, addresses[-1], body, headers, limit, None)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise FetchError(_why(error)) from None

    async def _ask(
        self,
        method: str,
        parts: _Url,
        address: IPAddress,
        body: bytes | None,
        headers: Mapping[str, str],
        limit: int,
        connect: float | None,
    ) -> Fetched:
        number = f"[{address}]" if isinstance(address, IPv6Address) else str(address)
        request = httpx2.Request(
            method,
            httpx2.URL(f"{parts.scheme}://{number}:{parts.port}{parts.target}"),
            headers={
                "User-Agent": "Postlatch",
                "Accept": "*/*",
                **headers,
                "Host": parts.authority,
                "Accept-Encoding": "identity",
                "Connection": "close",
            },
            content=body,
            extensions={"sni_hostname": parts.host, "timeout": {"connect": connect}},
        )
        async with self._transport(parts.scheme) as transport:
            response = await transport.handle_async_request(request)
            try:
                return await _read(response, limit)
            finally:
                await response.aclose()

    def _transport(self, scheme: str) -> httpx2.AsyncHTTPTransport:
        if scheme == "http":
            return httpx2.AsyncHTTPTransport(verify=False, trust_env=False)  # there is nothing to verify
        if self._context is None:
            self._context = ssl.create_default_context(cafile=self._authorities)
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        return httpx2.AsyncHTTPTransport(verify=self._context, trust_env=False)


def _parse(url: str, *, trusted: bool, port: int) -> _Url:
    match = _URL.fullmatch(url) if len(url) <= MAX_URL else None
    if match is None:
        raise FetchError("this is not a URL that may be fetched: it must be https://HOST/PATH in ASCII, without a user name")
    scheme = match["scheme"]
    address = _number(match["v6"] or match["host"])
    name = str(address) if address is not None else _name(match["host"])
    asked = int(match["port"]) if match["port"] else None
    if not trusted and scheme != "https":
        raise FetchError("only https:// may be fetched here")
    if not trusted and asked not in {None, port}:
        raise FetchError("only the usual port of https:// may be fetched here")
    chosen = asked if asked is not None else (_PORTS[scheme] if trusted else port)
    if not 1 <= chosen <= 65_535:
        raise FetchError("the port must be 1 to 65535")
    return _Url(scheme, name, address, chosen, match["target"] or "/")


def _number(text: str) -> IPAddress | None:
    """An address in its standard spelling; ``ip_address`` takes no hex, octal, short or whole-number form."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _name(text: str | None) -> str:
    try:
        name = parse_domain(text or "")
    except AddressError:
        raise FetchError("the host of the URL is neither a name nor an address") from None
    # parse_domain refuses a last label of digits; 0x7f.0x1 and its like are numbers to many a C library.
    if name.rpartition(".")[2].startswith("0x"):
        raise FetchError("the host of the URL is neither a name nor an address")
    return name


def _check_fields(headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
            raise FetchError("a header field to be sent is not printable ASCII")


async def _read(response: httpx2.Response, limit: int) -> Fetched:
    if 300 <= response.status_code < 400:
        raise FetchError(f"the server answered with a redirect ({response.status_code}), and none is followed")
    fields = response.headers
    if len(fields.raw) > MAX_HEADER_FIELDS:
        raise FetchError(f"the answer has more than {MAX_HEADER_FIELDS} header fields")
    if fields.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise FetchError("the answer is compressed, which was not asked for")
    announced = fields.get("content-length", "")
    if announced.isdigit() and int(announced[:20]) > limit:
        raise FetchError(f"the answer is larger than {limit} octets")
    body = bytearray()
    async for piece in response.aiter_raw():
        body += piece
        if len(body) > limit:
            raise FetchError(f"the answer is larger than {limit} octets")
    return Fetched(response.status_code, fields.get("content-type", "")[:200], bytes(body), _max_age(fields))


def _max_age(fields: httpx2.Headers) -> int | None:
    """RFC 9111 section 5.2.2: seconds by ``max-age``, 0 if it may not be kept, None if the server does not say."""
    directives = [text.strip().lower() for text in fields.get("cache-control", "")[:1_000].split(",")]
    if any(text in {"no-store", "no-cache"} for text in directives):
        return 0
    found = [match for text in directives if (match := _MAX_AGE.fullmatch(text))]
    return int(found[0][1]) if found else None


def _cause_of(error: BaseException, kind: type[ssl.SSLError]) -> ssl.SSLError | None:
    """The SSL error below what httpx2 made of it."""
    link: BaseException | None = error
    for _ in range(10):
        if link is None or isinstance(link, kind):
            return link
        link = link.__cause__ or link.__context__
    return None


def _why(error: Exception) -> str:
    """A sentence of our own: what the peer sent is not in it."""
    unverified = _cause_of(error, ssl.SSLCertVerificationError)
    if isinstance(unverified, ssl.SSLCertVerificationError):
        return f"the server's certificate was not accepted: {_words(unverified.verify_message)}"
    broken = _cause_of(error, ssl.SSLError)
    if broken is not None:
        return f"TLS with the server failed: {_words((broken.reason or 'unknown').replace('_', ' ').lower())}"
    if isinstance(error, httpx2.TimeoutException):
        return "the server did not answer in time"
    if isinstance(error, httpx2.ConnectError):
        return "no connection to the server"
    if isinstance(error, httpx2.ProtocolError | httpx2.InvalidURL):
        return "the answer is not valid HTTP"
    return "the connection to the server was lost"


def _words(text: str) -> str:
    return "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text[:200])
