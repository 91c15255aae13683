"""``postlatch updates`` as a whole, with a machine, a clock and servers of the test."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from postlatch.app import updates as app
from postlatch.app.answer import BAD_NEWS, GOOD, UNDECIDED, UNUSABLE, Answer
from postlatch.audit.updates import banner
from postlatch.audit.updates.dependencies import Dependency
from postlatch.cli.render.updates import updates as render
from postlatch.cli.text import Line
from postlatch.cli.updates import UPDATES, UPDATES_ROWS
from postlatch.model.envelope import IPAddress
from postlatch.model.fetch import Fetched, FetchError
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver

NOON = 1_795_608_000.0  # 2026-11-25T12:00Z
DAY = 86_400.0


class NoNetwork:
    """A fetcher that fails as one without a network does, and counts."""

    def __init__(self) -> None:
        self.asked = 0

    async def get(self, url: str, **_: Any) -> Fetched:
        assert url
        self.asked += 1
        raise FetchError("no connection to the server")

    async def post(self, url: str, body: bytes, **_: Any) -> Fetched:
        assert url
        assert body
        self.asked += 1
        raise FetchError("no connection to the server")


def nothing_installed(_: Sequence[str]) -> str | None:
    return None


@pytest.fixture
def network() -> NoNetwork:
    return NoNetwork()


@pytest.fixture
def world(network: NoNetwork, tmp_path: Path) -> app.World:
    resolver = FakeResolver({"mx.example.com": {"A": ["127.0.0.1"]}})
    return app.World(
        FakeClock(NOON),
        resolver,
        network,
        run=nothing_installed,
        listen=lambda address, port: banner.listen(address, port, 1.0),
        version="0.1.0",
        installed=lambda: [Dependency("click", "8.1")],
        lists=tmp_path,
        os_release=tmp_path / "os-release",
    )


def told(world: app.World, kept: Path | None = None, **arguments: Any) -> Answer:
    answer = asyncio.run(app.updates(world, arguments, kept))
    json.dumps(answer.data)
    assert all(isinstance(line, Line) and line.text.isascii() for line in (render(answer.data) if answer.data else []))
    return answer


def text(answer: Answer) -> str:
    return "\n".join(line.text for line in render(answer.data) if isinstance(line, Line))


def test_without_being_told_to_nobody_is_asked_and_that_is_said(world: app.World, network: NoNetwork) -> None:
    answer = told(world)
    assert network.asked == 0
    assert answer.status == UNDECIDED
    assert answer.data["online"] is False
    assert any("The network was not asked" in note for note in answer.data["notes"])
    assert {(item["kind"], item["state"]) for item in answer.data["items"]} == {
        ("postlatch", "unknown"),
        ("dependency", "unknown"),
        ("package", "unknown"),
    }


def test_a_network_that_fails_leaves_it_unknown_with_the_reason(world: app.World, network: NoNetwork) -> None:
    answer = told(world, online=True, index="https://index.example/simple")
    assert network.asked == 2
    assert answer.status == UNDECIDED
    assert "no connection to the server" in text(answer)


def test_without_an_index_postlatch_is_unknown_and_the_packages_are_asked_for(world: app.World, network: NoNetwork) -> None:
    answer = told(world, online=True)
    assert network.asked == 1
    assert answer.data["items"][0]["fix"] == "postlatch updates --online --index URL"


def test_the_shape_of_the_result_is_that_of_the_catalogue(world: app.World) -> None:
    answer = told(world, banner="220 mx.example.com ESMTP Exim 4.97")
    assert answer.data["schema"] == "postlatch.updates/1"
    assert set(answer.data) == {"schema", *UPDATES.result}
    assert set(answer.data["items"][0]) == set(UPDATES_ROWS["items"])
    assert set(answer.data["items"][0]["advisories"][0]) == {"id", "severity", "summary", "source", "fixed", "confirmed"}


def test_a_banner_of_an_affected_version_is_possible_and_no_failure(world: app.World) -> None:
    answer = told(world, banner="220 mx.example.com ESMTP Exim 4.97")
    [item] = answer.data["items"]
    assert (answer.status, item["state"]) == (GOOD, "possible")
    assert "CVE-2026-45185, critical" in text(answer)
    assert told(world, banner="220 mx.example.com ESMTP").status == UNDECIDED


def test_an_installed_package_below_its_distributions_fix_is_a_failure(world: app.World, tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text("ID=debian\nVERSION_ID=12\n")
    rows = "installed\texim4-base\t4.96-15+deb12u8\n"
    answer = told(world._replace(run=lambda command: rows if command[0] == "dpkg-query" else None))
    assert answer.status == BAD_NEWS
    assert [item["state"] for item in answer.data["items"] if item["kind"] == "server"] == ["vulnerable"]


def test_old_data_is_a_warning_and_no_failure(world: app.World) -> None:
    world = world._replace(clock=FakeClock(NOON + 200 * DAY))
    answer = told(world, banner="220 mx.example.com ESMTP Exim 4.99.4")
    assert answer.status == GOOD
    assert "The data of known faults is 200 days old, more than 90: newer faults are not in it." in answer.data["notes"]


def test_refreshing_without_a_network_is_a_normal_state(world: app.World, tmp_path: Path) -> None:
    kept = tmp_path / "advisories.json"
    answer = told(world, kept, refresh=True, data_url="https://data.example/a.json", banner="220 mx ESMTP Exim 4.99.4")
    assert answer.status == GOOD
    assert answer.data["notes"][0].startswith("The data was not refreshed: it could not be fetched: no connection")
    assert not kept.exists()


def test_refreshing_needs_a_place_from_and_a_place_to(world: app.World) -> None:
    for url, words in (("", "--data-url"), ("https://data.example/a", "--data FILE")):
        answer = told(world, refresh=True, data_url=url)
        assert answer.status == UNUSABLE
        assert words in str(answer)


@pytest.mark.parametrize(
    "server", ["mx.example.com:x", ":25", "mx.example.com:0", "mx.example.com:99999999999", "[::1", "a:1:2"]
)
def test_a_server_that_cannot_be_one_is_unusable(world: app.World, server: str) -> None:
    if server == "[::1":
        assert told(world, server=server).status in {UNUSABLE, UNDECIDED}
    else:
        assert told(world, server=server).status == UNUSABLE


@contextmanager
def peer(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """One connection at a time on loopback, until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    try:
                        talk(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(2)


def test_a_server_is_asked_for_its_greeting_and_ehlo_and_left_with_quit(world: app.World) -> None:
    heard: list[bytes] = []

    def talk(wire: socket.socket) -> None:
        wire.sendall(b"220-mx.example.com ESMTP\r\n220 mx.example.com ESMTP Exim 4.97\r\n")
        file = wire.makefile("rb")
        for answer in (b"250-mx.example.com Hello\r\n250 HELP\r\n", b"221 bye\r\n"):
            heard.append(file.readline())
            wire.sendall(answer)

    with peer(talk) as port:
        [item] = told(world, server=f"mx.example.com:{port}").data["items"]
    assert heard == [b"EHLO [127.0.0.1]\r\n", b"QUIT\r\n"]
    assert (item["state"], item["installed"]) == ("possible", "4.97")
    assert item["name"] == f"Exim (mx.example.com:{port})"


def flood(wire: socket.socket) -> None:
    while True:
        wire.sendall(b"220-" + b"x" * 4000 + b"\r\n")


def drip(wire: socket.socket) -> None:
    for letter in b"220 mx.example.com ESMTP Exim 4.97":
        wire.sendall(bytes([letter]))
        time.sleep(0.05)
    wire.recv(1)


def stall(wire: socket.socket) -> None:
    wire.recv(1)


BAD: dict[str, tuple[Callable[[socket.socket], None], str]] = {
    "closes": (lambda wire: wire.close(), "it closed the connection"),
    "stalls": (stall, "no whole reply within 0.4 seconds"),
    "drips": (drip, "no whole reply within 0.4 seconds"),
    "floods": (flood, "more than 65536 octets"),
    "never ends its reply": (lambda wire: wire.sendall(b"220-x\r\n" * 200), "a reply of more than 100 lines"),
    "speaks HTTP": (lambda wire: wire.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "it does not speak SMTP"),
    "has no line ends": (lambda wire: wire.sendall(b"220 " + b"x" * 100_000), "more than 65536 octets"),
    "sends octets": (lambda wire: wire.sendall(bytes(range(256)) * 10), "it does not speak SMTP"),
}


@pytest.mark.parametrize("how", BAD)
def test_a_server_that_misbehaves_is_unknown_in_time(how: str) -> None:
    began = time.monotonic()
    talk, why = BAD[how]
    with peer(talk) as port:
        heard = banner.listen(ip_address("127.0.0.1"), port, 0.4)
    assert heard.trouble == why
    assert time.monotonic() - began < 2
    assert len(heard.banner) < 100_000


def test_a_greeting_is_told_even_if_nothing_follows(world: app.World) -> None:
    with peer(lambda wire: wire.sendall(b"220 mx ESMTP Exim 4.97 \x1b[31m\r\n")) as port:
        [item] = told(world, server=f"127.0.0.1:{port}").data["items"]
    assert item["state"] == "possible"
    assert item["note"].endswith('It greets with "220 mx ESMTP Exim 4.97 \\x1b[31m".')


def test_the_next_address_of_a_name_is_asked_if_the_first_is_silent(world: app.World) -> None:
    asked: list[str] = []

    def listen(address: IPAddress, _: int) -> banner.Heard:
        asked.append(str(address))
        return banner.Heard("220 mx ESMTP Exim 4.99.4" if len(asked) == 2 else "", (), "Connection refused")

    zone = FakeResolver({"mx.example.com": {"A": ["192.0.2.1", "192.0.2.2", "192.0.2.3"]}})
    [item] = told(world._replace(listen=listen, resolver=zone), server="mx.example.com").data["items"]
    assert (len(asked), item["state"]) == (2, "current")


def test_a_server_without_an_address_or_that_is_not_there_is_unknown(world: app.World) -> None:
    assert told(world, server="absent.example.com").status == UNDECIDED
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answer = told(world, server=f"mx.example.com:{port}")
    assert answer.status == UNDECIDED
    assert "Connection refused" in text(answer)


def test_a_configuration_that_was_named_must_be_readable_and_none_is_needed(tmp_path: Path) -> None:
    asked = {"banner": "220 mx ESMTP Postfix (3.8.3)"}
    assert app.command(tmp_path / "absent.toml", asked).status == UNUSABLE
    assert app.command(None, asked).data["items"][0]["state"] == "possible"
