"""The fetcher against a real HTTPS server: what it takes, and what no name, address or answer can make it do."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from postlatch.app.fetch import MAX_HEADER_FIELDS, HttpFetcher
from postlatch.model.dns import DnsError
from postlatch.model.envelope import IPAddress
from postlatch.model.fetch import Fetched, FetchError
from postlatch.testing.dns import FakeResolver, Zone

NAME = "site.example"
ZONE: Zone = {NAME: {"A": ["127.0.0.1"]}}


class Authority(NamedTuple):
    """One CA with its certificate in a file."""

    ca: trustme.CA
    file: Path


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    ca = trustme.CA()
    file = tmp_path_factory.mktemp("fetch") / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    return Authority(ca, file)


class Site:
    """A server that answers each path with what ``answers`` has for it, raw; None: it says nothing."""

    def __init__(self, answers: dict[str, bytes | None]) -> None:
        self.answers = answers
        self.requests: list[bytes] = []
        self.names: list[str | None] = []
        self.port = 0


class _Door(asyncio.Protocol):
    """One connection to a `Site`."""

    def __init__(self, made: Site) -> None:
        self._site = made
        self._heard = b""
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, end, body = self._heard.partition(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        if not end or (lengths and len(body) < int(lengths[0].split(b":")[1])):
            return
        self._site.requests.append(self._heard)
        answer = self._site.answers[head.split(b" ")[1].decode()]
        if answer is not None and self._transport is not None:
            self._transport.write(answer)
            self._transport.close()


@asynccontextmanager
async def site(answers: dict[str, bytes | None], ca: trustme.CA | None, *names: str) -> AsyncIterator[Site]:
    made = Site(answers)
    context = None
    if ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*(names or (NAME,))).configure_cert(context)
        context.sni_callback = lambda _socket, name, _context: made.names.append(name)
    server = await asyncio.get_running_loop().create_server(lambda: _Door(made), "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


def answer(body: bytes = b"hello", *fields: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def fetched(
    authority: Authority,
    raw: bytes | None,
    *,
    zone: Zone = ZONE,
    limit: int = 1000,
    seconds: float = 5.0,
    names: tuple[str, ...] = (),
    use: Callable[[HttpFetcher, Site], Awaitable[Fetched]] | None = None,
    may_reach: Callable[[IPAddress], bool] = lambda _: True,
    trust: bool = True,
) -> tuple[Fetched, Site]:
    """Fetch ``https://site.example/x`` as a stranger's URL from a server that answers with ``raw``."""

    async def run() -> tuple[Fetched, Site]:
        async with site({"/x": raw, "/x?a=b": raw}, authority.ca, *names) as made:
            file = authority.file if trust else None
            fetcher = HttpFetcher(FakeResolver(zone), authorities=file, may_reach=may_reach, port=made.port)
            if use is not None:
                return await use(fetcher, made), made
            return await fetcher.get(f"https://{NAME}/x", timeout=seconds, limit=limit), made

    return asyncio.run(run())


def test_a_whole_answer_is_given_with_its_type_and_age(authority: Authority) -> None:
    raw = answer(b"hello", "Content-Type: text/plain; charset=utf-8", "Cache-Control: public, max-age=86400")
    found, made = fetched(authority, raw)
    assert found == Fetched(200, "text/plain; charset=utf-8", b"hello", 86400)
    assert made.names == [NAME]
    head = made.requests[0].lower()
    assert f"host: {NAME}:{made.port}\r\n".encode() in head
    assert b"accept-encoding: identity\r\n" in head


@pytest.mark.parametrize(
    ("fields", "age"),
    [
        ((), None),
        (("Cache-Control: no-store, max-age=5",), 0),
        (("Cache-Control: no-cache",), 0),
        (("Cache-Control: max-age=nonsense",), None),
        (("Cache-Control: private", "Cache-Control: max-age=7"), 7),
        (("Cache-Control: s-maxage=9",), None),
    ],
)
def test_how_long_an_answer_may_be_kept(authority: Authority, fields: tuple[str, ...], age: int | None) -> None:
    assert fetched(authority, answer(b"", *fields))[0].max_age == age


def test_an_answer_of_any_status_is_an_answer(authority: Authority) -> None:
    assert fetched(authority, answer(status="404 Not Found"))[0].status == 404


