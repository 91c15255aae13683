"""What keeps the auditor from harming anybody."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.app.auditing import audit
from postlatch.audit.printable import printable
from postlatch.audit.probes.ended import Ended
from postlatch.audit.probes.manners import Manners
from postlatch.testing.clock import FakeClock

OURS = ("canary.example", "target.example", "192.0.2.25")
TARGET = {"targets": ["192.0.2.25:25"], "i_own_this": True, "local": "alice@target.example", "dry_run": True}


def manners(**more: Any) -> Manners:
    return Manners(FakeClock(), domains=OURS, **more)


@pytest.mark.parametrize(
    ("path", "stranger"),
    [
        (b"<canary@canary.example>", None),
        (b"<canary%canary.example@target.example>", None),
        (b"<@target.example:x@sub.canary.example>", None),
        (b"<x@[192.0.2.25]>", None),
        (b"<x@[IPv6:::1]>", None),
        (b"<x@nowhere.invalid>", None),
        (b"<x@gmail.com>", "gmail.com"),
        (b"<x%gmail.com@target.example>", "gmail.com"),
        (b"<gmail.com!x@target.example>", "gmail.com"),
        (b"<@gmail.com:x@canary.example>", "gmail.com"),
        (b'<"x@gmail.com"@target.example>', "gmail.com"),
        (b"<x@[198.51.100.9]>", "198.51.100.9"),
        (b"<x@[IPv6:2001:db8::9]>", "2001:db8::9"),
        (b"<x@target.example.evil.com>", "target.example.evil.com"),
        (b"<x@nottarget.example.com>", None),  # below example.com, which is nobody's (RFC 2606)
        ("<x@gma\u0131l.com>".encode(), "letters outside ASCII"),
    ],
)
def test_a_path_that_names_anybody_else_is_seen(path: bytes, stranger: str | None) -> None:
    assert manners().stranger(path) == stranger


@pytest.mark.parametrize(
    ("path", "other"),
    [
        (b"<me@mail.example>", False),
        (b"<me%mail.example@target.example>", False),
        (b"<mail.example!me>", False),
        (b'<"me@mail.example"@target.example>', False),
        (b"<postmaster@mail.example>", True),
        (b"<some@mail.example>", True),
        (b"<me@nobody.mail.example>", True),
        (b"<mE@MAIL.example>", False),
    ],
)
def test_where_others_have_mailboxes_too_only_ours_gets_mail(path: bytes, other: bool) -> None:
    careful = Manners(FakeClock(), domains=[*OURS, "mail.example"], only="me@mail.example")
    assert (careful.stranger(path) == "another mailbox at mail.example") is other


def test_no_message_goes_to_a_stranger_and_none_is_counted_for_it() -> None:
    careful = manners()
    with pytest.raises(Ended, match=r"gmail\.com"):
        careful.message([b"<x@canary.example>", b"<x@gmail.com>"])
    assert careful.messages == 0


def test_messages_and_connections_end_at_their_most() -> None:
    careful = manners(messages=2, connections=2, rate=1000.0)
    careful.message([b"<x@canary.example>"])
    careful.message([b"<x@canary.example>"])
    with pytest.raises(Ended, match="no more than 2 messages"):
        careful.message([b"<x@canary.example>"])

    async def connect() -> None:
        await careful.connection()
        await careful.connection()
        with pytest.raises(Ended, match="no more than 2 connections"):
            await careful.connection()

    asyncio.run(connect())


def rehearsed(**more: Any) -> list[str]:
    answer = audit(Path("/nonexistent"), {**TARGET, **more})
    assert answer.status == 0, answer
    lines: list[str] = answer.data["lines"]
    return lines


@pytest.mark.parametrize("deep", [False, True])
def test_nothing_that_would_be_said_names_a_third_party_as_recipient(deep: bool) -> None:
    lines = rehearsed(deep=deep)
    said = [line.removeprefix("C: ") for line in lines]
    recipients = [line for line in said if line.upper().startswith("RCPT")]
    assert len(recipients) > 100
    allowed = re.compile(r"(example|test|invalid|localhost|localdomain|example\.(com|net|org))\Z")
    dotted = re.compile(r"[A-Za-z][A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)+")
    names = {name.lower() for line in recipients for name in dotted.findall(line)}
    assert {name for name in names if not allowed.search(name)} <= {"x7f.1"}  # 127.0.0.1, oddly written


def test_a_default_audit_says_beforehand_that_it_sends_few_messages() -> None:
    last = rehearsed()[-1]
    found = re.search(r"(\d+) connections, (\d+) messages, and none was made", last)
    assert found is not None
    assert int(found[2]) <= 60
    assert int(found[1]) <= 400


def test_the_dry_run_takes_a_host_name_and_asks_no_name_server() -> None:
    assert rehearsed(targets=["mx.target.example"])[-1].startswith("# mx.target.example: ")


@given(st.text() | st.binary())
def test_whatever_was_said_becomes_printable_and_short(text: str | bytes) -> None:
    shown = printable(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert len(shown) <= 500


def test_half_a_character_is_shown_too() -> None:
    assert printable("\ud800x") == "\\xed\\xa0\\x80x"
    assert printable("\udcffx") == "\\xffx"


def test_the_canary_of_a_provider_is_the_one_mailbox_that_gets_mail() -> None:
    lines = rehearsed(canary="me@provider.test", local="alice@target.example")
    senders = {line for line in lines if line.startswith("C: MAIL FROM:<") and "@provider.test>" in line}
    assert senders == {"C: MAIL FROM:<me@provider.test>"}
    assert any("RCPT TO:<me@provider.test>" in line for line in lines)
