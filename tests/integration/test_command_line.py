"""Every command, beside a running relay and without one: exit statuses, fields of ``--json``, and that it does as it says."""

from __future__ import annotations

import json
import os
import shutil
import smtplib
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from furnished_office import BOB, ELSEWHERE, RIGHT_WORDS, STRANGER, WAYS, Office, running_office
from running_support import (
    client,
    holds,
    logged_in,
    postlatch,
    reply,
    submit,
    untrusting,
)

from postlatch.store.lock import acquire
from postlatch.testing.peers.ports import free_port, wait_until
from postlatch.testing.running import ACCOUNT, RunningRelay


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """A relay of the test's own, running."""
    with running_office(tmp_path) as office:
        yield office


@pytest.fixture(scope="module", params=[WAYS[0], pytest.param(WAYS[1], marks=pytest.mark.soak)])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """One for all tests that only look."""
    with running_office(tmp_path_factory.mktemp("office"), request.param) as office:
        yield office


# The fields of every result. Fields may be added, never renamed (DESIGN section 9): what is here must be there.

_SCOPE = {"listeners", "networks", "senders", "recipients"}
RIGHT = {"name", "reason", "who", "limits", "owner", "expires", "last_used", "source", "state"} | _SCOPE
RECIPIENT = {"id", "message_id", "recipient", "sender", "state", "attempts", "next_attempt", "last_reply", "grant", "size"}
MESSAGE = {"message_id", "sender", "received_at", "size", "account", "client", "listener", "helo", "kind", "recipients"}
ACCOUNT_FIELDS = {"login", "state", "why", "send_as", "created", "changed"}
DECISION = {"verdict", "reply", "rule", "grant", "destination", "why"}
DECIDE = ("decide", "--listener", "mx", "--client", "198.51.100.7", "--mail-from", STRANGER, "--rcpt")

