"""The real program with people in OpenLDAP and with application passwords: who gets in, what they may do, and what ends it."""

from __future__ import annotations

import base64
import re
import signal
import smtplib
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from scramp import ScramClient

from postlatch.app import control
from postlatch.app.answer import Answer
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.peers.slapd import BASE, Person, Slapd
from postlatch.testing.running import ACCOUNT, PASSWORD, RunningRelay
from postlatch.testing.running import BASE as CONFIG

CAROL, DAVE, ERIN = "carol@dir.example", "dave@dir.example", "erin@dir.example"
PEOPLE = (
    Person("carol", "c secret", (CAROL, "info@dir.example", "boss@elsewhere.example")),
    Person("dave", "d secret", (DAVE,)),
    Person("erin", "e secret", (ERIN,)),
)
DIRECTORY = """
[directories.office]
domains = ["dir.example"]
kind = "ldap"
url = "{url}"
authorities = "{authorities}"
base = "{base}"
filter = "(mail={{login}})"
send_as = "mail"
timeout = 3
"""
ELSEWHERE = "bob@elsewhere.example"


class Office(NamedTuple):
    relay: RunningRelay
    slapd: Slapd


def ask(relay: RunningRelay, command: str, **arguments: object) -> Answer:
    """A command as the command line sends it to the running relay, without starting a program for each."""
    return control.call(relay.data, command, dict(arguments))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder: Path = tmp_path_factory.mktemp("office")
    with Slapd(folder / "ldap", PEOPLE) as slapd:
        directory = DIRECTORY.format(url=slapd.ldaps, authorities=slapd.authorities, base=BASE)
        with RunningRelay(folder / "relay", CONFIG + directory) as relay:
            assert ask(relay, "account.add", login=ACCOUNT, password=PASSWORD).status == 0
            yield Office(relay, slapd)


@contextmanager
def connected(relay: RunningRelay) -> Iterator[smtplib.SMTP_SSL]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP_SSL("127.0.0.1", relay.port("submissions"), timeout=20, context=context) as smtp:
        smtp.ehlo("client.example")
        yield smtp


def plain(smtp: smtplib.SMTP, login: str, password: str) -> int:
    response = base64.b64encode(f"\0{login}\0{password}".encode()).decode()
    return smtp.docmd("AUTH", f"PLAIN {response}")[0]


def scram(smtp: smtplib.SMTP, login: str, password: str) -> int:
    client = ScramClient(["SCRAM-SHA-256"], login, password)
    code, answer = smtp.docmd("AUTH", "SCRAM-SHA-256 " + base64.b64encode(client.get_client_first().encode()).decode())
    assert code == 334
    client.set_server_first(base64.b64decode(answer).decode())
    code, answer = smtp.docmd(base64.b64encode(client.get_client_final().encode()).decode())
    if code != 334:
        return code
    client.set_server_final(base64.b64decode(answer).decode())
    return smtp.docmd("")[0]


def logged_in(relay: RunningRelay, login: str, password: str) -> int:
    with connected(relay) as smtp:
        return plain(smtp, login, password)


def events(relay: RunningRelay, name: str) -> list[dict[str, object]]:
    found = ask(relay, "journal.search", event=name, limit=100).data["events"]
    return [dict(one.get("fields", one)) for one in found]


def test_people_of_a_directory_log_in_and_send_as_it_says_and_no_more(office: Office) -> None:
    with connected(office.relay) as smtp:
        assert plain(smtp, CAROL, "c secret") == 235
        for sender, code in ((CAROL, 250), ("info@dir.example", 250), ("boss@elsewhere.example", 553), (DAVE, 553), ("", 553)):
            assert smtp.mail(sender)[0] == code, sender
            smtp.rset()
        smtp.sendmail(CAROL, [ELSEWHERE], f"From: {CAROL}\r\nSubject: hi\r\n\r\nx\r\n")
    [row] = [row for row in ask(office.relay, "account.list").data["accounts"] if row["login"] == CAROL]
    assert row["source"] == "office"
    assert row["send_as"] == ["info@dir.example"]
    [right] = [row for row in ask(office.relay, "rights").data["rights"] if row["name"] == CAROL]
    assert right["source"] == "office"


