"""Source addresses, for real: a NAT box, a userland proxy and HAProxy in front of a running relay, each in its own network."""

from __future__ import annotations

import contextlib
import json
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from masked_network import CLIENTS, EDGE, EDGE_OUTSIDE, RELAY, HaProxy, MaskedNetwork, UserlandProxy, masked_network
from running_support import SAFE, reply, submit

from postlatch.app import control
from postlatch.app.answer import Answer
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.running import RunningRelay

pytestmark = pytest.mark.real

LISTENERS = f"""\
[[listeners]]
name = "mx"
address = "{RELAY}:0"
role = "mx"

[[listeners]]
name = "relay"
address = "{RELAY}:0"
role = "relay"

[[listeners]]
name = "proxied"
address = "{RELAY}:0"
role = "relay"
proxies = ["{EDGE}"]

[[listeners]]
name = "proxied-mx"
address = "{RELAY}:0"
role = "mx"
proxies = ["{EDGE}"]

[[listeners]]
name = "proxied-tls"
address = "{RELAY}:0"
role = "submissions"
proxies = ["{EDGE}"]

[[listeners]]
name = "tls"
address = "{RELAY}:0"
role = "submissions"

[[listeners]]
name = "silent"
address = "{RELAY}:0"
role = "mx"
proxies = ["{EDGE}"]

[[listeners]]
name = "unaware"
address = "{RELAY}:0"
role = "relay"

[[rights]]
name = "unaware"
networks = ["10.1.0.0/24"]
listeners = ["unaware"]
owner = "ops@example.com"
expires = 2099-12-31

[[rights]]
name = "office"
networks = ["10.9.0.0/24"]
listeners = ["relay"]
owner = "ops@example.com"
expires = 2099-12-31

[[rights]]
name = "branch"
networks = ["{CLIENTS[0]}/32"]
listeners = ["proxied"]
owner = "ops@example.com"
expires = 2099-12-31

[[rights]]
name = "edge"
networks = ["10.9.0.2/31"]
listeners = ["proxied"]
owner = "ops@example.com"
expires = 2099-12-31

"""


def _config() -> str:
    begin, rest = SAFE.split("[[listeners]]", 1)
    config = begin + LISTENERS + rest[rest.index("[domains.") :].replace("127.0.0.1:HTTP", "127.0.0.1:0")
    # Mail that leaves would have nowhere to go: the smarthost is a closed port, and it waits.
    return config + '\n[outbound]\nsmarthost = "smtp://127.0.0.1:1"\n'


@pytest.fixture(scope="module")
def network() -> Iterator[MaskedNetwork]:
    with masked_network() as made:
        yield made


