"""Mail from strangers to the running relay, whose DNS we serve: who really sent it decides what becomes of it."""

from __future__ import annotations

import smtplib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from postlatch.senderauth.dkim.sign import Signer, SigningKey, generate, load_private_key, public_record
from postlatch.testing.peers.name_server import NameServer
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.peers.recorder import RecordingSink
from postlatch.testing.running import BASE, RunningRelay

HERE, ELSEWHERE = "127.0.0.1", "127.0.0.5"
KEY = SigningKey("good.example", "sel", "rsa", load_private_key(generate("rsa")))
CHECKED = """
[authentication]
received_spf = true
timeout = 3

[dmarc]
quarantine = "maildir:data/set-apart"

[[dmarc.overrides]]
name = "crm"
domains = ["excused.example"]
networks = ["127.0.0.0/29"]
disposition = "none"
owner = "ops@example.com"
expires = 2099-12-31
why = "their CRM does not sign"

[relay_domains."branch.example"]
route = "smtp://127.0.0.1:BRANCH"
recipients = ["carol"]
owner = "ops@example.com"
expires = 2099-12-31

[outbound]
resolver = ["127.0.0.1:DNS"]

[outbound.routes]
"good.example" = "smtp://127.0.0.1:GOOD"
"""
ZONE: dict[str, dict[str, Any]] = {
    "example.com": {"TXT": [f'"v=spf1 ip4:{ELSEWHERE} -all"']},
    "good.example": {"TXT": [f'"v=spf1 ip4:{HERE} -all"']},
    "_dmarc.good.example": {"TXT": ['"v=DMARC1; p=reject; rua=mailto:reports@good.example"']},
    "strict.example": {"TXT": ['"v=spf1 -all"']},
    "_dmarc.strict.example": {"TXT": ['"v=DMARC1; p=reject"']},
    "soft.example": {"TXT": ['"v=spf1 -all"']},
    "_dmarc.soft.example": {"TXT": ['"v=DMARC1; p=quarantine"']},
    "excused.example": {"TXT": ['"v=spf1 -all"']},
    "_dmarc.excused.example": {"TXT": ['"v=DMARC1; p=reject"']},
    "plain.example": {"A": ["192.0.2.1"]},
    "broken.example": {"TXT": "SERVFAIL"},
    "_dmarc.broken.example": {"TXT": "SERVFAIL"},
    "silent.example": {"TXT": "TIMEOUT"},
    "_dmarc.silent.example": {"TXT": "TIMEOUT"},
    "sel._domainkey.good.example": {"TXT": [" ".join(f'"{public_record(KEY)[i : i + 255]}"' for i in (0, 255))]},
}


class Checked(NamedTuple):
    """A relay and the DNS that it asks."""

    relay: RunningRelay
    dns: NameServer
    good: RecordingSink


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checked]:
    with NameServer(ZONE) as dns, RecordingSink() as branch, RecordingSink() as good:
        branch.answer = "550 5.1.1 no such user"
        ports = {"DNS": dns.port, "BRANCH": branch.port, "GOOD": good.port}
        config = CHECKED
        for name, port in ports.items():
            config = config.replace(f":{name}", f":{port}")
        with RunningRelay(tmp_path_factory.mktemp("senders"), BASE + config) as relay:
            yield Checked(relay, dns, good)


def message(author: str, token: str, *extra: str, body: str = "text") -> bytes:
    fields = [*extra, f"From: {author}", "To: alice@example.com", f"Subject: {token}", f"Message-ID: <{token}@test.example>"]
    return ("\r\n".join(fields) + f"\r\n\r\n{body}\r\n").encode()


def signed(raw: bytes) -> bytes:
    header, _, body = raw.partition(b"\r\n\r\n")
    signer = Signer([KEY], header + b"\r\n", now=time.time(), valid=86_400)
    signer.feed(body)
    return signer.finish() + raw


def send(relay: RunningRelay, sender: str, raw: bytes, *, source: str = HERE, recipient: str = "alice@example.com") -> str:
    """The last reply."""
    with smtplib.SMTP(
        HERE, relay.port("mx"), local_hostname="client.example", timeout=30, source_address=(source, 0)
    ) as client:
        client.ehlo()
        for answer in (client.mail(sender), client.rcpt(recipient)):
            if answer[0] >= 400:
                return f"{answer[0]} {answer[1].decode()}"
        try:
            code, text = client.data(raw)
        except smtplib.SMTPDataError as error:
            code, text = error.smtp_code, error.smtp_error if isinstance(error.smtp_error, bytes) else error.smtp_error.encode()
        return f"{code} {text.decode()}"


