"""Directories against real servers (OpenLDAP, Dovecot's authentication service, a hook over HTTP) and against what pretends."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from postlatch.accounts.directory import Directory, Down, Found
from postlatch.accounts.directory_dovecot import DovecotDirectory, Reply, judge, parse_line, request
from postlatch.accounts.directory_http import HttpDirectory
from postlatch.accounts.directory_ldap import LdapDirectory
from postlatch.accounts.directory_ldap_text import LdapSettings, fill, filter_value, name_value
from postlatch.app.fetch import HttpFetcher
from postlatch.testing.dns import FakeResolver
from postlatch.testing.peers.dovecot_auth import DovecotAuth
from postlatch.testing.peers.ports import free_port
from postlatch.testing.peers.slapd import ADMIN, ADMIN_PASSWORD, BASE, Person, Slapd

ALICE = "alice@example.com"
FILTER = "(&(objectClass=inetOrgPerson)(mail={login}))"
WEIRD = "we(ird)*{login}@example.com"
PEOPLE = (
    Person("alice", "wonder land", (ALICE, "info@example.com")),
    Person("twin1", "same", ("twin@example.com",)),
    Person("twin2", "same", ("twin@example.com",)),
    Person("weird", "star", (WEIRD,)),
    Person("plus", "quote", ("p+q@example.com",)),
    Person("many", "m", ("many@example.com", *(f"m{n}@example.com" for n in range(1100)))),
)
# What has been tried on other servers: to widen the filter, to end it, to bind as somebody else, or as nobody.
HOSTILE = (
    "*",
    "*@example.com",
    "*)(mail=*",
    "alice@example.com)(|(uid=*",
    "*)(objectClass=*",
    "\\2a",
    "alice*@example.com",
    "a@example.com\0",
    "alice,ou=people@example.com",
    f"cn=admin,{BASE}@example.com",
    "#0403616263@example.com",
    "x" * 100_000 + "@example.com",
    "\udcff@example.com",
    "",
)


def ask(directory: Directory, login: str, password: str, seconds: float = 20) -> Found | None:
    """One question, and the end of the directory."""

    async def scenario() -> Found | None:
        try:
            async with asyncio.timeout(seconds):
                return await directory.verify(login, password)
        finally:
            directory.close()
            await asyncio.sleep(0.04)  # its child is reaped by the loop

    return asyncio.run(scenario())


# LDAP


@pytest.fixture(scope="module")
def trap() -> Iterator[tuple[int, list[int]]]:
    """A port that accepts and says nothing, and counts who came."""
    caught: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            held = []
            while True:
                try:
                    held.append(server.accept())
                except OSError:
                    return
                caught.append(1)

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], caught
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def slapd(tmp_path_factory: pytest.TempPathFactory, trap: tuple[int, list[int]]) -> Iterator[Slapd]:
    with Slapd(tmp_path_factory.mktemp("ldap"), PEOPLE, f"ldap://127.0.0.1:{trap[0]}/") as peer:
        yield peer


def searching(peer: Slapd, **other: Any) -> LdapSettings:
    chosen = {"url": peer.ldapi, "starttls": False, "base": BASE, "filter": FILTER, "send_as": "mail", "timeout": 5.0}
    return LdapSettings(**{**chosen, **other})


@pytest.mark.parametrize("way", ["ldapi", "ldaps", "ldap"])
def test_ldap_finds_the_entry_and_binds_as_it_over_every_protected_way(slapd: Slapd, way: str) -> None:
    settings = searching(slapd, url=getattr(slapd, way), starttls=way == "ldap", authorities=str(slapd.authorities))
    assert ask(LdapDirectory(settings), ALICE, "wonder land") == Found(ALICE, frozenset({ALICE, "info@example.com"}))


def test_ldap_answers_for_each_login_what_is_in_the_directory(slapd: Slapd) -> None:
    expected: dict[tuple[str, str], Found | None] = {
        (ALICE, "wonder land"): Found(ALICE, frozenset({ALICE, "info@example.com"})),
        (ALICE, "Wonder land"): None,
        (ALICE, ""): None,
        (ALICE, "a\0b"): None,
        ("nobody@example.com", "wonder land"): None,
        ("twin@example.com", "same"): None,  # two entries: nobody can say whose password it is
        (WEIRD, "star"): Found(WEIRD, frozenset({WEIRD})),
        ("p+q@example.com", "quote"): Found("p+q@example.com", frozenset({"p+q@example.com"})),
        **{(login, "wonder land"): None for login in HOSTILE},
    }

    async def scenario() -> dict[tuple[str, str], Found | None]:
        directory = LdapDirectory(searching(slapd), workers=2)
        try:
            return {pair: await directory.verify(*pair) for pair in expected}
        finally:
            directory.close()
            await asyncio.sleep(0.02)

    assert asyncio.run(scenario()) == expected


def test_ldap_by_name_needs_no_search_and_no_name_leaves_its_place(slapd: Slapd, trap: tuple[int, list[int]]) -> None:
    by_name = LdapSettings(slapd.ldapi, False, name=f"uid={{local}},ou=people,{BASE}")

    async def scenario() -> None:
        directory = LdapDirectory(by_name, workers=1)
        try:
            assert await directory.verify(ALICE, "wonder land") == Found(ALICE)
            assert await directory.verify(ALICE, "wrong") is None
            for login in (text for text in HOSTILE if text.rpartition("@")[0] != "alice"):
                assert await directory.verify(login, "wonder land") is None, login
        finally:
            directory.close()
            await asyncio.sleep(0.02)

    asyncio.run(scenario())
    assert trap[1] == []


@pytest.mark.parametrize(
    "way", [{"name": f"uid={{local}},ou=away,{BASE}", "base": "", "filter": "", "send_as": ""}, {"base": f"ou=away,{BASE}"}]
)
def test_ldap_referrals_are_not_followed(slapd: Slapd, trap: tuple[int, list[int]], way: dict[str, str]) -> None:
    with suppress(Down):
        assert ask(LdapDirectory(searching(slapd, **way)), ALICE, "wonder land") is None
    assert trap[1] == []  # the password went nowhere else


def test_ldap_searches_as_it_is_told_and_says_if_it_may_not(slapd: Slapd) -> None:
    right = searching(slapd, bind_name=ADMIN, bind_password=ADMIN_PASSWORD)
    assert ask(LdapDirectory(right), ALICE, "wonder land") is not None
    wrong = searching(slapd, bind_name=ADMIN, bind_password="wrong")
    with pytest.raises(Down, match="refuses the login of this relay"):
        ask(LdapDirectory(wrong), ALICE, "wonder land")
    assert ask(LdapDirectory(searching(slapd, base="dc=other")), ALICE, "wonder land") is None


@pytest.mark.parametrize("way", ["ldaps", "ldap"])
def test_ldap_without_a_certificate_that_verifies_gets_no_password(slapd: Slapd, way: str) -> None:
    for url in (getattr(slapd, way), getattr(slapd, way).replace("127.0.0.1", "127.0.0.2")):
        authorities = str(slapd.authorities) if "127.0.0.2" in url else ""
        with pytest.raises(Down):
            ask(LdapDirectory(searching(slapd, url=url, starttls=way == "ldap", authorities=authorities)), ALICE, "wonder land")


def test_ldap_with_more_sender_addresses_than_count_is_no_answer(slapd: Slapd) -> None:
    with pytest.raises(Down, match="too many"):
        ask(LdapDirectory(searching(slapd)), "many@example.com", "m")


def test_an_ldap_server_that_is_silent_costs_an_answer_and_not_the_loop() -> None:
    """libldap waits in the TLS handshake with Python's lock held: here the loop's own clock goes on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        async def scenario() -> int:
            settings = LdapSettings(f"ldaps://127.0.0.1:{port}", False, base=BASE, filter=FILTER, timeout=0.6)
            directory = LdapDirectory(settings)
            task = asyncio.create_task(directory.verify(ALICE, "x"))
            turns = 0
            while not task.done():
                await asyncio.sleep(0.02)
                turns += 1
            with pytest.raises(Down, match="in time"):
                await task
            directory.close()
            await asyncio.sleep(0.02)
            return turns

        assert asyncio.run(scenario()) > 10


