"""The policy changes while mail flows: the unsafe is refused and told, the safe holds at once, what is taken away ends."""

from __future__ import annotations

import contextlib
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from reload_support import (
    PRINTER,
    RIGHT_WORDS,
    STRANGER,
    change,
    from_printer,
    refused_reload,
    reload,
    routed,
)
from running_support import (
    SAFE,
    Trickle,
    client,
    events,
    eventually,
    holds,
    in_ci,
    letter,
    logged_in,
    reply,
    rows,
    submit,
    told,
    untrusting,
    with_ports,
)
from unsafe_configurations import RIGHT

from postlatch.testing.peers.ports import wait_until
from postlatch.testing.running import ACCOUNT, PASSWORD, RunningRelay

ALERTED = "alice@example.com"
FRESH = "a fresh password, never used"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RunningRelay]:
    """A running relay; ``elsewhere.example`` has a route that leads nowhere yet."""
    with RunningRelay(tmp_path, routed()) as running:
        yield running


# Reload


UNSAFE_CHANGES = {
    "a right for everybody": (
        ("[session]", RIGHT.replace("NETWORKS", '"0.0.0.0/0"') + "[session]"),
        "rights.printers.networks: the right printers covers 0.0.0.0/0, every IPv4 address: that is an open relay",
    ),
    "an alias abroad": (
        ('recipients = ["alice", "bob"]\n', 'recipients = ["alice", "bob"]\naliases = { x = ["a@freemail.example"] }\n'),
        '"a@freemail.example" is not in a domain of ours: mail is not forwarded abroad',
    ),
    "an expired right": (
        ("[session]", RIGHT.replace("NETWORKS", '"198.51.100.7"').replace("2099", "2020") + "[session]"),
        "the right printers expired at 2020-07-01T00:00:00Z: renew it or remove it",
    ),
    "malformed TOML": (('role = "mx"', "role = mx"), "is not TOML"),
    "a lost key file": (('"key.pem"', '"lost.pem"'), "tls.key: there is no file"),
    "another listener": (
        ('address = "127.0.0.1:', 'address = "127.0.0.2:'),
        "listeners cannot change while the relay runs: restart it",
    ),
    "another data directory": (('data_dir = "data"', 'data_dir = "other"'), "data_dir cannot change while the relay runs"),
    "no TLS any more": (('[tls]\ncertificate = "cert.pem"\nkey = "key.pem"', ""), "passwords are only taken under TLS"),
}


ALWAYS = {"a right for everybody", "malformed TOML", "another listener"}


@pytest.mark.parametrize(
    "edit",
    [pytest.param(edit, id=name, marks=() if name in ALWAYS else pytest.mark.soak) for name, edit in UNSAFE_CHANGES.items()],
)
def test_a_reload_that_is_unsafe_is_told_and_changes_nothing(relay: RunningRelay, edit: tuple[tuple[str, str], str]) -> None:
    (old, new), words = edit
    good = relay.config.read_text("utf-8")
    with Trickle(relay.port("mx")) as load:
        load.flows()
        change(relay, old, new)
        refused_reload(relay)
        load.flows()
        assert from_printer(relay, "stranger").startswith("550 5.7.1 ")
    assert {text[:9] for text in load.replies.values()} == {"250 2.0.0"}
    relay.config.write_text(good, "utf-8")  # so that the commands below find the data directory
    eventually(lambda: len(events(relay, "policy.refused")) == 1, "the refusal in the journal", 5)
    assert words in events(relay, "policy.refused")[0]["why"]
    assert told(relay, "a reload was refused; the old configuration stays in force")
    wait_until(lambda: any(b"reload was refused" in path.read_bytes() for path in relay.maildir(ALERTED)), 10, "the mail of it")


@pytest.mark.parametrize("old", ['role = "mx"', pytest.param('hostname = "relay.example.com"', marks=pytest.mark.soak)])
def test_commands_reach_the_relay_while_its_file_is_broken(relay: RunningRelay, old: str) -> None:
    relay.add_account()
    change(relay, old, "something = else")
    assert relay.run("account", "suspend", ACCOUNT).returncode == 0
    assert relay.json("account", "list")["accounts"][0]["state"] == "suspended"
    assert relay.run("journal", "export").returncode == 0
    assert relay.run("check").returncode == 2
    relay.stop()
    assert relay.run("account", "list").returncode == 2