def arrived(relay: RunningRelay, token: str, folder: str = "mail") -> bytes:
    """The message as it lies in alice's mailbox."""
    new = relay.data / folder / "example.com" / "alice" / "new"

    def find() -> bytes | None:
        for path in sorted(new.iterdir()) if new.is_dir() else []:
            raw = path.read_bytes()
            if f"Subject: {token}\r\n".encode() in raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"):
                return raw.replace(b"\r\n", b"\n")
        return None

    wait_until(lambda: find() is not None, 20, f"{token} did not arrive")
    found = find()
    assert found is not None
    return found


def results(raw: bytes) -> str:
    """The Authentication-Results of ours, unfolded: it is above everything that the client sent."""
    header = raw.partition(b"\n\n")[0].replace(b"\n ", b" ").replace(b"\n\t", b" ").decode("utf-8", "replace")
    fields = [line for line in header.split("\n") if line.lower().startswith("authentication-results:")]
    assert header.index(fields[0]) < header.index("Received: "), header
    return " ".join(fields[0].split())


def test_a_signed_message_of_the_right_sender_arrives_with_what_was_found(checked: Checked) -> None:
    reply = send(checked.relay, "bob@good.example", signed(message("Bob <bob@good.example>", "all-good")))
    assert reply.startswith("250 2.0.0"), reply
    raw = arrived(checked.relay, "all-good")
    found = results(raw)
    assert found.startswith("Authentication-Results: relay.example.com;")
    for part in ("spf=pass", "smtp.mailfrom=good.example", "dkim=pass", "header.d=good.example", "dmarc=pass"):
        assert part in found, found
    assert b"\nReceived-SPF: pass" in b"\n" + raw
    assert b"X-Postlatch-Quarantine" not in raw


def test_the_journal_says_who_it_was(checked: Checked) -> None:
    send(checked.relay, "bob@good.example", signed(message("bob@good.example", "journalled")))
    arrived(checked.relay, "journalled")
    events = checked.relay.json("journal", "search", "--event", "message.accepted")["events"]
    event = next(event for event in events if event["header_message_id"] == "<journalled@test.example>")
    assert (event["spf"], event["dmarc"], event["from_domain"]) == ("pass", "pass", "good.example")
    assert event["dkim"] == ["good.example:sel:pass"]
    assert event["body_hash"]


def test_a_forged_author_is_refused_as_the_authors_domain_asks(checked: Checked) -> None:
    reply = send(checked.relay, "x@plain.example", message("The Boss <boss@strict.example>", "forged"))
    assert reply.startswith("550 5.7.1"), reply
    assert "DMARC" in reply


def test_mail_to_be_quarantined_is_accepted_marked_and_set_apart(checked: Checked) -> None:
    reply = send(checked.relay, "x@plain.example", message("boss@soft.example", "set-apart"))
    assert reply.startswith("250 2.0.0"), reply
    raw = arrived(checked.relay, "set-apart", "set-apart")
    assert b"X-Postlatch-Quarantine: dmarc\n" in raw
    assert "dmarc=fail" in results(raw)


def test_an_override_lets_through_what_would_be_refused(checked: Checked) -> None:
    reply = send(checked.relay, "x@excused.example", message("crm@excused.example", "excused"))
    assert reply.startswith("250 2.0.0"), reply
    assert "dmarc=fail" in results(arrived(checked.relay, "excused"))


def test_a_domain_that_says_nothing_is_let_in_and_marked_so(checked: Checked) -> None:
    reply = send(checked.relay, "x@plain.example", message("x@plain.example", "no-policy"))
    assert reply.startswith("250 2.0.0"), reply
    found = results(arrived(checked.relay, "no-policy"))
    assert "spf=none" in found
    assert "dmarc=none" in found


@pytest.mark.parametrize("domain", ["broken.example", "silent.example"])
def test_a_dns_that_does_not_answer_defers_and_never_passes(checked: Checked, domain: str) -> None:
    began = time.monotonic()
    reply = send(checked.relay, f"x@{domain}", message(f"x@{domain}", f"undecided-{domain}"))
    assert reply.startswith("451 4.7.0"), reply
    assert time.monotonic() - began < 15


