"""What the documentation says of results and events, held against a relay that runs."""

from __future__ import annotations

import contextlib
import importlib
import json
import smtplib
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from docs_support import ROOT, names, page, rows

from postlatch.app import control, senders
from postlatch.app.answer import Answer
from postlatch.app.backend import LocalBackend
from postlatch.app.check import check
from postlatch.app.initialise import initialise
from postlatch.app.restoring import restore
from postlatch.app.salvaging import salvage
from postlatch.cli.catalogue import CATALOGUE, ROWS
from postlatch.settings.load import load
from postlatch.testing.peers.ports import free_port
from postlatch.testing.running import ACCOUNT, BASE, LOOPBACK_RIGHT, PASSWORD, RunningRelay

sys.path.append(str(ROOT / "script"))
make_docs: Any = importlib.import_module("make_docs")  # a script, not a package

REPORT = """\
Subject: Report Domain: example.com\r
MIME-Version: 1.0\r
Content-Type: text/xml\r
\r
<feedback><report_metadata><org_name>other.example</org_name><report_id>1</report_id>\r
<date_range><begin>1767225600</begin><end>1767311999</end></date_range></report_metadata>\r
<policy_published><domain>example.com</domain><p>none</p></policy_published>\r
<record><row><source_ip>192.0.2.7</source_ip><count>3</count>\r
<policy_evaluated><disposition>none</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>\r
<identifiers><header_from>example.com</header_from></identifiers></record></feedback>\r
"""
MACHINES = ("scanner", "printer", "copier")
COMMANDS = {command.name: command for command in CATALOGUE}
DOCUMENTED = {
    names(row[0])[0]: set(names(row[2])) for row in rows(page("events.md")) if row[0].startswith("`") and "." in row[0]
}


class Ran(NamedTuple):
    """One command that was given, and its answer."""

    name: str
    answer: Answer