@pytest.fixture(scope="module")
def relay(network: MaskedNetwork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    running = RunningRelay(tmp_path_factory.mktemp("masked") / "relay", _config())
    with network.inside.inside():
        running.start()
    yield running
    running.stop()
    log = running.read_log()
    assert "Traceback" not in log, log[-3000:]


@pytest.fixture(scope="module")
def haproxy(network: MaskedNetwork, relay: RunningRelay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HaProxy]:
    doors = {
        2501: (relay.port("proxied"), "send-proxy"),
        2502: (relay.port("proxied"), "send-proxy-v2 proxy-v2-options crc32c,unique-id"),
        2503: (relay.port("proxied-tls"), "send-proxy-v2"),
        2504: (relay.port("silent"), ""),
        2505: (relay.port("unaware"), "send-proxy"),
        2506: (relay.port("proxied-mx"), "send-proxy-v2 check check-send-proxy inter 100ms"),
        2507: (relay.port("proxied-tls"), "send-proxy check inter 100ms"),
        2508: (relay.port("proxied"), "send-proxy"),
    }
    with HaProxy(network, tmp_path_factory.mktemp("haproxy"), doors) as proxy:
        yield proxy


def command(relay: RunningRelay, name: str, **arguments: Any) -> Answer:
    """As the command line asks, without the second that it takes to start."""
    return control.call(relay.data, name, arguments)


def events(relay: RunningRelay, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = command(relay, "journal.search", event=name, limit=1000).data["events"]
    return found


def told(relay: RunningRelay, name: str, words: str, **fields: str) -> list[dict[str, Any]]:
    """Events that say this, when there is one: refusals reach the disk a little late."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = [
            event
            for event in events(relay, name)
            if words in str(event.get("why", "")) and all(event.get(key) == value for key, value in fields.items())
        ]
        return bool(found)

    wait_until(there, 5, f"{name} with {words!r} and {fields}")
    return found


def masks(relay: RunningRelay) -> dict[str, Any]:
    return {row["listener"]: row for row in command(relay, "right.masks").data["masks"]}


def state(relay: RunningRelay, name: str) -> str:
    return next(str(row["state"]) for row in command(relay, "rights").data["rights"] if row["name"] == name)


def resume(relay: RunningRelay, listener: str) -> Answer:
    return command(relay, "right.resume", listener=listener, why="a test")


def asks(session: smtplib.SMTP) -> str:
    """The reply to mail for elsewhere, without sending it."""
    session.docmd("RSET")
    answer = session.mail("scanner@example.com")
    return reply(answer if answer[0] >= 400 else session.rcpt("someone@elsewhere.example"))


def trip(network: MaskedNetwork, relay: RunningRelay, port: int, host: str, listener: str) -> int:
    """Sessions of different clients until the guard has tripped; how many that took."""
    for number in range(50):
        source = CLIENTS[number % len(CLIENTS)]
        with network.session(host, port, f"mail{number % 25}.stranger.example", source) as session:
            session.noop()
        if number >= 19 and masked_in_log(relay, listener):
            return number + 1
    wait_until(lambda: masked_in_log(relay, listener), 5, "the guard to trip")
    return 50


def masked_in_log(relay: RunningRelay, listener: str) -> bool:
    return any("masking.found" in line and f"listener={listener} " in line for line in relay.read_log().splitlines())


def test_a_nat_box_trips_the_guard_within_fifty_sessions_and_rights_end_also_in_a_running_session(
    network: MaskedNetwork, relay: RunningRelay
) -> None:
    port = relay.port("relay")
    with network.session(RELAY, port, "first.stranger.example") as open_all_along:
        assert asks(open_all_along).startswith("250"), "a stranger relays behind the NAT box: that is the danger"
        assert trip(network, relay, port, RELAY, "relay") <= 50
        wait_until(lambda: state(relay, "office") == "suspended", 5, "the right to be suspended")
        refusal = asks(open_all_along)
        assert refusal.startswith("550 5.7.1"), refusal
    found = masks(relay)["relay"]
    assert found["address"] == EDGE
    assert found["suspended"] == ["office"]
    assert "a proxy that the configuration lists" in found["why"], "of other listeners, and here it hides everybody"
    [told] = events(relay, "masking.found")
    assert told["rights"] == ["office"]
    [alert] = [event for event in events(relay, "alert.raised") if "own addresses" in str(event)]
    assert "network rights are suspended" in str(alert)
    assert "a NAT box or firewall" in str(alert)
    assert EDGE in str(alert)


def test_the_suspension_survives_a_restart_and_ends_by_a_command_with_a_reason(
    network: MaskedNetwork, relay: RunningRelay
) -> None:
    relay.stop()
    with network.inside.inside():
        relay.start()
    assert state(relay, "office") == "suspended"
    with network.session(RELAY, relay.port("relay"), "again.stranger.example") as session:
        assert asks(session).startswith("550 5.7.1")
        assert resume(relay, "mx").status == 2
        assert resume(relay, "relay").data["rights"] == ["office"]
        assert asks(session).startswith("250")
    assert state(relay, "office") == "active"
    assert not masks(relay)
    assert told(relay, "masking.lifted", "a test", listener="relay")
    relay.log.write_text("")


def test_a_userland_proxy_trips_the_guard_within_fifty_sessions(network: MaskedNetwork, relay: RunningRelay) -> None:
    with UserlandProxy(network, relay.port("relay")) as proxy:
        assert trip(network, relay, proxy.port, EDGE_OUTSIDE, "relay") <= 50
    wait_until(lambda: state(relay, "office") == "suspended", 5, "the right to be suspended")
    assert state(relay, "branch") == "active", "another listener has true addresses"
    assert resume(relay, "relay").status == 0


@pytest.mark.parametrize("door", [2501, 2502])
def test_behind_haproxy_with_proxy_protocol_addresses_are_true_and_nothing_trips(
    network: MaskedNetwork, relay: RunningRelay, haproxy: HaProxy, door: int
) -> None:
    for number in range(60):
        source = CLIENTS[number % len(CLIENTS)]
        with network.session(EDGE_OUTSIDE, door, f"mail{number}.stranger.example", source) as session:
            if number % 30 < 10:
                expected = "250" if source == CLIENTS[0] else "550 5.7.1"
                assert asks(session).startswith(expected), source
    assert "proxied" not in masks(relay)
    wait_until(
        lambda: {event["client"] for event in told(relay, "sender.refused", "", listener="proxied")} >= set(CLIENTS[1:]),
        5,
        "all",
    )
    refused = told(relay, "sender.refused", "", listener="proxied")
    assert {event["proxy"] for event in refused} == {EDGE}


def test_the_true_address_is_in_received_and_in_the_journal(
    network: MaskedNetwork, relay: RunningRelay, haproxy: HaProxy
) -> None:
    with network.session(EDGE_OUTSIDE, 2506, "client.example", CLIENTS[4]) as session:
        assert submit(session, "true-address", "stranger@other.example", "bob@example.com").startswith("250")
    [event] = told(relay, "message.accepted", "", listener="proxied-mx")
    assert (event["client"], event["proxy"]) == (CLIENTS[4], EDGE)
    wait_until(lambda: bool(relay.maildir("bob@example.com")), 10, "the message")
    assert any(
        f"from client.example ([{CLIENTS[4]}])".encode() in path.read_bytes() for path in relay.maildir("bob@example.com")
    )


def test_the_header_comes_before_tls_where_tls_is_from_the_first_byte(
    network: MaskedNetwork, relay: RunningRelay, haproxy: HaProxy
) -> None:
    with network.session(EDGE_OUTSIDE, 2503, "client.example", CLIENTS[5], tls=True) as session:
        assert session.has_extn("auth")
        session.docmd("AUTH", "PLAIN AGFsaWNlAHdyb25n")
    [failed] = told(relay, "auth.failed", "", listener="proxied-tls")
    assert (failed["client"], failed["proxy"]) == (CLIENTS[5], EDGE)


def test_bans_and_caps_are_for_the_client_and_not_for_the_proxy(
    network: MaskedNetwork, relay: RunningRelay, haproxy: HaProxy
) -> None:
    assert command(relay, "ban.add", network=CLIENTS[7], why="test").status == 0
    with network.dial(EDGE_OUTSIDE, 2501, CLIENTS[7]) as sock:
        assert sock.recv(200).startswith(b"554 "), "the ban holds behind the proxy"
    with network.session(EDGE_OUTSIDE, 2501, "other.example", CLIENTS[8]):
        pass
    assert command(relay, "ban.remove", network=CLIENTS[7]).status == 0


def test_health_checks_of_the_proxy_leave_nothing_in_the_journal(
    network: MaskedNetwork, relay: RunningRelay, haproxy: HaProxy
) -> None:
    def hung_up() -> float:
        data = command(relay, "journal.search", client=EDGE, limit=1000).data
        return len([event for event in data["events"] if event["listener"] in {"proxied-mx", "proxied-tls"}])

    before = hung_up()
    for _ in range(5):
        network.dial(RELAY, relay.port("proxied-mx"), "", network.edge).close()
    time.sleep(0.5)  # HAProxy looks five times meanwhile, with LOCAL and without a word
    assert hung_up() == before


def test_nobody_but_a_listed_proxy_may_connect_to_its_listener(network: MaskedNetwork, relay: RunningRelay) -> None:
    for listener in ("proxied", "proxied-tls"):
        with network.dial(RELAY, relay.port(listener), "", network.inside) as sock:
            with contextlib.suppress(OSError):
                sock.sendall(b"PROXY TCP4 10.9.0.3 10.9.0.25 4000 25\r\nEHLO x\r\n")
            assert closed_without_a_word(sock)
        assert told(relay, "connection.refused", "none of the proxies", listener=listener, client=RELAY, rule="proxy")


def closed_without_a_word(sock: socket.socket) -> bool:
    try:
        return sock.recv(100) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"EHLO client.example\r\n", "no PROXY header"),
        (b"PROXY TCP4 10.9.0.3 10.9.0.25 4000\r\n", "not a valid PROXY header"),
        (b"PROXY TCP4 10.9.0.3 10.9.0.25 70000 25\r\n", "a port in it"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c" + bytes(12), "UDP over IPv4"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", "octets long"),
        (b"PROXY TCP4 10.9.0.3", "cut off"),
    ],
)
def test_a_header_that_is_missing_cut_or_forged_closes_the_connection(
    network: MaskedNetwork, relay: RunningRelay, sent: bytes, why: str
) -> None:
    for listener in ("proxied", "proxied-tls"):
        with network.dial(RELAY, relay.port(listener), "", network.edge) as sock:
            sock.sendall(sent)
            with contextlib.suppress(OSError):  # it may have been closed already
                sock.shutdown(socket.SHUT_WR)
            assert closed_without_a_word(sock)
        assert told(relay, "connection.refused", why, listener=listener, proxy=EDGE, client=EDGE)


@pytest.mark.parametrize("second", [b"PROXY TCP4 10.9.0.3 10.9.0.25 1 25\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"])
def test_a_second_header_closes_the_connection(network: MaskedNetwork, relay: RunningRelay, second: bytes) -> None:
    first = f"PROXY TCP4 {CLIENTS[3]} 10.9.0.25 4000 25\r\n".encode()
    for listener in ("proxied", "proxied-tls"):
        with network.dial(RELAY, relay.port(listener), "", network.edge) as sock:
            sock.sendall(first + second + b"MAIL FROM:<a@example.com>\r\n")
            heard = b"".join(iter(lambda: received(sock), b""))
        assert b"250" not in heard
        assert (b"554 5.7.1 A second PROXY header" in heard) == (listener == "proxied")
        assert told(relay, "connection.refused", "second PROXY header", listener=listener, client=CLIENTS[3], proxy=EDGE)


def received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(4096)
    except ConnectionError:
        return b""


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\0"])
def test_local_and_unknown_carry_no_right(network: MaskedNetwork, relay: RunningRelay, header: bytes) -> None:
    """From an address of the right's network itself: 10.9.0.2/31 is listed, and the proxy takes 10.9.0.3 for the test."""
    with network.dial(RELAY, relay.port("proxied"), "", network.edge) as sock:
        sock.sendall(header)
        assert sock.recv(500).startswith(b"220 ")
        sock.sendall(b"EHLO proxy.example\r\n")
        assert sock.recv(500).startswith(b"250")
        sock.sendall(b"MAIL FROM:<scanner@example.com>\r\n")
        assert sock.recv(500).startswith(b"550 5.7.1")
    assert told(relay, "sender.refused", "no address of its own", client=EDGE, proxy=EDGE)


@pytest.mark.parametrize("listener", ["mx", "relay", "tls"])
@pytest.mark.parametrize(
    "header", [b"PROXY TCP4 10.9.0.3 10.9.0.25 4000 25\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12)]
)
def test_a_header_where_none_is_expected_is_refused_clearly(
    network: MaskedNetwork, relay: RunningRelay, listener: str, header: bytes
) -> None:
    with network.dial(RELAY, relay.port(listener), CLIENTS[6]) as sock:
        sock.sendall(header + b"EHLO client.example\r\n")
        heard = b"".join(iter(lambda: received(sock), b""))
    assert b"250" not in heard
    if listener != "tls":
        assert b"554 5.7.1 PROXY header from an address that is not listed here" in heard
    assert told(relay, "connection.refused", "PROXY header from an address that is not listed", listener=listener)


@pytest.mark.parametrize(
    ("door", "listener", "sign"),
    [
        (2504, "silent", "the proxy sends no PROXY header"),
        (2505, "unaware", "a proxy sends PROXY headers, and is not listed"),
    ],
)
def test_a_proxy_that_does_not_agree_with_the_configuration_is_found(
    network: MaskedNetwork, relay: RunningRelay, haproxy: HaProxy, door: int, listener: str, sign: str
) -> None:
    for number in range(12):
        with contextlib.suppress(OSError), network.dial(EDGE_OUTSIDE, door, CLIENTS[number % 10]) as sock:
            sock.sendall(b"EHLO client.example\r\n")
            received(sock)
    wait_until(lambda: listener in masks(relay), 5, "the guard to trip")
    assert masks(relay)[listener]["sign"] == sign
    assert any("HAProxy" in str(event) for event in told(relay, "alert.raised", "", listener=listener))
    wait_until(lambda: state(relay, "office") == "suspended", 5, "it believes the proxy's own address, on another listener")
    assert (state(relay, "unaware") == "suspended") == (listener == "unaware")
    assert resume(relay, listener).status == 0


def self_test(network: MaskedNetwork, relay: RunningRelay, *arguments: str) -> tuple[int, list[dict[str, str]]]:
    command = [sys.executable, "-m", "postlatch", "--config", str(relay.config), "check", "--self-test", *arguments, "--json"]
    with network.outside.inside():
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=relay.folder)
    rows: list[dict[str, str]] = json.loads(done.stdout)["self_test"]
    return done.returncode, rows


def test_the_self_test_shows_which_address_arrives(network: MaskedNetwork, relay: RunningRelay, haproxy: HaProxy) -> None:
    before = len(events(relay, "message.accepted"))
    status, [masked, true, closed] = self_test(
        network,
        relay,
        *("--from", f"{RELAY}:{relay.port('relay')}"),
        *("--from", f"{EDGE_OUTSIDE}:2508"),
        *("--from", f"{EDGE_OUTSIDE}:2599"),
    )
    assert status == 1
    assert (masked["verdict"], masked["arrived_as"], masked["listener"]) == ("masked", EDGE, "relay")
    assert masked["sent_from"] in CLIENTS
    assert "no network right, limit or ban can tell them apart" in masked["why"]
    assert (true["verdict"], true["arrived_as"], true["proxy"]) == ("true", true["sent_from"], EDGE)
    assert closed["verdict"] == "failed"
    assert len(events(relay, "message.accepted")) == before, "nothing is sent"