def test_our_own_domain_as_mail_from_needs_an_spf_pass(checked: Checked) -> None:
    assert send(checked.relay, "bob@example.com", message("bob@example.com", "not-ours")).startswith("550 5.7.1")
    reply = send(checked.relay, "bob@example.com", message("bob@example.com", "really-ours"), source=ELSEWHERE)
    assert reply.startswith("250 2.0.0"), reply
    assert "spf=pass" in results(arrived(checked.relay, "really-ours"))


FORGED = (
    "Authentication-Results: relay.example.com; dmarc=pass header.from=plain.example",
    "AUTHENTICATION-RESULTS : (hello) relay.EXAMPLE.com (x) 1; dkim=pass header.d=bank.example",
    'Authentication-Results:\r\n\t"relay.example.com";\r\n spf=pass smtp.mailfrom=bank.example',
)


def test_while_the_dns_of_our_own_domain_is_silent_its_mail_waits_and_who_leaves_meanwhile_does_no_harm(
    checked: Checked,
) -> None:
    before = checked.dns.zone["example.com"]
    time.sleep(1.1)  # what was known is forgotten
    checked.dns.zone["example.com"] = {"TXT": "TIMEOUT"}
    try:
        for _ in range(3):
            with socket.create_connection((HERE, checked.relay.port("mx")), timeout=10) as leaver:
                leaver.recv(200)
                leaver.sendall(b"EHLO leaver.example\r\n")
                leaver.recv(2000)
                leaver.sendall(b"MAIL FROM:<bob@example.com>\r\n")
        reply = send(checked.relay, "bob@example.com", message("bob@example.com", "waits"), source=ELSEWHERE)
        assert reply.startswith("451 4.3.0"), reply
    finally:
        checked.dns.zone["example.com"] = before
    events = checked.relay.json("journal", "search", "--event", "message.refused")["events"]
    assert [event for event in events if event["rule"] == "internal error"] == []
    assert "Traceback" not in checked.relay.read_log()


def test_decide_asks_spf_as_the_listener_would(checked: Checked) -> None:
    asked = ("--listener", "mx", "--mail-from", "bob@example.com", "--rcpt", "alice@example.com")
    assert checked.relay.json("decide", "--client", ELSEWHERE, *asked)["verdict"] == "accept"
    found = checked.relay.json("decide", "--client", HERE, *asked)
    assert (found["verdict"], found["rule"]) == ("refuse", "own domain")


def test_results_in_our_name_are_taken_out_and_others_stay(checked: Checked) -> None:
    kept = "Authentication-Results: mx.elsewhere.example; spf=fail smtp.mailfrom=plain.example"
    send(checked.relay, "x@plain.example", message("x@plain.example", "claims", *FORGED, kept))
    raw = arrived(checked.relay, "claims")
    assert kept.encode() + b"\n" in raw
    assert raw.lower().count(b"authentication-results") == 2
    assert b"bank.example" not in raw


def test_a_body_in_a_file_gets_its_results_in_front_too(checked: Checked) -> None:
    body = "\r\n".join("x" * 70 for _ in range(20_000))  # 1.4 MB: far beyond what stays in memory
    reply = send(checked.relay, "bob@good.example", signed(message("bob@good.example", "in-a-file", body=body)))
    assert reply.startswith("250 2.0.0"), reply
    raw = arrived(checked.relay, "in-a-file")
    assert "dkim=pass" in results(raw)
    assert raw.endswith(b"x" * 70 + b"\n")
    assert raw.count(b"\n" + b"x" * 70) == 20_000


@pytest.mark.parametrize(
    "author", ["a@good.example, b@strict.example", "boss@strict.example <x@plain.example>, <boss@strict.example", "\xff\xfe"]
)
def test_an_author_who_cannot_be_told_is_set_apart(checked: Checked, author: str) -> None:
    token = f"unclear-{len(author)}"
    raw = message("AUTHOR", token).replace(b"AUTHOR", author.encode("latin-1"))
    assert send(checked.relay, "x@plain.example", raw).startswith("250 2.0.0")
    assert b"X-Postlatch-Quarantine: dmarc\n" in arrived(checked.relay, token, "set-apart")


def test_two_from_fields_are_refused(checked: Checked) -> None:
    raw = message("a@good.example", "two", "From: b@strict.example")
    assert send(checked.relay, "x@plain.example", raw).startswith("550 5.7.1")