def test_a_reload_that_is_safe_takes_effect_while_mail_flows(relay: RunningRelay) -> None:
    relay.add_account()
    sink_of_sales = "sales@example.com"
    with Trickle(relay.port("mx")) as load:
        load.flows()
        with client(relay.port("mx")) as session:
            assert submit(session, "early", "x@other.example", sink_of_sales).startswith("550 5.1.1 ")
            change(relay, 'recipients = ["alice", "bob"]\n', 'recipients = ["alice", "bob"]\naliases = { sales = ["alice"] }\n')
            change(relay, "[session]", '[limits.account]\nmessages = ["2/day"]\n\n[session]')
            reload(relay)
            assert submit(session, "sold", "x@other.example", sink_of_sales).startswith("250")  # the same session
        with contextlib.closing(logged_in(relay.port("submission"), ACCOUNT, PASSWORD)) as session:
            answers = [submit(session, f"limited-{number}", ACCOUNT, "bob@example.com") for number in range(3)]
        load.flows()
    assert [text[:9] for text in answers] == ["250 2.0.0", "250 2.0.0", "550 5.7.1"]
    assert "account messages 2/day" in answers[2]
    assert {text[:9] for text in load.replies.values()} == {"250 2.0.0"}
    wait_until(lambda: holds(relay, "alice@example.com", "sold"), 10, "the mail to the alias")
    assert events(relay, "policy.refused") == []


# Rights by command


def test_an_unsafe_right_is_refused_at_once_and_not_stored(relay: RunningRelay) -> None:
    cases = {
        ("--network", "0.0.0.0/0"): "covers 0.0.0.0/0, every IPv4 address: that is an open relay",
        ("--network", "198.51.100.0/23"): "cover 512 IPv4 addresses on listener relay",
        ("--network", "127.0.0.1"): "covers loopback (127.0.0.1/32)",
        ("--network", "64:ff9b::/96"): "inside NAT64",
        ("--network", "198.51.100.7", "--listener", "mx"): "the listener mx of role mx: a right needs role relay",
        ("--network", "198.51.100.7", "--listener", "lost"): "names the listener lost, which does not exist",
    }
    for extra, words in cases.items():
        done = relay.run("right", "add", "bad", "--listener", "relay", "--owner", "ops", "--expires", "2099-01-01", *extra)
        assert done.returncode == 1, (extra, done)
        assert words in done.stderr
    done = relay.run(
        "right", "add", "bad", "--network", "198.51.100.7", "--listener", "relay", "--owner", "o", "--expires", "2020-01-01"
    )
    assert done.returncode == 1
    assert "the right bad expired at 2020-01-02T00:00:00Z" in done.stderr
    assert relay.json("right", "list")["rights"] == []
    assert events(relay, "right.added") == []
    assert from_printer(relay, "never", source="127.0.0.1").startswith("550 5.7.1 ")
    relay.stop()
    assert relay.json("right", "list")["rights"] == []


def test_a_safe_right_holds_at_once_is_renewed_and_ends_when_it_is_revoked(relay: RunningRelay) -> None:
    assert from_printer(relay, "before").startswith("550 5.7.1 ")
    added = relay.json("right", "add", "printer", *RIGHT_WORDS, "--sender", "@example.com", "--expires", "2099-01-01")
    assert added["name"] == "printer"
    assert from_printer(relay, "granted").startswith("250 2.0.0 ")
    assert from_printer(relay, "stranger", source=STRANGER).startswith("550 5.7.1 ")
    with client(relay.port("relay"), source=PRINTER) as session:
        assert submit(session, "scope", "scan@other.example", "x@elsewhere.example").startswith("553 5.7.1 ")
        assert relay.run("right", "renew", "printer", "--expires", "2100-02-03").returncode == 0
        [row] = relay.json("right", "list")["rights"]
        assert (row["expires"], row["source"], row["owner"]) == ("2100-02-04T00:00:00Z", "command", "ops@example.com")
        assert row["last_used"] is not None
        assert relay.run("right", "renew", "printer", "--expires", "2020-02-03").returncode == 1  # that would end it: revoke
        assert relay.run("right", "revoke", "printer").returncode == 0
        assert submit(session, "after", "scan@example.com", "x@elsewhere.example").startswith("550 5.7.1 ")  # the same session
    assert from_printer(relay, "later").startswith("550 5.7.1 ")
    assert relay.run("right", "revoke", "printer").returncode == 2
    assert [len(events(relay, f"right.{what}")) for what in ("added", "renewed", "revoked")] == [1, 1, 1]


def test_a_right_survives_a_restart(relay: RunningRelay) -> None:
    assert relay.run("right", "add", "printer", *RIGHT_WORDS, "--expires", "2099-01-01").returncode == 0
    relay.stop()
    relay.start()
    assert from_printer(relay, "granted").startswith("250 2.0.0 ")


def test_a_right_revoked_within_a_transaction_ends_it_with_a_later(relay: RunningRelay) -> None:
    assert relay.run("right", "add", "printer", *RIGHT_WORDS, "--expires", "2099-01-01").returncode == 0
    with client(relay.port("relay"), source=PRINTER) as session:
        session.mail("scan@example.com")
        assert session.rcpt("x@elsewhere.example")[0] == 250
        assert relay.run("right", "revoke", "printer").returncode == 0
        assert reply(session.data(letter("late"))).startswith("451 4.7.1 ")
    assert rows(relay) == []


_NAMESPACE = 'mount -t sysfs sysfs /sys && ip link set lo up && exec "$@"'
_BRIDGE = "ip link add br0 type bridge && ip address add 10.123.45.1/24 dev br0"