def test_an_ldap_server_that_is_not_there_is_no_answer() -> None:
    with pytest.raises(Down):
        ask(LdapDirectory(LdapSettings(f"ldap://127.0.0.1:{free_port()}", True, base=BASE, filter=FILTER)), ALICE, "x")


def ber(tag: int, *parts: bytes) -> bytes:
    """One element (X.690), in the definite form."""
    content = b"".join(parts)
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x84]) + size.to_bytes(4)
    return bytes([tag]) + length + content


def message(number: int, *operation: bytes) -> bytes:
    return ber(0x30, ber(0x02, bytes([number])), *operation)


def result(tag: int, code: int = 0) -> bytes:
    return ber(tag, ber(0x0A, bytes([code])), ber(0x04), ber(0x04))


def entry(*mail: bytes) -> bytes:
    values = ber(0x31, *(ber(0x04, value) for value in mail))
    return ber(0x64, ber(0x04, b"uid=x,dc=x"), ber(0x30, ber(0x30, ber(0x04, b"mail"), values)))


@pytest.mark.parametrize(
    ("searched", "told"),
    [
        ([message(2, entry(b"x" * 10_000_000)), message(2, result(0x65))], "too much|too long"),
        pytest.param(
            [message(2, entry(*[b"a@example.com"] * 200_000)), message(2, result(0x65))],
            "too much|too many",
            marks=pytest.mark.soak,
        ),
        ([message(2, result(0x65))], "nobody's"),  # nothing is found, and every bind succeeds
        ([message(2, entry(b"x"))[:20]], "gave no answer|in time"),
        pytest.param([b"\xff" * 5000], "gave no answer|in time", marks=pytest.mark.soak),
        pytest.param([message(2, result(0x65, 51))], "gave no answer", marks=pytest.mark.soak),
        ([message(2, result(0x65, 10))], "gave no answer|nobody's"),
    ],
    ids=["10 MB", "200,000 addresses", "yes to all", "cut", "noise", "busy", "referral"],
)
def test_an_ldap_server_that_lies_or_breaks_is_no_answer(searched: list[bytes], told: str) -> None:
    def serve(connection: socket.socket) -> None:
        with closing(connection):
            connection.recv(1000)
            connection.sendall(message(1, result(0x61)))
            if connection.recv(1000):
                for octets in searched:
                    connection.sendall(octets)

    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                try:
                    serve(connection)
                except OSError:
                    continue

        threading.Thread(target=accept, daemon=True).start()
        settings = LdapSettings(
            f"ldap://127.0.0.1:{server.getsockname()[1]}", False, base="dc=x", filter=FILTER, send_as="mail", timeout=3
        )
        with pytest.raises(Down, match=told):
            ask(LdapDirectory(settings), ALICE, "x")
        server.shutdown(socket.SHUT_RDWR)