def test_a_body_is_posted_once_with_its_type(authority: Authority) -> None:
    async def use(fetcher: HttpFetcher, made: Site) -> Fetched:
        del made
        return await fetcher.post(
            f"https://{NAME}/x?a=b", b'{"a":1}', content_type="application/json", timeout=5, limit=10, headers={"X-Key": "k"}
        )

    found, made = fetched(authority, answer(b"ok"), use=use)
    assert found.body == b"ok"
    assert len(made.requests) == 1
    head, _, body = made.requests[0].partition(b"\r\n\r\n")
    assert body == b'{"a":1}'
    assert head.startswith(b"POST /x?a=b HTTP/1.1\r\n")
    assert b"content-type: application/json" in head.lower()
    assert b"x-key: k" in head.lower()


@pytest.mark.parametrize(
    "status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect", "300 x"]
)
def test_no_redirect_is_followed(authority: Authority, status: str) -> None:
    with pytest.raises(FetchError, match="redirect"):
        fetched(authority, answer(b"", f"Location: https://{NAME}/x", status=status))


def test_a_body_at_the_limit_is_taken_and_one_octet_more_is_not(authority: Authority) -> None:
    assert len(fetched(authority, answer(b"a" * 1000))[0].body) == 1000
    with pytest.raises(FetchError, match="larger than 1000"):
        fetched(authority, answer(b"a" * 1001))
    with pytest.raises(FetchError, match="larger than 1000"):
        fetched(authority, b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 1001)
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1f4\r\n" + b"b" * 500 + b"\r\n"
    with pytest.raises(FetchError, match="larger than 1000"):
        fetched(authority, chunks + b"1f5\r\n" + b"b" * 501 + b"\r\n0\r\n\r\n")


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "x-anything"])
def test_a_compressed_answer_is_refused_unread(authority: Authority, coding: str) -> None:
    with pytest.raises(FetchError, match="compressed"):
        fetched(authority, answer(b"\x1f\x8b", f"Content-Encoding: {coding}"))


def test_too_many_and_too_large_header_fields_are_refused(authority: Authority) -> None:
    many = [f"X-{number}: 1" for number in range(MAX_HEADER_FIELDS)]
    with pytest.raises(FetchError, match="header fields"):
        fetched(authority, answer(b"", *many))
    with pytest.raises(FetchError, match="not valid HTTP"):
        fetched(authority, answer(b"", "X: " + "a" * 200_000))


@pytest.mark.parametrize("raw", [b"not http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", b""])
def test_what_is_no_whole_http_answer_is_an_error(authority: Authority, raw: bytes) -> None:
    with pytest.raises(FetchError):
        fetched(authority, raw)


def test_the_whole_of_it_has_one_time_limit(authority: Authority) -> None:
    with pytest.raises(FetchError, match=r"within 0\.2 seconds"):
        fetched(authority, None, seconds=0.2)


def test_a_certificate_for_another_name_or_of_nobody_is_refused(authority: Authority) -> None:
    with pytest.raises(FetchError, match="certificate was not accepted"):
        fetched(authority, answer(), names=("other.example",))
    with pytest.raises(FetchError, match="certificate was not accepted"):
        fetched(authority, answer(), trust=False)


def refused(url: str, zone: Zone = ZONE, *, trusted: bool = False) -> str:
    """Why the fetcher with its real guard does not even connect; the resolver is asked at most once per name."""

    async def run() -> None:
        await HttpFetcher(FakeResolver(zone)).get(url, timeout=2, limit=10, trusted=trusted)

    with pytest.raises(FetchError) as caught:
        asyncio.run(run())
    return str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:db8::1",
    ],
)
def test_an_address_that_is_not_public_is_never_connected_to(address: str) -> None:
    kind = "AAAA" if ":" in address else "A"
    assert "not on the public internet" in refused(f"https://{NAME}/x", {NAME: {kind: [address]}})
    literal = f"[{address}]" if ":" in address else address
    assert "not on the public internet" in refused(f"https://{literal}/x")


def test_one_inside_address_among_public_ones_spoils_them_all() -> None:
    assert "not on the public internet" in refused(f"https://{NAME}/x", {NAME: {"A": ["8.8.8.8", "10.0.0.1"]}})