@pytest.mark.parametrize(
    ("login", "password"), [(CAROL, "wrong"), ("nobody@dir.example", "c secret"), ("*@dir.example", "c secret")]
)
def test_what_is_wrong_for_a_directory_is_refused_alike_by_every_mechanism(office: Office, login: str, password: str) -> None:
    with connected(office.relay) as smtp:
        assert plain(smtp, login, password) == 535
        assert scram(smtp, login, password) == 535


def test_scram_with_the_right_password_of_a_directory_fails_as_a_wrong_one(office: Office) -> None:
    with connected(office.relay) as smtp:
        assert scram(smtp, CAROL, "c secret") == 535


def test_what_a_directory_vouches_for_is_not_kept_here(office: Office) -> None:
    logged_in(office.relay, CAROL, "c secret")
    for command, login in (("account.add", ERIN), ("account.passwd", CAROL), ("account.app-password.add", CAROL)):
        answer = ask(office.relay, command, login=login, password="another password", name="printer")
        assert answer.status == 2, command
        assert "the directory office" in answer.message


def test_a_suspension_reaches_a_running_session_and_outlasts_the_directorys_yes(office: Office) -> None:
    with connected(office.relay) as smtp:
        assert plain(smtp, DAVE, "d secret") == 235
        assert smtp.mail(DAVE)[0] == 250
        assert smtp.rcpt(ELSEWHERE)[0] == 250
        assert ask(office.relay, "account.suspend", login=DAVE, why="stolen").status == 0
        assert smtp.data(f"From: {DAVE}\r\n\r\nx\r\n")[0] == 451
        assert smtp.mail(DAVE)[0] == 550
    with connected(office.relay) as smtp:
        assert plain(smtp, DAVE, "d secret") == 235
        assert smtp.mail(DAVE)[0] == 550
    assert ask(office.relay, "account.restore", login=DAVE).status == 0
    with connected(office.relay) as smtp:
        assert plain(smtp, DAVE, "d secret") == 235
        assert smtp.mail(DAVE)[0] == 250


def test_while_the_directory_is_down_nobody_new_gets_in_and_nobody_is_told_wrong(office: Office) -> None:
    assert logged_in(office.relay, CAROL, "c secret") == 235
    office.slapd.stop()
    try:
        assert logged_in(office.relay, ERIN, "e secret") == 454
        assert logged_in(office.relay, CAROL, "wrong") == 454
        assert logged_in(office.relay, CAROL, "c secret") == 235  # verified less than a minute ago
        assert logged_in(office.relay, ACCOUNT, PASSWORD) == 235  # ours need nobody
    finally:
        office.slapd.start()
    assert logged_in(office.relay, ERIN, "e secret") == 235
    wait_until(lambda: bool(events(office.relay, "directory.recovered")), 5, "the journal")
    assert events(office.relay, "directory.failed")[0]["directory"] == "office"


# Application passwords


def make(relay: RunningRelay, name: str, **scope: object) -> str:
    answer = ask(relay, "account.app-password.add", login=ACCOUNT, name=name, **scope)
    assert answer.status == 0, answer.message
    return str(answer.data["password"])


def test_an_application_password_works_with_every_mechanism_and_both_logins(office: Office) -> None:
    secret = make(office.relay, "phone")
    with connected(office.relay) as smtp:
        assert plain(smtp, ACCOUNT, secret) == 235
    with connected(office.relay) as smtp:
        assert plain(smtp, f"{ACCOUNT}/phone", secret.replace("-", "")) == 235
    with connected(office.relay) as smtp:
        assert scram(smtp, f"{ACCOUNT}/phone", secret) == 235
        assert smtp.mail(ACCOUNT)[0] == 250
    with connected(office.relay) as smtp:
        smtp.login(ACCOUNT, secret)  # Python's own choice of a mechanism
    wait_until(lambda: len(_logins(office.relay, "phone")) == 4, 5, "the journal")
    assert secret not in office.relay.read_log()
    wait_until(lambda: _used(office.relay, "phone") is not None, 5, "the use to be noted")