def test_texts_of_clients_are_escaped_in_filters_and_names() -> None:
    assert filter_value("a*(b)\\\0é") == "a\\2a\\28b\\29\\5c\\00\\c3\\a9"
    assert name_value(' a,b+"c";<d>=e\\#é ') == "\\20a\\2cb\\2b\\22c\\22\\3b\\3cd\\3e\\3de\\5c\\23\\c3\\a9\\20"
    assert (
        fill("{local}|{domain}|{login}|{other}", "{domain}@{local}", str.upper) == "{DOMAIN}|{LOCAL}|{DOMAIN}@{LOCAL}|{other}"
    )


# Dovecot


@pytest.fixture(scope="module")
def dovecot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DovecotAuth]:
    users = (
        f"{ALICE}:{{PLAIN}}wonder land::::::send_as=info@example.com,@example.com",
        "bob@example.com:{PLAIN}b::::::nologin",
        "carol@example.com:{PLAIN}c::::::user_disabled",
        "dave@example.com:{PLAIN}d::::::proxy host=127.0.0.1",
    )
    with DovecotAuth(tmp_path_factory.mktemp("dovecot"), users) as peer:
        yield peer


@pytest.mark.parametrize(
    ("login", "password", "found"),
    [
        (ALICE, "wonder land", Found(ALICE, frozenset({"info@example.com", "@example.com"}))),
        (ALICE, "wrong", None),
        ("nobody@example.com", "wonder land", None),
        ("bob@example.com", "b", None),
        ("carol@example.com", "c", None),
        ("dave@example.com", "d", None),
        ("alice@example.com\tuser=bob@example.com", "wonder land", None),
        ("alice@example.com\nAUTH\t2\tPLAIN", "wonder land", None),
    ],
)
def test_dovecot_answers_by_its_client_protocol(dovecot: DovecotAuth, login: str, password: str, found: Found | None) -> None:
    assert ask(DovecotDirectory(str(dovecot.socket), 1), login, password) == found, dovecot.log()