@pytest.mark.parametrize(
    "url",
    [
        "https://0x7f.0.0.1/x",
        "https://0x7f000001/x",
        "https://127.0.0.0x1/x",
        "https://0177.0.0.1/x",
        "https://017700000001/x",
        "https://2130706433/x",
        "https://127.1/x",
        "https://127.0.1/x",
        "https://127.0.0.1./x",
        "https://[::ffff:7f00:1%25lo]/x",
        "https://[fe80::1%25eth0]/x",
        "https://user@site.example/x",
        "https://user:secret@site.example/x",
        "https://8.8.8.8@127.0.0.1/x",
        "https://site.example:8443/x",
        "https://site.example:22/x",
        "https://site.example:0/x",
        "https://site.example:99999/x",
        "http://site.example/x",
        "ftp://site.example/x",
        "file:///etc/passwd",
        "gopher://site.example/x",
        "https:///x",
        "https://site.example\\@10.0.0.1/x",
        "https://site.example/x#fragment",
        "https://site.example/a b",
        "https://site.example/x\r\nHost: evil",
        "https://site.example\t/x",
        "https://sité.example/x",
        "https://site。example/x",
        "https://①②⑦.0.0.1/x",
        "HTTPS://site.example/x",
        "//site.example/x",
        "https://site.example/" + "a" * 3000,
        "",
    ],
)
def test_a_url_that_is_not_plainly_https_is_refused_without_a_question(url: str) -> None:
    async def run() -> list[tuple[str, str]]:
        resolver = FakeResolver(ZONE)
        with pytest.raises(FetchError):
            await HttpFetcher(resolver).get(url, timeout=2, limit=10)
        return resolver.queries

    assert asyncio.run(run()) == []


class Rebinding(FakeResolver):
    """Says something else each time that it is asked."""

    def __init__(self) -> None:
        super().__init__({})
        self.asked = 0

    async def addresses(self, name: str) -> list[IPAddress]:
        del name
        self.asked += 1
        return [ip_address("127.0.0.1" if self.asked == 1 else "10.0.0.1")]


def test_a_name_is_looked_up_once_so_that_it_cannot_change_its_mind(authority: Authority) -> None:
    async def run() -> int:
        resolver = Rebinding()
        async with site({"/x": answer()}, authority.ca) as made:
            first = ip_address("127.0.0.1")
            fetcher = HttpFetcher(resolver, authorities=authority.file, may_reach=lambda a: a == first, port=made.port)
            await fetcher.get(f"https://{NAME}/x", timeout=5, limit=10)
            return resolver.asked

    assert asyncio.run(run()) == 1


def test_proxies_of_the_environment_are_not_used(authority: Authority) -> None:
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "http://127.0.0.1:1"))
    try:
        assert fetched(authority, answer())[0].body == b"hello"
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({name: value} if value is not None else {})


def test_a_trusted_url_may_be_plain_and_inside_and_on_any_port() -> None:
    async def run() -> tuple[Fetched, Fetched]:
        async with site({"/x": answer()}, None) as made:
            fetcher = HttpFetcher(FakeResolver(ZONE))
            by_name = await fetcher.get(f"http://{NAME}:{made.port}/x", timeout=5, limit=10, trusted=True)
            return by_name, await fetcher.get(f"http://127.0.0.1:{made.port}/x", timeout=5, limit=10, trusted=True)

    assert [found.status for found in asyncio.run(run())] == [200, 200]


def test_a_trusted_url_still_has_its_certificate_verified(authority: Authority) -> None:
    async def use(fetcher: HttpFetcher, made: Site) -> Fetched:
        return await fetcher.get(f"https://127.0.0.1:{made.port}/x", timeout=5, limit=10, trusted=True)

    assert fetched(authority, answer(), use=use, names=("127.0.0.1",))[0].status == 200
    with pytest.raises(FetchError, match="certificate"):
        fetched(authority, answer(), use=use, names=(NAME,))


def test_the_next_address_is_tried_where_one_does_not_let_us_in(authority: Authority) -> None:
    found, made = fetched(authority, answer(), zone={NAME: {"AAAA": ["::1"], "A": ["127.0.0.1"]}})
    assert found.status == 200
    assert len(made.requests) == 1


def test_failures_of_the_dns_and_of_the_network_are_told_in_our_words(authority: Authority) -> None:
    assert "not found" in refused(f"https://{NAME}/x", {})
    assert "no address" in refused(f"https://{NAME}/x", {NAME: {}})
    assert "not found" in refused(f"https://{NAME}/x", {NAME: {"A": "SERVFAIL", "AAAA": "SERVFAIL"}})
    assert refused("http://127.0.0.1:1/x", trusted=True) == "no connection to the server"
    assert issubclass(DnsError, Exception)


@pytest.mark.parametrize("fields", [{"X": "a\r\nY: b"}, {"X y": "a"}, {"X": "é"}, {"": "a"}])
def test_header_fields_that_could_split_a_request_are_refused(fields: dict[str, str]) -> None:
    async def run() -> None:
        await HttpFetcher(FakeResolver(ZONE)).get(f"https://{NAME}/x", timeout=2, limit=10, headers=fields)

    with pytest.raises(FetchError, match="header field"):
        asyncio.run(run())