SHAPES: dict[str, tuple[tuple[str, ...], int, set[str], str, set[str]]] = {
    "check": (("check",), 0, {"closed", "counterexamples", "errors"}, "", set()),
    "rights": (("rights",), 0, {"rights"}, "rights", RIGHT),
    "decide": ((*DECIDE, BOB), 0, DECISION, "", set()),
    "account.list": (("account", "list"), 0, {"accounts"}, "accounts", ACCOUNT_FIELDS),
    "right.list": (("right", "list"), 0, {"rights"}, "rights", RIGHT),
    "queue.list": (("queue", "list"), 0, {"recipients", "next"}, "recipients", RECIPIENT),
    "queue.show": (
        ("queue", "show", "WAITING"),
        0,
        {"messages"},
        "messages",
        MESSAGE | {"header_message_id", "header", "history"},
    ),
    "journal.search": (
        ("journal", "search", "--event", "message.accepted"),
        0,
        {"events"},
        "events",
        {"seq", "at", "event", "message"},
    ),
    "journal.verify": (("journal", "verify"), 0, {"ok", "events", "batches", "failures", "findings", "head"}, "", set()),
    "ban.list": (("ban", "list"), 0, {"bans"}, "", set()),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_result_has_its_schema_and_fields(shared: Office, name: str) -> None:
    arguments, status, fields, table, members = SHAPES[name]
    done = shared.relay.run(*(shared.waiting if word == "WAITING" else word for word in arguments), "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (status, "")
    assert found.pop("schema") == f"postlatch.{name}/1"
    assert fields <= set(found)
    if table:
        assert found[table]
        assert all(members <= set(row) for row in found[table])
    plain = shared.relay.run(*(shared.waiting if word == "WAITING" else word for word in arguments))
    assert plain.returncode == status
    assert plain.stdout.strip()
    assert not plain.stdout.startswith("{")


def test_rights_name_everybody_who_can_relay_and_nobody_else(shared: Office) -> None:
    found = {(row["reason"], row["name"]): row for row in shared.relay.json("rights")["rights"]}
    assert set(found) == {
        ("NETWORK", "printer"),
        ("ACCOUNT", ACCOUNT),
        ("ACCOUNT", "scanner"),
        ("RELAY_DOMAIN", "branch.example"),
    }
    printer = found["NETWORK", "printer"]
    assert (printer["networks"], printer["senders"], printer["source"]) == (["127.0.0.9/32"], ["@example.com"], "command")
    assert printer["limits"] == {"messages": ["200/day"]}
    assert (found["ACCOUNT", "scanner"]["state"], found["ACCOUNT", ACCOUNT]["state"]) == ("suspended", "active")
    assert shared.relay.json("right", "list")["rights"] == [printer]


UNUSABLE: dict[str, tuple[tuple[str, ...], str]] = {
    "an unknown listener": (("decide", "--listener", "lost", *DECIDE[3:], BOB), "there is no listener 'lost'; there are: mx"),
    "no IP address": (("decide", "--listener", "mx", "--client", "mars", *DECIDE[5:], BOB), "'mars' is no IP address"),
    "a time that is none": ((*DECIDE, BOB, "--at", "later"), "is no time"),
    "an unknown account": ((*DECIDE, BOB, "--account", "lost@example.com"), "there is no account 'lost@example.com'"),
    "an option left out": (("decide", "--listener", "mx"), "Missing option"),
    "an account twice": (("account", "add", ACCOUNT, "--password-stdin"), f"the account {ACCOUNT} exists already"),
    "a name without an address": (("account", "add", "robot", "--password-stdin"), "say what it may send as"),
    "an account with a bad domain": (("account", "add", "r", "--send-as", "@x..example", "--password-stdin"), "@x..example"),
    "no password": (("account", "add", "dora@example.com"), "--password-stdin"),
    "suspending nobody": (("account", "suspend", "lost@example.com"), "there is no account lost@example.com"),
    "a right twice": (("right", "add", "printer", *RIGHT_WORDS, "--expires", "2099-01-01"), "there is a right printer already"),
    "a right without end": (("right", "add", "more", *RIGHT_WORDS), "--expires"),
    "a right without owner": (("right", "add", "m", *RIGHT_WORDS[:4], "--expires", "2099-01-01"), "--owner"),
    "a day that is none": (("right", "renew", "printer", "--expires", "2099-02-30"), "is no day that exists"),
    "renewing nothing": (("right", "renew", "lost", "--expires", "2099-01-01"), "there is no right lost"),
    "revoking nothing": (("right", "revoke", "lost"), "there is no right lost"),
    "an id that is none": (("queue", "show", "abc"), "a message id has 13 letters and digits"),
    "a state that is none": (("queue", "list", "--state", "lost"), "is not one of 'queued'"),
    "holding everything": (("queue", "hold"), "name IDs, or filter"),
    "releasing everything": (("queue", "release"), "name IDs, or filter"),
    "deleting everything": (("queue", "delete"), "name IDs, or filter"),
    "an event that is none": (("journal", "search", "--event", "lost"), "there is no event 'lost'"),
    "banning ourselves": (("ban", "add", "127.0.0.0/8"), "an address of this machine itself"),
    "banning half the world": (("ban", "add", "128.0.0.0/1"), "is too wide to ban"),
    "a network with host bits": (("ban", "add", "192.0.2.7/24"), "the network is 192.0.2.0/24"),
    "lifting no ban": (("ban", "remove", "192.0.2.7"), "192.0.2.7/32 is not banned"),
    "an unknown command": (("relay-everything",), "No such command"),
    "an unknown flag": (("rights", "--everybody"), "No such option"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_input_is_a_two_and_says_why(shared: Office, name: str) -> None:
    arguments, words = UNUSABLE[name]
    done = shared.relay.run(*arguments, stdin="a password of some length\n" if "--password-stdin" in arguments else "")
    assert done.returncode == 2, done
    assert words in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_bad_news_is_a_one(shared: Office) -> None:
    for arguments in (
        ("queue", "show", "0" * 13),
        ("queue", "release", "--domain", "nothing.example"),
        ("journal", "search", "no such text anywhere"),
        (*DECIDE, ELSEWHERE),
    ):
        assert shared.relay.run(*arguments).returncode == 1, arguments


# Accounts and bans


def test_an_account_lives_from_add_to_delete(office: Office) -> None:
    relay = office.relay

    def says(password: str) -> str:
        with client(relay.port("submission")) as session:
            session.starttls(context=untrusting())
            session.ehlo()
            try:
                return str(session.login("dora@example.com", password)[0])
            except smtplib.SMTPAuthenticationError as error:
                return str(error.smtp_code)

    added = json.loads(
        relay.run("account", "add", "Dora@Example.com", "--password-stdin", "--json", stdin="first secret\n").stdout
    )
    assert set(added) >= ACCOUNT_FIELDS
    assert added["login"] == "dora@example.com"
    assert (says("first secret"), says("another secret")) == ("235", "535")
    assert relay.run("account", "passwd", "dora@example.com", "--password-stdin", stdin="second secret\n").returncode == 0
    assert (says("first secret"), says("second secret")) == ("535", "235")
    assert relay.json("account", "suspend", "dora@example.com", "--why", "holiday")["why"] == "holiday"
    listed = {row["login"]: row["state"] for row in relay.json("account", "list")["accounts"]}
    assert listed == {ACCOUNT: "active", "scanner": "suspended", "dora@example.com": "suspended"}
    assert relay.json("account", "restore", "dora@example.com")["state"] == "active"
    assert relay.run("account", "delete", "dora@example.com").returncode == 0
    assert says("second secret") == "535"
    assert relay.run("account", "delete", "dora@example.com").returncode == 2
    found = [
        row["event"]
        for row in json.loads(relay.run("journal", "search", "--account", "dora@example.com", "--json").stdout)["events"]
    ]
    assert [name for name in found if name.startswith("account.")] == [
        *("account.added", "account.changed", "account.suspended", "account.restored", "account.deleted")
    ]


@pytest.mark.soak
@pytest.mark.parametrize("running", [True, False], ids=["beside a running relay", "without one"])
def test_an_account_that_is_refused_is_not_stored(office: Office, running: bool) -> None:
    relay = office.relay
    if not running:
        relay.stop()
    done = relay.run("account", "add", "robot", "--send-as", "*@example.com", "--password-stdin", stdin="some secret\n")
    assert done.returncode == 1
    assert "a pattern has no wildcard" in done.stderr
    assert "robot" not in [row["login"] for row in relay.json("account", "list")["accounts"]]
    assert relay.run("check").returncode == 0
    relay.stop()
    relay.start()
    assert relay.run("account", "suspend", ACCOUNT).returncode == 0


@pytest.mark.soak
def test_a_banned_client_is_refused_before_it_can_say_anything(office: Office) -> None:
    relay = office.relay

    def greeting(source: str) -> str:
        try:
            client(relay.port("mx"), source=source).close()
        except smtplib.SMTPConnectError as error:
            return reply((error.smtp_code, error.smtp_error if isinstance(error.smtp_error, bytes) else b""))
        return "220"

    assert greeting("127.0.0.20") == "220"
    added = relay.json("ban", "add", "127.0.0.20", "--for", "1 hour", "--why", "a test")
    assert added["network"] == "127.0.0.20/32"
    assert greeting("127.0.0.20").startswith("554 5.7.1 ")
    assert greeting("127.0.0.21") == "220"
    [row] = relay.json("ban", "list")["bans"]
    assert set(row) >= {"network", "until", "why", "since"}
    assert row["why"] == "a test"
    relay.stop()
    relay.start()
    assert greeting("127.0.0.20").startswith("554 5.7.1 ")  # it survives a restart
    assert relay.run("ban", "remove", "127.0.0.20").returncode == 0
    assert greeting("127.0.0.20") == "220"
    assert relay.run("ban", "add", "127.0.0.20", "--for", "2 seconds").returncode == 0
    assert greeting("127.0.0.20").startswith("554 ")
    wait_until(lambda: greeting("127.0.0.20") == "220", 10, "the ban to end")


# Where the configuration and the data are


@pytest.mark.soak
def test_the_configuration_is_found_in_the_documented_places(shared: Office, tmp_path: Path) -> None:
    config = str(shared.relay.config)

    def run(*arguments: str, **environment: str) -> int:
        command = [sys.executable, "-m", "postlatch", *arguments]
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=60, cwd=tmp_path, env=os.environ | environment, text=True
        )
        return done.returncode

    assert run("account", "list", "--config", config) == 0
    assert run("--config", config, "account", "list") == 0
    assert run("account", "--config", config, "list") == 0
    assert run("account", "list", POSTLATCH_CONFIG=config) == 0
    assert run("account", "list", POSTLATCH_CONFIG=config + ".lost") == 2
    assert run("account", "list", "--config", str(tmp_path)) == 2
    shutil.copy(config, tmp_path / "postlatch.toml")  # in the working directory, with no data beside it
    assert run("queue", "list") == 0
    assert run("--help") == 0
    assert run("--version") == 0


def test_a_lock_that_is_held_without_a_relay_that_answers_is_a_two(office: Office) -> None:
    relay = office.relay
    relay.stop()
    with acquire(relay.data):
        done = relay.run("queue", "list")
    assert done.returncode == 2
    assert f"{relay.data} is in use by process {os.getpid()}" in done.stderr
    assert relay.run("queue", "list").returncode == 0


def test_the_control_socket_and_the_data_are_the_owner_s_alone(office: Office) -> None:
    data = office.relay.data
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    for name in ("control.sock", "postlatch.db", "postlatch.lock"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600, name


# init


def with_free_ports(text: str) -> str:
    """The configuration that ``init`` wrote, away from the ports of the real world."""
    for port in (25, 587, 465):
        text = text.replace(f"0.0.0.0:{port}", f"127.0.0.1:{free_port()}").replace(f"[::]:{port}", f"[::1]:{free_port('::1')}")
    return text.replace("127.0.0.1:8025", f"127.0.0.1:{free_port()}")


def test_init_makes_a_relay_that_is_closed_and_serves(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    config = folder / "postlatch.toml"
    made = json.loads(postlatch(config.parent.parent / "none", "init", "example.org", "--dir", str(folder), "--json").stdout)
    assert {"schema", "config", "files", "hostname", "domain", "administrator", "password", "next"} <= set(made)
    assert (made["config"], made["administrator"], len(made["next"])) == (str(config), "admin@example.org", 3)
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    assert postlatch(config, "check").returncode == 0
    again = postlatch(config, "init", "example.org", "--dir", str(folder))
    assert again.returncode == 2
    assert "exists already: init never replaces a file" in again.stderr

    with RunningRelay(folder, with_free_ports(config.read_text("utf-8")), certificate=False) as relay:
        assert relay.run("check").returncode == 0
        assert [row["name"] for row in relay.json("rights")["rights"]] == ["admin@example.org"]
        with closing(logged_in(relay.port("submission"), made["administrator"], made["password"])) as session:
            assert submit(session, "hello", "admin@example.org", "postmaster@example.org").startswith("250")
        with client(relay.port("mx", ipv6=True), host="::1") as session:
            assert submit(session, "stranger", STRANGER, ELSEWHERE).startswith("550 5.7.1 ")
        wait_until(lambda: holds(relay, "admin@example.org", "hello"), 10, "the first mail")


@pytest.mark.parametrize("words", [("exam ple.org",), ("example.org", "--dir", "/proc/nowhere"), ()])
def test_init_that_cannot_be_leaves_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = postlatch(tmp_path / "none", "init", *words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_answers_at_once() -> None:
    """Heavy rooms are loaded where they are used (DESIGN section 7 says 0.2 s; the machine of the tests may be busy)."""

    def seconds(function: Callable[[], object]) -> float:
        began = time.monotonic()
        function()
        return time.monotonic() - began

    def ask() -> None:
        subprocess.run([sys.executable, "-m", "postlatch", "--help"], check=True, capture_output=True, timeout=20)

    assert min(seconds(ask) for _ in range(3)) < 1.0
