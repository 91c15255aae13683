"""Strangers at the running relay, judged by lists, names and greylisting by way of a real resolver."""

from __future__ import annotations

import base64
import gzip
import smtplib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from strangers_office import (
    CLEAN,
    ERROR,
    FAR,
    FRIEND,
    GREY,
    HERE,
    LISTED,
    MARKED,
    OTHER,
    POSTFIX,
    SLOW,
    Office,
    entry,
    message,
    office,
    send,
    signed,
)

from postlatch.testing.peers.network import NetworkUnavailable
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.peers.postfix import Postfix
from postlatch.testing.running import ACCOUNT, PASSWORD, RunningRelay

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    try:
        with office(tmp_path_factory.mktemp("strangers")) as made:
            wait_until(lambda: "gone.test cannot be used" in made.relay.read_log(), 20, "the tests of the lists")
            yield made
    except NetworkUnavailable as error:
        pytest.skip(str(error))


def events(relay: RunningRelay, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = relay.json("journal", "search", "--event", name)["events"]
    return found


def delivered(relay: RunningRelay, token: str, seconds: float = 20) -> str:
    def found() -> list[Path]:
        return [path for path in relay.maildir("alice@example.com") if f"Subject: {token}" in path.read_text()]

    wait_until(lambda: bool(found()), seconds, token)
    return found()[0].read_text()


def test_a_listed_client_is_refused_by_the_name_of_the_list_and_nothing_that_a_stranger_wrote(running: Office) -> None:
    reply = send(running.relay, LISTED, message("listed"))
    assert reply == "550 5.7.1 mail from this address is not taken: listed by bl.test"
    wait_until(lambda: bool(events(running.relay, "recipient.refused")), 10, "the event")
    [event] = [e for e in events(running.relay, "recipient.refused") if e["rule"] == "reputation"]
    assert "bl.test=10" in event["why"]
    [line] = [line for line in running.relay.read_log().splitlines() if "recipient.refused" in line and LISTED in line]
    assert line.isprintable()


def test_who_is_refused_can_write_to_postmaster(running: Office) -> None:
    assert send(running.relay, LISTED, message("complaint"), to="postmaster@example.com").startswith("250 2.0.0 queued")
    [event] = [e for e in events(running.relay, "message.accepted") if e["client"] == LISTED]
    assert event["score"] == 12, "the list, and a name that no host could have"
    said = next(sign for sign in event["signs"] if sign.startswith("bl.test"))
    assert said.isprintable()
    assert "\\x0d\\x0a250 2.0.0 OK \\x1b[31m" in said


def test_a_client_that_nobody_lists_passes_unmarked_and_its_own_score_is_removed(running: Office) -> None:
    raw = message("clean", "X-Postlatch-Score: -100", "x-postlatch-score : 0\r\n folded")
    assert send(running.relay, CLEAN, raw).startswith("250")
    assert "postlatch-score" not in delivered(running.relay, "clean").lower()


def test_a_score_between_is_marked_in_the_message_and_journalled(running: Office) -> None:
    assert send(running.relay, MARKED, message("marked", "X-Postlatch-Score: 0"), helo="localhost").startswith("250")
    text = delivered(running.relay, "marked")
    assert "X-Postlatch-Score: 5\n\thelo_bare=2;\n\tmark.test=3\n" in text.replace("\r\n", "\n")
    assert text.count("X-Postlatch-Score") == 1
    [event] = [e for e in events(running.relay, "message.accepted") if e["client"] == MARKED]
    assert event["score"] == 5


def test_a_list_that_does_not_answer_weighs_nothing_and_delays_by_its_time_at_most(running: Office) -> None:
    began = time.monotonic()
    assert send(running.relay, SLOW, message("slow")).startswith("250")
    assert 0.9 < time.monotonic() - began < 6
    assert send(running.relay, CLEAN, message("meanwhile")).startswith("250")


def test_an_error_of_a_list_is_no_listing_but_an_alert_and_the_list_is_left_alone(running: Office) -> None:
    assert send(running.relay, ERROR, message("error")).startswith("250")
    wait_until(lambda: "error.test cannot be used" in running.relay.read_log(), 10, "the alert")
    asked = len([q for q in running.dns.questions if q[0].endswith(".error.test")])
    assert send(running.relay, GREY, message("next")).startswith("450")
    assert len([q for q in running.dns.questions if q[0].endswith(".error.test")]) == asked


def test_a_list_that_is_gone_is_never_asked_about_anybody(running: Office) -> None:
    send(running.relay, CLEAN, message("again"))
    about = {question for question, _ in running.dns.questions if question.endswith(".gone.test")}
    assert about <= {entry("127.0.0.2", "gone.test"), entry("127.0.0.1", "gone.test")}


def test_private_addresses_and_the_refused_are_not_asked_about(running: Office) -> None:
    before = len(running.dns.questions)
    assert send(running.relay, CLEAN, message("x"), to="ghost@example.com").startswith("550 5.1.1")
    assert send(running.relay, CLEAN, message("x"), to="a@elsewhere.example").startswith("550 5.7.1 relaying denied")
    assert send(running.relay, HERE, message("inside"), helo="localhost").startswith("250")
    asked = [question for question, _ in running.dns.questions[before:]]
    assert not [q for q in asked if q.endswith((".bl.test", "in-addr.arpa"))]


def test_greylisting_lets_in_who_comes_back_and_knows_a_provider_by_its_domain(running: Office) -> None:
    relay = running.relay
    reply = send(relay, GREY, message("grey"), sender="a1@nospf.test")
    assert reply.startswith("450 4.7.1 greylisted: try again after 20")
    assert send(relay, GREY, message("provider"), sender="b@big.test").startswith("450")
    time.sleep(1.1)
    assert send(relay, GREY, message("grey"), sender="a2@nospf.test").startswith("250"), "numbers in return paths change"
    assert send(relay, FAR, message("provider"), sender="b@big.test").startswith("250"), "from elsewhere in its SPF"
    assert send(relay, FAR, message("stranger"), sender="a1@nospf.test").startswith("450"), "another network"
    assert send(relay, OTHER, message("bounce"), sender="").startswith("450")
    listed = relay.json("greylist", "list")
    groups = {(one["group"], one["sender"], one["state"]) for one in listed["entries"]}
    assert {("spf:big.test", "b@big.test", "passed"), ("203.0.113.0/24", "a#@nospf.test", "waiting")} <= groups
    assert ("198.51.100.0/24", "<>", "waiting") in groups
    assert relay.run("greylist", "forget", "spf:big.test").returncode == 0
    assert relay.run("greylist", "forget", "spf:big.test").returncode == 2
    assert send(relay, FAR, message("forgotten"), sender="b@big.test").startswith("450")


def test_an_answer_to_mail_of_ours_does_not_wait(running: Office) -> None:
    relay = running.relay
    assert send(relay, FRIEND, message("cold"), sender="dave@friend.test").startswith("450")
    relay.add_account()
    with smtplib.SMTP(HERE, relay.port("submission"), timeout=30) as client:
        client.starttls()
        client.login(ACCOUNT, PASSWORD)
        client.sendmail(ACCOUNT, ["carol@friend.test"], f"From: {ACCOUNT}\r\nSubject: hello\r\n\r\nhello\r\n")
    assert send(relay, FRIEND, message("warm"), sender="carol@friend.test").startswith("250")
    assert send(relay, OTHER, message("forged"), sender="carol@friend.test").startswith("450"), "SPF does not pass for this one"


def test_one_signed_message_to_many_is_counted_told_and_deferred_by_case_38(running: Office) -> None:
    relay, raw = running.relay, signed(message("replay", author="bob@good.example"))
    for _ in range(3):
        assert send(relay, CLEAN, raw, sender="bob@good.example").startswith("250")
    reply = send(relay, CLEAN, raw, sender="bob@good.example", to="bob@example.com")
    assert reply.startswith("450 4.7.1 this signed message has come too often; try again after 20")
    [event] = events(relay, "dkim.replayed")
    assert (event["domain"], event["recipients"], event["verdict"]) == ("good.example", 3, "defer")
    other = signed(message("replay of another", author="bob@good.example"))
    assert send(relay, CLEAN, other, sender="bob@good.example").startswith("250")
    assert 'postlatch_dkim_replays_total{result="deferred"} 1.0' in metrics(running)


def metrics(running: Office) -> str:
    with running.network.inside(), closing(HTTPConnection(HERE, running.relay.port("http"), timeout=20)) as connection:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def report(report_id: str, *fields: str, author: str) -> bytes:
    content = f"""<?xml version="1.0"?><feedback><report_metadata><org_name>big.test</org_name><email>a@big.test</email>
<report_id>{report_id}</report_id><date_range><begin>1706832000</begin><end>1706918399</end></date_range></report_metadata>
<policy_published><domain>example.com</domain><p>none</p></policy_published></feedback>"""
    head = [*fields, f"From: {author}", "To: bob@example.com", f"Subject: {report_id}", "Message-ID: <r@test.example>"]
    head += ["Content-Type: application/gzip", "Content-Transfer-Encoding: base64"]
    body = base64.encodebytes(gzip.compress(content.encode())).replace(b"\n", b"\r\n")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def test_a_report_is_believed_as_far_as_the_domain_of_its_author_vouches_for_it(running: Office) -> None:
    relay = running.relay
    claims = "Authentication-Results: relay.example.com;\r\n\tdmarc=pass header.from=big.test policy.dmarc=none"
    sent = {
        "true": (signed(report("true", author="bob@good.example")), "bob@good.example"),
        "nameless": (report("nameless", author="x@plain.test"), "x@plain.test"),
        "forged": (report("forged", claims, author="x@evil.test"), "x@evil.test"),
    }
    for raw, sender in sent.values():
        assert send(relay, CLEAN, raw, sender=sender, to="bob@example.com").startswith("250")
    wait_until(lambda: len(relay.json("reports")["reports"]) == 3, 20, "the reports")
    found = {one["report_id"]: (one["verified"], one["author"]) for one in relay.json("reports")["reports"]}
    assert found == {"true": (True, "good.example"), "nameless": (False, None), "forged": (False, None)}
    assert "Unverified: no domain vouched" in relay.run("reports").stdout
    verified = {event["report_id"]: event["from_domain"] for event in events(relay, "report.received")}
    assert verified == {"true": "good.example", "nameless": "", "forged": ""}


def arrives(relay: RunningRelay, token: str, postfix: Postfix) -> None:
    try:
        delivered(relay, token, 60)
    except TimeoutError:
        pytest.fail(f"{postfix.queue()}\n{postfix.log()}")


def test_a_real_postfix_comes_back_and_gets_through(running: Office, tmp_path: Path) -> None:
    # A queue manager that tries again in the second of the refusal can find the message locked, and then leaves it.
    settings = {
        "relayhost": f"[{HERE}]:{running.relay.port('mx')}",
        "smtp_bind_address": POSTFIX,
        "queue_run_delay": "1s",
        "minimal_backoff_time": "3s",
        "maximal_backoff_time": "3s",
        "smtp_helo_name": "postfix.test",
    }
    with Postfix(tmp_path / "postfix", settings, 2) as postfix:
        with smtplib.SMTP(HERE, postfix.port, timeout=20) as client:
            client.sendmail("newsletter@plain.test", ["alice@example.com"], message("by postfix"))
        arrives(running.relay, "by postfix", postfix)
        assert "450 4.7.1 greylisted" in postfix.log()


@pytest.mark.soak
def test_the_greylist_outlives_the_relay(running: Office) -> None:
    relay = running.relay

    def kept() -> bool:
        with closing(sqlite3.connect(f"file:{relay.data / 'postlatch.db'}?mode=ro", uri=True)) as database:
            return bool(database.execute("SELECT 1 FROM greylist WHERE sender = 'late@nospf.test'").fetchall())

    assert send(relay, OTHER, message("restart"), sender="late@nospf.test").startswith("450")
    wait_until(kept, 10, "a second's worth of the greylist")
    relay.kill()
    relay.start()
    assert send(relay, OTHER, message("restart"), sender="late@nospf.test").startswith("250")
