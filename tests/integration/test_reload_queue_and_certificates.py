"""A change of the policy reaches what is in the queue already, and a renewed certificate the next handshake."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from reload_support import (
    RIGHT_WORDS,
    change,
    from_printer,
    reload,
    routed,
)
from running_support import (
    DOMAIN,
    SAFE,
    client,
    events,
    eventually,
    logged_in,
    queue_id,
    rows,
    states,
    submit,
    told,
    untrusting,
    with_ports,
)

from postlatch.app.certificate import write_self_signed
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.peers.recorder import RecordingSink
from postlatch.testing.running import ACCOUNT, PASSWORD, RunningRelay


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RunningRelay]:
    """A running relay; ``elsewhere.example`` has a route that leads nowhere yet."""
    with RunningRelay(tmp_path, routed()) as running:
        yield running


# What is in the queue already


def retried(relay: RunningRelay, message: str) -> None:
    """Try it now, as soon as no attempt has it."""
    eventually(lambda: relay.json("queue", "retry", message)["changed"] != [], f"{message} to be free for another attempt")


def assert_held(relay: RunningRelay, message: str, words: str) -> None:
    """It is held with its reason, and the operators were told."""
    eventually(lambda: states(relay, message) == ["held"], f"{message} to be held")
    [row] = rows(relay, "--state", "held")
    assert words in row["last_reply"]
    eventually(lambda: told(relay, message), "an alert that names the message")


def test_queued_mail_of_a_revoked_right_is_held(relay: RunningRelay) -> None:
    assert relay.run("right", "add", "printer", *RIGHT_WORDS, "--expires", "2099-01-01").returncode == 0
    message = queue_id(from_printer(relay, "queued"))
    eventually(lambda: states(relay, message) == ["deferred"], "the first attempt")
    with RecordingSink() as sink:
        change(relay, relay.config.read_text().rpartition("smtp://")[2], f'127.0.0.1:{sink.port}"\n')
        reload(relay)  # now it could be delivered
        assert relay.run("right", "revoke", "printer").returncode == 0
        retried(relay, message)
        assert_held(relay, message, "the right printer was revoked")
        assert sink.subjects == []
        assert relay.run("queue", "release", message).returncode == 0
        time.sleep(1)
        assert states(relay, message) == ["held"]  # releasing does not bring the right back
        assert sink.subjects == []


@pytest.mark.soak
def test_queued_mail_of_a_suspended_account_is_held_and_goes_when_it_is_restored(relay: RunningRelay) -> None:
    relay.add_account()
    with contextlib.closing(logged_in(relay.port("submission"), ACCOUNT, PASSWORD)) as session:
        message = queue_id(submit(session, "mine", ACCOUNT, "x@elsewhere.example"))
    eventually(lambda: states(relay, message) == ["deferred"], "the first attempt")
    assert relay.run("account", "suspend", ACCOUNT).returncode == 0
    retried(relay, message)
    assert_held(relay, message, f"the account {ACCOUNT} is suspended")
    with RecordingSink() as sink:
        change(relay, relay.config.read_text().rpartition("smtp://")[2], f'127.0.0.1:{sink.port}"\n')
        reload(relay)
        assert relay.run("account", "restore", ACCOUNT).returncode == 0
        assert relay.run("queue", "release", message).returncode == 0
        wait_until(lambda: sink.subjects == ["mine"], 15, "the released mail")


@pytest.mark.soak
def test_mail_for_a_domain_that_is_no_longer_ours_is_held_and_no_mx_is_asked(tmp_path: Path) -> None:
    late = '[domains."late.example"]\ndeliver = "lmtp://127.0.0.1:1"\nrecipients = ["carol"]\n'
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as dns:
        dns.bind(("127.0.0.1", 0))
        dns.setblocking(False)
        outbound = f'\n[outbound]\nresolver = ["127.0.0.1:{dns.getsockname()[1]}"]\n'
        with RunningRelay(tmp_path, with_ports(SAFE.replace(DOMAIN, DOMAIN + late) + outbound)[0]) as relay:
            with client(relay.port("mx")) as session:
                message = queue_id(submit(session, "carol", "x@other.example", "carol@late.example"))
            eventually(lambda: states(relay, message) == ["deferred"], "the first attempt")
            change(relay, late, "")
            reload(relay)
            retried(relay, message)
            assert_held(relay, message, "late.example")
            with client(relay.port("mx")) as session:
                assert submit(session, "gone", "x@other.example", "carol@late.example").startswith("550 5.7.1 ")
        with pytest.raises(BlockingIOError):
            dns.recv(512)  # nobody asked for anything


# Certificates


def shown(relay: RunningRelay, listener: str) -> bytes:
    """The certificate of a new handshake."""
    if listener == "submission":
        with client(relay.port(listener)) as session:
            session.starttls(context=untrusting())
            assert isinstance(session.sock, ssl.SSLSocket)
            return session.sock.getpeercert(binary_form=True) or b""
    with socket.create_connection(("127.0.0.1", relay.port(listener))) as plain, untrusting().wrap_socket(plain) as secured:
        return secured.getpeercert(binary_form=True) or b""


def renew(folder: Path) -> bytes:
    """Put a new key and certificate in the place of the old ones; the certificate as a handshake shows it."""
    new = folder / "new"
    new.mkdir()
    write_self_signed("relay.example.com", new / "cert.pem", new / "key.pem", time.time())
    for name in ("key.pem", "cert.pem"):
        shutil.move(new / name, folder / name)
    new.rmdir()
    return ssl.PEM_cert_to_DER_cert((folder / "cert.pem").read_text())


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[RunningRelay]:
    """A relay with an implicit TLS listener as well."""
    extra = '[[listeners]]\nname = "submissions"\naddress = "127.0.0.1:0"\nrole = "submissions"\n\n[session]'
    with RunningRelay(tmp_path, with_ports(SAFE.replace("[session]", extra))[0]) as running:
        yield running


def test_a_reload_takes_up_a_renewed_certificate(secured: RunningRelay) -> None:
    session = client(secured.port("submission"))
    session.starttls(context=untrusting())
    old = shown(secured, "submission")
    fresh = renew(secured.folder)
    assert fresh != old
    reload(secured)
    assert [shown(secured, listener) for listener in ("submission", "submissions")] == [fresh, fresh]
    assert session.noop()[0] == 250  # sessions from before go on
    session.close()


@pytest.mark.soak
@pytest.mark.slow
def test_a_renewed_certificate_is_taken_up_by_itself_and_a_broken_one_is_not(secured: RunningRelay) -> None:
    fresh = renew(secured.folder)
    eventually(lambda: shown(secured, "submission") == fresh, "the new certificate", 20)
    assert shown(secured, "submissions") == fresh
    eventually(lambda: len(events(secured, "tls.reloaded")) == 1, "the event")
    (secured.folder / "key.pem").write_text("half a key")
    eventually(lambda: told(secured, "certificate is not usable"), "the alert", 20)
    assert shown(secured, "submission") == fresh