def test_dovecot_gets_no_nul_and_nothing_too_long() -> None:
    for login, password in (("a\0b@example.com", "x"), (ALICE, "a\0b"), ("x" * 5000 + "@example.com", "x")):
        with pytest.raises(Down):
            ask(DovecotDirectory("/nowhere", 1), login, password)


def test_dovecot_that_is_not_there_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(Down, match="cannot be reached"):
        ask(DovecotDirectory(str(tmp_path / "none"), 1), ALICE, "x")


HELLO = b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t0\nDONE\n"


@asynccontextmanager
async def pretending(path: Path, hello: bytes, answer: bytes) -> AsyncIterator[DovecotDirectory]:
    """A service that says what it is told to."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(hello)
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"resp=")
            writer.write(answer)
            await writer.drain()
        writer.transport.abort()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield DovecotDirectory(str(path), 1)
    finally:
        server.close()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("hello", "answer", "expected"),
    [
        (HELLO, b"OK\t1\tuser=alice@example.com\n", Found(ALICE)),
        (HELLO, b"OK\t1\tuser=alice\n", Found(ALICE)),  # it cuts off the one domain that there is
        (HELLO, b"OK\t1\tuser=bob@example.com\n", Found("bob@example.com")),  # a lie, for ``held`` to find
        (HELLO, b"OK\t1\tuser=alice@example.com\tnologin\n", None),
        (HELLO, b"OK\t1\tuser=alice@example.com\tproxy\thost=x\n", None),
        (HELLO, b"FAIL\t1\tuser=alice@example.com\tcode=user_disabled\n", None),
        (HELLO, b"FAIL\t1\tuser=alice@example.com\ttemp\n", Down),
        (HELLO, b"FAIL\t1\tcode=temp_fail\n", Down),
        (HELLO, b"OK\t2\tuser=alice@example.com\n", Down),
        (HELLO, b"OK\n", Down),
        (HELLO, b"CONT\t1\t\n", Down),
        (HELLO, b"", Down),
        (HELLO, b"OK\t1\tuser=alice@example.com", Down),  # cut
        (HELLO, b"OK\t1\tuser=\xff\xfe\n", Down),
        (HELLO, b"OK\t1\tx=" + b"y" * 10_000_000 + b"\n", Down),
        (b"x" * 10_000_000, b"", Down),
        (b"SPID\t1\n" * 200, b"", Down),
        (HELLO.replace(b"VERSION\t1", b"VERSION\t2"), b"", Down),
        (HELLO.replace(b"PLAIN", b"NTLM"), b"", Down),
    ],
)
def test_an_authentication_service_that_says_anything_else_is_no_answer(
    tmp_path: Path, hello: bytes, answer: bytes, expected: Found | type[Down] | None
) -> None:
    async def scenario() -> Found | None:
        async with pretending(tmp_path / "s", hello, answer) as directory, asyncio.timeout(10):
            return await directory.verify(ALICE, "x")

    if expected is Down:
        with pytest.raises(Down):
            asyncio.run(scenario())
    else:
        assert asyncio.run(scenario()) == expected


def test_lines_of_dovecot_are_unescaped_and_ours_need_no_escaping() -> None:
    assert parse_line(b"OK\t1\ta=\x01t\x01n\x01r\x010\x011\x01") == Reply("OK", ("1", "a=\t\n\r\0\x01"))
    line = request("a\t\n@example.com", "p\t\n", "smtp")
    assert line.count(b"\n") == 1
    assert base64.b64decode(line.rpartition(b"resp=")[2]) == b"\0a\t\n@example.com\0p\t\n"
    assert judge(Reply("OK", ("1", "user=alice")), ALICE, 2) == Found("alice")  # with two domains that is nobody


# HTTP

Hook = Callable[[dict[str, Any]], Awaitable[Found | None]]


class _Server(ThreadingHTTPServer):
    answer: tuple[int, bytes] = (200, b"{}")
    seen: list[tuple[dict[str, str], Any]]


@pytest.fixture(scope="module")
def hook() -> Iterator[_Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert isinstance(self.server, _Server)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.seen.append((dict(self.headers), json.loads(body)))
            status, answer = self.server.answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    server = _Server(("127.0.0.1", 0), Handler)
    server.seen = []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def hooked(server: _Server) -> HttpDirectory:
    url = f"http://127.0.0.1:{server.server_address[1]}/verify"
    return HttpDirectory(url, HttpFetcher(FakeResolver({})), timeout=5, token="t0ken")


def test_a_hook_is_asked_by_post_and_told_who_asks(hook: _Server) -> None:
    hook.answer = 200, json.dumps({"ok": True, "login": ALICE, "send_as": ["info@example.com"]}).encode()
    assert ask(hooked(hook), ALICE, 'p"\n') == Found(ALICE, frozenset({"info@example.com"}))
    headers, body = hook.seen[-1]
    assert body == {"login": ALICE, "password": 'p"\n'}
    assert {name.lower(): value for name, value in headers.items()}["authorization"] == "Bearer t0ken"


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (200, b'{"ok": true, "login": "alice@example.com"}', Found(ALICE)),
        (200, b'{"ok": false}', None),
        (401, b"", None),
        (403, b"<html>", None),
        (200, b'{"ok": true}', Down),
        (200, b'{"ok": 1, "login": "alice@example.com"}', Down),
        (200, b'{"ok": "true", "login": "alice@example.com"}', Down),
        (200, b'{"ok": true, "login": ["alice@example.com"]}', Down),
        (200, b'{"ok": true, "login": "alice@example.com", "send_as": "x@example.com"}', Down),
        (200, b'{"ok": true, "login": "alice@example.com", "send_as": [1]}', Down),
        (200, b"true", Down),
        (200, b"", Down),
        (200, b"[" * 60_000, Down),
        (200, b" " * 10_000_000, Down),
        (204, b"", Down),
        (201, b'{"ok": true, "login": "alice@example.com"}', Down),
        (302, b"", Down),
        (404, b"", Down),
        (500, b'{"ok": true, "login": "alice@example.com"}', Down),
    ],
)
def test_only_one_kind_of_answer_of_a_hook_is_a_yes(
    hook: _Server, status: int, answer: bytes, expected: Found | type[Down] | None
) -> None:
    hook.answer = status, answer
    if expected is Down:
        with pytest.raises(Down):
            ask(hooked(hook), ALICE, "x")
    else:
        assert ask(hooked(hook), ALICE, "x") == expected


def test_a_hook_that_is_not_there_is_no_answer() -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    with pytest.raises(Down, match="gave no answer"):
        ask(HttpDirectory(url, HttpFetcher(FakeResolver({})), timeout=2), ALICE, "x")