def _logins(relay: RunningRelay, name: str) -> list[dict[str, object]]:
    return [one for one in events(relay, "auth.succeeded") if one.get("credential") == name]


def _used(relay: RunningRelay, name: str) -> object:
    rows = ask(relay, "account.app-password.list", login=ACCOUNT).data["app_passwords"]
    return next(row["last_used"] for row in rows if row["name"] == name)


def test_the_command_line_shows_it_once(office: Office) -> None:
    done = office.relay.run("account", "app-password", "add", ACCOUNT, "shown", "--sender", ACCOUNT)
    assert done.returncode == 0, done.stderr
    found = re.search(r"(?:[a-z2-7]{4}-){6}[a-z2-7]{4}", done.stdout)
    assert found is not None
    assert logged_in(office.relay, ACCOUNT, found[0]) == 235
    assert found[0] not in str(ask(office.relay, "account.app-password.list", login=ACCOUNT).data)


def test_it_is_held_to_its_networks_and_senders(office: Office) -> None:
    away = make(office.relay, "away", networks=["10.9.9.0/28"], expires="2099-12-31")
    with connected(office.relay) as smtp:
        assert plain(smtp, ACCOUNT, away) == 235
        assert smtp.mail(ACCOUNT) == (550, b"5.7.1 this application password may not be used from this address")
    answer = ask(office.relay, "account.app-password.add", login=ACCOUNT, name="wide", senders=["bob@example.com"])
    assert answer.status == 2
    assert "may not send as bob@example.com" in answer.message
    rows = {row["name"]: row for row in ask(office.relay, "rights").data["rights"]}
    assert rows[f"{ACCOUNT}/away"]["networks"] == ["10.9.9.0/28"]
    assert rows[f"{ACCOUNT}/away"]["expires"] == "2100-01-01T00:00:00Z"


def test_revoked_it_ends_in_the_middle_of_a_message_and_for_ever(office: Office) -> None:
    secret = make(office.relay, "lost")
    with connected(office.relay) as smtp:
        assert plain(smtp, ACCOUNT, secret) == 235
        assert smtp.mail(ACCOUNT)[0] == 250
        assert smtp.rcpt(ELSEWHERE)[0] == 250
        started = time.monotonic()
        assert ask(office.relay, "account.app-password.revoke", login=ACCOUNT, name="lost").status == 0
        assert smtp.data(f"From: {ACCOUNT}\r\n\r\nx\r\n")[0] == 451
        assert smtp.mail(ACCOUNT)[0] == 550
        again = make(office.relay, "lost")
        assert smtp.mail(ACCOUNT)[0] == 421  # another secret under the name of the old one
        assert time.monotonic() - started < 20
    assert logged_in(office.relay, ACCOUNT, secret) == 535
    assert logged_in(office.relay, ACCOUNT, again) == 235
    assert logged_in(office.relay, ACCOUNT, PASSWORD) == 235


def test_a_reload_without_the_directory_leaves_its_people_outside(office: Office) -> None:
    """The last of this file: the office has no directory afterwards."""
    assert logged_in(office.relay, CAROL, "c secret") == 235
    text = office.relay.config.read_text()
    office.relay.config.write_text(text.replace('domains = ["dir.example"]', 'domains = ["other.example"]'))
    assert office.relay.process is not None
    office.relay.process.send_signal(signal.SIGHUP)
    wait_until(lambda: logged_in(office.relay, CAROL, "c secret") == 535, 15, "the reload")