def test_a_header_of_100_000_fields_is_refused(checked: Checked) -> None:
    raw = message("x@plain.example", "many", *(f"X: {number}" for number in range(100_000)))
    assert send(checked.relay, "x@plain.example", raw).startswith("552 5.3.4")


def mime(levels: int, parts: int) -> str:
    deep = "".join(f"--b{n}\r\nContent-Type: multipart/mixed; boundary=b{n + 1}\r\n\r\n" for n in range(levels))
    return deep + "".join(f"--b{levels}\r\n\r\n{n}\r\n" for n in range(parts))


@pytest.mark.parametrize(("levels", "parts"), [(10_000, 1), (1, 100_000)])
def test_mime_of_any_shape_costs_what_its_octets_cost(checked: Checked, levels: int, parts: int) -> None:
    token = f"mime-{levels}"
    fields = ("MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b0")
    raw = signed(message("bob@good.example", token, *fields, body=mime(levels, parts)))
    began = time.monotonic()
    assert send(checked.relay, "bob@good.example", raw).startswith("250")
    assert time.monotonic() - began < 10
    assert "dkim=pass" in results(arrived(checked.relay, token))


def state(relay: RunningRelay, recipient: str, sender: str) -> str:
    """Where a recipient of the branch stands in the queue."""
    rows = relay.json("queue", "list", "--recipient", recipient, "--sender", sender)["recipients"]
    return str(rows[0]["state"]) if rows else "gone"


def test_a_failure_is_reported_to_a_stranger_whose_domain_vouches_for_the_sender_and_to_no_other(checked: Checked) -> None:
    relay = checked.relay
    for sender in ("bob@good.example", "x@plain.example"):
        raw = message(sender, f"fails-{sender}")
        assert send(relay, sender, raw, recipient="carol@branch.example").startswith("250")
    wait_until(lambda: len(checked.good.subjects) == 1, 20, "no report came")
    assert "could not be delivered" in checked.good.subjects[0]
    wait_until(lambda: state(relay, "carol@branch.example", "x@plain.example") == "held", 20, "it was not held")
    assert state(relay, "carol@branch.example", "bob@good.example") == "gone"


def test_a_replayed_signature_shows_in_the_journal_by_its_body_hash(checked: Checked) -> None:
    raw = signed(message("bob@good.example", "replay"))
    for recipient in ("alice@example.com", "bob@example.com"):
        assert send(checked.relay, "bob@good.example", raw, recipient=recipient).startswith("250")
    events = checked.relay.json("journal", "search", "--event", "message.accepted")["events"]
    hashes = [event["body_hash"] for event in events if event["header_message_id"] == "<replay@test.example>"]
    assert len(hashes) == 2
    assert len(set(hashes)) == 1


def test_the_checks_are_counted_in_the_metrics(checked: Checked) -> None:
    from urllib.request import urlopen  # noqa: PLC0415

    with urlopen(f"http://127.0.0.1:{checked.relay.port('http')}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert 'postlatch_sender_checks_total{check="spf",result="pass"}' in text
    assert 'postlatch_sender_checks_total{check="dmarc",result="fail"}' in text


def test_verify_explains_what_arrived(checked: Checked, tmp_path: Path) -> None:
    saved = tmp_path / "message.eml"
    saved.write_bytes(signed(message("bob@good.example", "verified")))
    asked = ("--client", HERE, "--helo", "client.example", "--mail-from", "bob@good.example")
    done = checked.relay.run("verify", str(saved), *asked)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "DMARC pass for good.example" in done.stdout
    found = checked.relay.json("verify", str(saved), *asked)
    assert found["schema"] == "postlatch.verify/1"
    assert found["dmarc"]["aligned"] == {"spf": True, "dkim": True}
    assert found["dkim"][0]["result"] == "pass"
    saved.write_bytes(saved.read_bytes().replace(b"Subject: verified", b"Subject: changed!"))
    assert checked.relay.json("verify", str(saved), *asked)["dkim"][0]["result"] == "fail"


def test_spf_says_what_decided(checked: Checked) -> None:
    asked = ("--helo", "client.example", "--mail-from", "bob@good.example")
    found = checked.relay.json("spf", "--client", HERE, *asked)
    assert (found["result"], found["mechanism"], found["domain"]) == ("pass", f"ip4:{HERE}", "good.example")
    done = checked.relay.run("spf", "--client", ELSEWHERE, *asked)
    assert done.returncode == 1
    assert "SPF fail for good.example" in done.stdout