def test_what_is_taken_away_ends_even_where_the_proof_fails_for_another_reason(tmp_path: Path) -> None:
    """The host gets a container bridge inside the network of a right: nothing that widens passes, and what narrows does."""
    inside = ("unshare", "--net", "--mount", "sh", "-c")
    if subprocess.run([*inside, f"mount -t sysfs sysfs /sys && {_BRIDGE}"], check=False, capture_output=True).returncode:
        if in_ci():
            pytest.fail("no network namespace with a bridge can be made here")
        pytest.skip("needs root, unshare and ip")
    relay = RunningRelay(tmp_path, with_ports(SAFE)[0])
    relay.start(prefix=(*inside, _NAMESPACE, "sh"))
    try:
        relay.add_account()
        words = ("--listener", "relay", "--owner", "ops", "--expires", "2099-01-01", "--network")
        for name, network in (("office", "10.123.45.0/28"), ("floor", "10.123.46.0/28")):
            assert relay.run("right", "add", name, *words, network).returncode == 0
        assert relay.process is not None
        subprocess.run(["nsenter", "-t", str(relay.process.pid), "-n", "-m", "sh", "-c", _BRIDGE], check=True)

        refused = relay.run("right", "add", "more", *words, "10.123.47.0/28")
        assert refused.returncode == 1
        assert "the right office covers the container gateway 10.123.45.1 (a bridge of this host)" in refused.stderr
        assert relay.run("account", "suspend", ACCOUNT).returncode == 0
        assert relay.run("right", "revoke", "floor").returncode == 0
        assert {row["name"]: row["state"] for row in relay.json("rights")["rights"]} == {
            "office": "active",
            ACCOUNT: "suspended",
        }
        eventually(lambda: told(relay, "the policy in force is not closed any more: run postlatch check"), "the alert")
        assert relay.run("account", "restore", ACCOUNT).returncode == 1
        assert relay.run("right", "revoke", "office").returncode == 0
        assert relay.run("account", "restore", ACCOUNT).returncode == 0
    finally:
        relay.stop()


# Accounts


def assert_login_fails(relay: RunningRelay, password: str) -> None:
    """AUTH is answered 535."""
    with client(relay.port("submission")) as session:
        session.starttls(context=untrusting())
        session.ehlo()
        with pytest.raises(smtplib.SMTPAuthenticationError, match="535"):
            session.login(ACCOUNT, password)


def test_a_suspended_account_may_log_in_and_not_send(relay: RunningRelay) -> None:
    relay.add_account()
    with contextlib.closing(logged_in(relay.port("submission"), ACCOUNT, PASSWORD)) as session:
        assert submit(session, "good", ACCOUNT, "bob@example.com").startswith("250")
        session.mail(ACCOUNT)
        session.rcpt("x@elsewhere.example")
        assert relay.run("account", "suspend", ACCOUNT, "--why", "test").returncode == 0
        assert reply(session.data(letter("between"))).startswith("451 4.7.1 ")
        assert reply(session.mail(ACCOUNT)).startswith("550 5.7.1 this account is suspended")
        with contextlib.closing(logged_in(relay.port("submission"), ACCOUNT, PASSWORD)) as second:  # AUTH succeeds
            assert reply(second.mail(ACCOUNT)).startswith("550 5.7.1 ")
        assert relay.run("account", "restore", ACCOUNT).returncode == 0
    with contextlib.closing(logged_in(relay.port("submission"), ACCOUNT, PASSWORD)) as session:
        assert submit(session, "again", ACCOUNT, "bob@example.com").startswith("250")
    wait_until(lambda: holds(relay, "bob@example.com", "again"), 10, "the delivery")
    assert not holds(relay, "bob@example.com", "between")
    assert rows(relay) == []


def test_a_new_password_ends_the_sessions_of_the_old_one(relay: RunningRelay) -> None:
    relay.add_account()
    session = logged_in(relay.port("submission"), ACCOUNT, PASSWORD)
    assert submit(session, "first", ACCOUNT, "bob@example.com").startswith("250")
    assert relay.run("account", "passwd", ACCOUNT, "--password-stdin", stdin=FRESH + "\n").returncode == 0
    assert reply(session.mail(ACCOUNT)).startswith("421 4.7.0 ")
    with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
        session.noop()
    assert_login_fails(relay, PASSWORD)
    with contextlib.closing(logged_in(relay.port("submission"), ACCOUNT, FRESH)) as session:
        assert submit(session, "second", ACCOUNT, "bob@example.com").startswith("250")


def test_a_deleted_account_is_out_at_once(relay: RunningRelay) -> None:
    relay.add_account()
    session = logged_in(relay.port("submission"), ACCOUNT, PASSWORD)
    assert relay.run("account", "delete", ACCOUNT).returncode == 0
    assert reply(session.mail(ACCOUNT))[:4] in {"550 ", "421 "}
    session.close()
    assert_login_fails(relay, PASSWORD)
