"""What is mended in a header on its way in: only what may be, only what needs it, and the same octets otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.model.address import parse_address
from postlatch.model.envelope import Role
from postlatch.policy.sending import Submission
from postlatch.policy.snapshot import Account, Listener, LocalDomain, Snapshot
from postlatch.server.fixes import Fixes, Mended, mend
from postlatch.server.headers import MAX_NAMED, read_facts
from postlatch.server.local_rules import LocalNames, LocalUser

OURS = frozenset({"printer@example.com", "scan@example.com"})
ALL = frozenset({"date", "message-id", "from"})
DEVICE = Fixes(ALL, "printer@example.com", lambda address: address.key in OURS)
WHOLE = b"Date: x\r\nMessage-ID: <1@x>\r\n"


def mended(block: bytes, fixes: Fixes = DEVICE) -> Mended:
    return mend(block, fixes, hostname="mx.example.com", message_id=1 << 20, now=1_767_225_600.0)


def test_a_header_that_needs_nothing_is_the_same_octets() -> None:
    block = WHOLE + b"From: Scan <scan@example.com>\r\nSubject: a\r\n b\r\n"
    found = mended(block)
    assert (found.block, found.added, found.done, found.was) == (block, b"", (), "")


def test_date_and_message_id_are_added_where_they_are_missing_and_asked_for() -> None:
    block = b"From: scan@example.com\r\n"
    assert mended(block).added.startswith(b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <")
    assert mended(block).done == ("date", "message-id")
    only = mended(block, DEVICE._replace(adds=frozenset({"date"})))
    assert only.done == ("date",)
    assert b"Message-ID" not in only.added
    assert mended(b"DATE: x\r\n" + block).done == ("message-id",)
    assert mended(block, Fixes()).added == b""


@pytest.mark.parametrize(
    "wrong",
    [
        b"From: x@elsewhere.example\r\n",
        b"From: scan@localhost\r\n",
        b"From: scan\r\n",
        b"From:\r\n",
        b"From: scan@example.com, x@elsewhere.example\r\n",
        b"From: scan@example.com\r\nFROM: scan@example.com\r\n",
        b"From: a <scan@example.com> <x@y.example>\r\n",
        b"From : Folded\r\n\t<x@elsewhere.example>\r\n",
        b"",
    ],
)
def test_a_wrong_from_is_replaced_and_kept_under_another_name(wrong: bytes) -> None:
    found = mended(WHOLE + wrong + b"Subject: s\r\n")
    facts = read_facts(found.block)
    assert facts.from_count == 1
    assert facts.header_from == (parse_address("printer@example.com"),)
    assert found.header.header_from == facts.header_from
    assert found.done == ("from",)
    kept = wrong.replace(b"From", b"X-Original-From").replace(b"FROM", b"X-Original-FROM")
    assert found.block == WHOLE + kept + b"Subject: s\r\nFrom: <printer@example.com>\r\n"


def test_a_wrong_sender_goes_too_and_a_right_one_stays() -> None:
    block = WHOLE + b"From: scan@example.com\r\nSender: x@elsewhere.example\r\n"
    found = mended(block)
    assert found.block == block.replace(b"Sender", b"X-Original-Sender")
    assert (found.done, found.header.named) == (("sender",), ())
    right = WHOLE + b"From: scan@example.com\r\nSender: printer@example.com\r\n"
    assert mended(right).block == right


def test_what_from_said_reaches_the_journal_printable_and_short() -> None:
    found = mended(b"From: \x1b[31m\xff" + b"a" * 2000 + b"\r\n")
    assert found.was.isascii()
    assert found.was.isprintable()
    assert len(found.was) <= 500


@given(st.lists(st.sampled_from([b"From: a@b.example", b"Sender: x", b"X: y", b" folded", b"\tx: y", b"junk", b":", b"From"])))
def test_no_field_is_lost_and_one_from_remains(lines: list[bytes]) -> None:
    block = b"".join(line + b"\r\n" for line in lines)
    found = mended(block)
    assert read_facts(found.block).header_from == (parse_address("printer@example.com"),)
    for line in lines:
        assert line in found.block


# A program of this machine


def names(
    *aliases: str, send_as: frozenset[str] = frozenset({"web@example.com"}), login: str = "web@example.com"
) -> LocalNames:
    domain = LocalDomain("example.com", frozenset({"bob"}), dict.fromkeys(aliases, ()))
    accounts = {login: Account(login, send_as)}
    listeners = {"sendmail": Listener("sendmail", Role.SUBMISSION, local=True)}
    snapshot = Snapshot(1, "mx.example.com", listeners, {"example.com": domain}, {}, (), accounts, submission=Submission())
    return LocalNames(LocalUser(33, "www-data", login), "example.com", snapshot, 0.0)


LOCAL = Fixes(frozenset(), "", lambda _: True, names())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"From: www-data\r\n", b"From: web@example.com\r\n"),
        (b"From: www-data (Cron Daemon)\r\n", b"From: Cron Daemon <web@example.com>\r\n"),
        (b"From: WWW-Data@example.com\r\n", b"From: web@example.com\r\n"),
        (b"From: www-data@mx.example.com\r\n", b"From: web@example.com\r\n"),
        (b"From: boss@example.com\r\n", b"From: boss@example.com\r\n"),
        (b"From: www-data@elsewhere.example\r\n", b"From: www-data@elsewhere.example\r\n"),
        (b"From: other\r\n", b"From: other@example.com\r\n"),
        (b"From: web@example.com\r\nTo: root, Bob <bob>,\r\n x@y.example\r\n",
         b"From: web@example.com\r\nTo: root@example.com,\r\n Bob <bob@example.com>,\r\n x@y.example\r\n"),
        (b"From: web@example.com\r\nTo: undisclosed-recipients:;\r\n",) * 2,
        (b"From: web@example.com\r\nTo: =?utf-8?q?a=2Eb?= <bob>\r\n",
         b"From: web@example.com\r\nTo: =?utf-8?q?a=2Eb?= <bob@example.com>\r\n"),
        (b"To: x@y.example\r\n", b"To: x@y.example\r\nFrom: <web@example.com>\r\n"),
    ],
)  # fmt: skip
def test_addresses_without_a_domain_are_completed(given: bytes, expected: bytes) -> None:
    found = mended(given, LOCAL)
    assert found.block == expected
    assert found.done == (() if given == expected else ("names",))


def test_an_account_that_owns_the_users_address_keeps_it() -> None:
    both = frozenset({"web@example.com", "www-data@example.com"})
    found = mended(b"From: www-data\r\n", LOCAL._replace(names=names(send_as=both)))
    assert found.block == b"From: www-data@example.com\r\n"


def test_a_name_that_is_no_address_sends_as_the_first_that_it_lists() -> None:
    machine = names(login="cron", send_as=frozenset({"@example.com", "<>", "b@example.com", "a@example.com"}))
    own = machine.own()
    assert own is not None
    assert own.text == "a@example.com"
    assert names(login="cron", send_as=frozenset({"@example.com"})).own() is None


def test_fields_that_name_senders_are_read_and_too_many_cannot_be() -> None:
    facts = read_facts(b"Sender: a@b.example\r\nResent-From: c@d.example, e@f.example\r\nResent-Sender: (\r\n")
    assert [(field.name, field.addresses and len(field.addresses)) for field in facts.named] == [
        ("Sender", 1), ("Resent-From", 2), ("Resent-Sender", None),
    ]  # fmt: skip
    many = read_facts(b"Resent-From: a@b.example\r\n" * 1000).named
    assert len(many) == MAX_NAMED + 1
    assert many[-1].addresses is None