class Story(NamedTuple):
    """What happened."""

    commands: list[Ran]
    events: list[dict[str, Any]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """One of everything, on one relay."""
    folder = tmp_path_factory.mktemp("docs")
    ran: list[Ran] = []
    with RunningRelay(folder, BASE + LOOPBACK_RIGHT + _nowhere() + '\n[reports]\ndmarc = "bob@example.com"\n') as relay:
        for name, arguments in _commands(folder):
            if name == "mail":
                _mail(relay)
                continue
            ran.append(Ran(name, control.call(relay.data, name, arguments)))
        ran += _access(relay)
        ran += _queue(relay)
        ran += _senders(relay)
        ran.append(Ran("backup", control.call(relay.data, "backup", {"file": str(folder / "backup.tar")})))
        time.sleep(0.5)  # events that go alone may lag the disk
        tail = Ran("journal.tail", control.call(relay.data, "journal.tail", {"lines": 10_000}))
        ran += [tail, Ran("check", check(relay.config, {}))]
    ran.append(Ran("salvage", salvage(load(relay.config), {"to": str(folder / "salvaged.db")})))
    relay.data.rename(folder / "old")
    ran.append(Ran("restore", restore(load(relay.config), {"file": str(folder / "backup.tar")})))
    ran.append(Ran("init", initialise({"domain": "example.com", "dir": str(folder / "init")})))
    return Story(ran, tail.answer.data["events"])


def _nowhere() -> str:
    """Routes where nobody listens, so that mail stays in the queue; each its own, so that none waits for another."""
    domains = ["elsewhere.example", *(f"{machine}.example" for machine in MACHINES)]
    return "[outbound.routes]\n" + "".join(f'"{domain}" = "smtp://127.0.0.1:{free_port()}"\n' for domain in domains)


def _commands(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    decide = {"listener": "mx", "client": "198.51.100.7", "mail_from": "a@other.example", "rcpt": "b@elsewhere.example"}
    right = {"name": "branch", "networks": ["10.9.0.0/28"], "listeners": ["relay"], "owner": "ops@example.com"}
    yield "account.add", {"login": ACCOUNT, "password": PASSWORD}
    yield "mail", {}
    yield "account.passwd", {"login": ACCOUNT, "password": PASSWORD}
    yield "account.suspend", {"login": ACCOUNT, "why": "a test"}
    yield "account.restore", {"login": ACCOUNT}
    yield "account.list", {}
    yield "right.add", {**right, "expires": "2099-01-01"}
    yield "right.add", {**right, "name": "old", "expires": "2020-01-01"}
    yield "right.renew", {"name": "branch", "expires": "2099-02-01"}
    yield "right.list", {}
    yield "rights", {}
    yield "right.revoke", {"name": "branch"}
    yield "right.revoke", {"name": "branch"}
    yield "decide", decide
    yield "decide", {**decide, "rcpt": "alice@example.com"}
    yield "ban.add", {"network": "203.0.113.0/24", "seconds": 60, "why": "a test"}
    yield "ban.list", {}
    yield "ban.remove", {"network": "203.0.113.0/24"}
    yield "ban.remove", {"network": "203.0.113.0/24"}
    yield "journal.search", {"event": "message.accepted"}
    yield "journal.search", {"account": "nobody"}
    yield "journal.verify", {}
    yield "journal.key", {}
    yield "destination.pause", {"destination": "paused.example", "reason": "a test"}
    yield "destination.pause", {"destination": "paused.example"}
    yield "destination.list", {}
    yield "destination.resume", {"destination": "paused.example"}
    yield "backup", {"file": str(folder / "postlatch.toml")}


def _access(relay: RunningRelay) -> Iterator[Ran]:
    """The commands about who may send, how much, and from where; by the command line's own way to the relay."""
    zone, banned, postfix = relay.folder / "reputation.json", relay.folder / "banned.txt", relay.folder / "postfix"
    zone.write_text('{"7.100.51.198.in-addr.arpa": {"PTR": ["dsl-7.example.net"]}}')
    banned.write_text("203.0.113.9\nspam\n")
    postfix.mkdir()
    (postfix / "main.cf").write_text("smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit\n")
    (postfix / "master.cf").write_text("smtp inet n - n - - smtpd\n")
    lent = {"login": ACCOUNT, "address": "bob@example.com"}
    for name, arguments in (
        ("account.app-password.add", {"login": ACCOUNT, "name": "phone"}),
        ("account.app-password.list", {"login": ACCOUNT}),
        ("account.app-password.revoke", {"login": ACCOUNT, "name": "phone"}),
        ("account.delegate.add", {**lent, "owner": "ops@example.com", "expires": "2099-01-01"}),
        ("account.delegate.list", {}),
        ("account.delegate.revoke", lent),
        ("limits.list", {}),
        ("limits.reset", {"scope": "account", "key": ACCOUNT}),
        ("right.masks", {}),
        ("right.resume", {"listener": "relay", "why": "a test"}),
        ("greylist.list", {}),
        ("greylist.forget", {"group": "192.0.2.0/24"}),
        ("outbound", {"domain": "elsewhere.example"}),
        ("reputation", {"client": "198.51.100.7", "helo": "dsl-7.example.net", "zone": str(zone)}),
        ("ban.import", {"file": str(banned), "why": "a test"}),
        ("ban.export", {"format": "plain"}),
        ("firewall.rules", {}),
        ("firewall.status", {}),
        ("lint", {"kind": "postfix", "path": str(postfix)}),
        ("updates", {}),
        ("audit.self", {}),
    ):
        yield Ran(name, LocalBackend().call(name, arguments, relay.config))
    yield from _audits(relay)


def _audits(relay: RunningRelay) -> Iterator[Ran]:
    """The relay is the server that is audited; and a domain of which no name server tells."""
    backend, before = LocalBackend(), relay.folder / "audit.json"
    server = f"127.0.0.1:{relay.port('mx')}"
    audit = Ran("audit", backend.call("audit", {"targets": [server], "i_own_this": True, "local": ACCOUNT}, relay.config))
    before.write_text(json.dumps(audit.answer.data))
    yield audit
    yield Ran("audit.compare", backend.call("audit.compare", {"before": str(before), "after": str(before)}, relay.config))
    domain = {"domain": "example.com", "resolver": f"127.0.0.1:{free_port()}", "no_connect": True, "time_limit": 2}
    yield Ran("audit.posture", backend.call("audit.posture", domain, relay.config))


def _queue(relay: RunningRelay) -> Iterator[Ran]:
    """Every action on messages that wait. An action that leads to an attempt is a message's last."""
    stories = {
        ACCOUNT: ("list", "show", "hold", "hold", "show", "bounce", "show"),
        "scanner@example.com": ("hold", "delete", "delete"),
        "printer@example.com": ("hold", "release"),
        "copier@example.com": ("retry",),
    }
    for sender, actions in stories.items():
        message = _waiting(relay, sender)
        for action in actions:
            arguments = {} if action == "list" else {"ids": [message]}
            yield Ran(f"queue.{action}", control.call(relay.data, f"queue.{action}", arguments))
    control.call(relay.data, "account.delete", {"login": ACCOUNT})


def _senders(relay: RunningRelay) -> Iterator[Ran]:
    """The commands about senders. None of them needs a DNS here."""
    zone, message = relay.folder / "zone.json", relay.folder / "message.eml"
    zone.write_text('{"example.com": {"TXT": ["v=spf1 mx -all"]}, "other.example": {"TXT": ["v=spf1 -all"]}}')
    message.write_bytes(b"From: a@other.example\r\nDKIM-Signature: v=1; d=other.example; s=sel\r\n\r\ntext\r\n")
    asked = {"client": "198.51.100.7", "helo": "other.example", "mail_from": "a@other.example", "zone": str(zone)}
    yield Ran("spf", senders.spf(relay.config, asked))
    yield Ran("verify", senders.verify(relay.config, {**asked, "file": str(message)}))
    for name, arguments in (
        ("dkim.keygen", {"domain": "example.com"}),
        ("dkim.rotate", {"domain": "example.com"}),
        ("dkim.list", {}),
        ("dns", {"domain": "example.com", "zone": str(zone)}),
    ):
        yield Ran(name, control.call(relay.data, name, arguments))
    deadline = time.monotonic() + 20
    while not (answer := control.call(relay.data, "reports", {})).data.get("reports") and time.monotonic() < deadline:
        time.sleep(0.2)
    yield Ran("reports", answer)


def _waiting(relay: RunningRelay, sender: str) -> str:
    """The message of ``sender``, once its first attempt has failed."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        answer = control.call(relay.data, "queue.list", {"sender": sender, "state": "deferred"})
        if answer.data["recipients"]:
            return str(answer.data["recipients"][0]["message_id"])
        time.sleep(0.1)
    raise TimeoutError(f"the message of {sender} is always under way")


def _mail(relay: RunningRelay) -> None:
    _send(relay, "mx", "friend@elsewhere.example", "alice@example.com")
    _send(relay, "mx", "friend@elsewhere.example", "b@elsewhere.example")
    _send(relay, "mx", "x@example.com", "alice@example.com")
    _send(relay, "mx", "not an address", "alice@example.com")
    _send(relay, "mx", "reporter@other.example", "bob@example.com", text=REPORT)
    for machine in MACHINES:
        _send(relay, "relay", f"{machine}@example.com", f"office@{machine}.example")
    _send(relay, "submission", ACCOUNT, "customer@elsewhere.example", PASSWORD)
    _send(relay, "submission", ACCOUNT, "customer@elsewhere.example", PASSWORD, header="somebody@example.org")
    _send(relay, "submission", ACCOUNT, "customer@elsewhere.example", "wrong")
    with socket.create_connection(("127.0.0.1", relay.port("mx")), timeout=10) as browser:
        browser.recv(200)
        browser.sendall(b"GET / HTTP/1.1\r\n")
        browser.recv(200)


def _send(
    relay: RunningRelay,
    listener: str,
    sender: str,
    recipient: str,
    password: str = "",
    header: str = "",
    text: str = "Subject: a test\r\n\r\nHello\r\n",
) -> None:
    with (
        contextlib.suppress(smtplib.SMTPException),
        smtplib.SMTP("127.0.0.1", relay.port(listener), "client.example", timeout=20) as smtp,
    ):
        if password:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            smtp.starttls(context=context)
            smtp.login(ACCOUNT, password)
        smtp.sendmail(sender, [recipient], f"From: {header or sender}\r\n{text}")


def test_every_command_with_a_result_was_given(story: Story) -> None:
    given = {ran.name for ran in story.commands}
    # The export is the tail without an end, and an account is deleted when nothing else needs it.
    assert {name for name, command in COMMANDS.items() if command.result} - given == {"account.delete"}


def test_results_have_the_fields_that_are_documented(story: Story) -> None:
    depends = {"firewall.status", "lint", "audit", "audit.posture"}  # on its helper; on flags
    for name, answer in story.commands:
        if answer.data and not answer.message and name not in depends:
            missing = set(make_docs.result_fields(COMMANDS[name])) - answer.data.keys()
            assert not missing, name


def test_rows_of_results_have_the_fields_that_are_documented(story: Story) -> None:
    for name in ROWS:
        members = [row for ran in story.commands for row in _members(ran, name)]
        assert members or name in EMPTY, f"no result holds a list of {name}"
        for row in members:
            assert set(make_docs.row_fields(name)) <= row.keys(), name


# Shown by tests of their own: here nothing is wrong, and nobody is a stranger.
EMPTY = {"hosts", "allowed", "entries", "errors", "masks", "greylisted", "self_test", "lists", "signs", "domains"} | {
    *("worse", "better", "new", "gone", "unsure"),  # an audit that is compared with itself
    "addresses",  # nothing was audited yet
    "first",  # of a domain that no name server knows
}


def _members(ran: Ran, name: str) -> list[dict[str, Any]]:
    """The rows of that list; of recipients those of `queue show`, which has all fields."""
    if name in {"messages", "recipients"} and ran.name != "queue.show":
        return []
    if name == "recipients":
        return [row for message in ran.answer.data["messages"] for row in message["recipients"]]
    if name == "vectors":
        return [row for target in ran.answer.data.get("targets", []) for row in target["vectors"]]
    found = ran.answer.data.get(name, [])
    return found if isinstance(found, list) else []  # `salvage` counts under these names


def test_what_is_left_out_of_the_pages_is_really_not_printed(story: Story) -> None:
    for where, field in make_docs.NOT_PRINTED:
        objects = [ran.answer.data for ran in story.commands if ran.name == where]
        objects += [row for ran in story.commands for row in (_members(ran, where) if where in ROWS else [])]
        assert objects
        assert [where for found in objects if field in found] == [], f"{where}: document {field}"


def test_statuses_are_among_those_that_are_documented(story: Story) -> None:
    assert [
        (ran.name, ran.answer.status) for ran in story.commands if ran.answer.status not in make_docs.STATUSES[ran.name]
    ] == []
    assert {ran.answer.status for ran in story.commands} == {0, 1, 2, 3}


def test_events_have_no_field_that_is_not_documented(story: Story) -> None:
    for event in story.events:
        assert event.keys() - {"seq", "at", "event"} <= DOCUMENTED[event["event"]], event["event"]


def test_the_common_events_have_happened_in_this_test(story: Story) -> None:
    met = {event["event"] for event in story.events}
    rare = {
        *(
            "audit.finished",
            "relay.stopped",
            "policy.refused",
            "connection.refused",
            "delivery.bounced",
            "delivery.held",
            "limit.reached",
        ),
        *("alert.raised", "store.failed", "store.recovered", "clock.jumped", "tls.reloaded", "journal.pruned"),
        *("overload.began", "overload.ended", "refusals.aggregated", "store.salvaged", "report.refused"),
        *(
            "delegation.revoked",
            "limit.warned",
            "list.disabled",
            "list.enabled",
            "masking.found",
            "masking.lifted",
            "ban.refused",
            "dkim.replayed",
        ),
        *("directory.failed", "directory.recovered", "directory.lied", "greylist.forgotten"),
        *("dkim.key_seen", "dkim.key_active", "dkim.key_retired", "dkim.key_removed", "dkim.unsigned"),
    }
    assert DOCUMENTED.keys() - met <= rare
