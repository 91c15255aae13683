"""Parsers of one text: a value or the documented error for anything, in bounded time; no trailing octet is ignored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.accounts.mechanisms import MECHANISMS
from postlatch.accounts.names import parse_login, parse_send_as
from postlatch.accounts.passwords import ScramVerifier
from postlatch.accounts.problem import AccountError
from postlatch.accounts.sasl import Failure, Login, Mechanism, Plain
from postlatch.accounts.scram import Found, ScramSha256
from postlatch.cli.values import _CHECKS
from postlatch.delivery.config import parse_route
from postlatch.limits.limit import parse_limit
from postlatch.model.address import AddressError, parse_address, parse_domain
from postlatch.model.ids import parse_id
from postlatch.settings import values
from postlatch.settings.load import load_text
from postlatch.settings.problem import SettingsError
from postlatch.smtp import commands, xtext
from postlatch.smtp.commands import CommandError
from postlatch.testing.dns import FakeResolver

SLOW = 0.25  # seconds of processor time, for 64 KiB


@dataclass(frozen=True, slots=True)
class Parser:
    """``good`` are texts that it reads; ``forgives`` is what may stand behind them without a change of meaning."""

    name: str
    parse: Callable[[str], object]
    error: type[Exception]
    good: tuple[str, ...]
    forgives: str = ""


def _mail(text: str) -> object:
    return commands.parse_mail(commands.decode_line(text.encode("utf-8", "surrogateescape")), esmtp=True)


def _rcpt(text: str) -> object:
    line = commands.decode_line(text.encode("utf-8", "surrogateescape"))
    return commands.parse_rcpt(line, esmtp=True, smtputf8=True, bare_postmaster=True)


def _response(text: str) -> object:
    return commands.parse_auth_response(text.encode("utf-8", "surrogateescape"))


PARSERS = (
    Parser(
        "address",
        lambda t: parse_address(t, smtputf8=True),
        AddressError,
        ("a@example.com", '"a b"@example.com', "a@[192.0.2.1]"),
    ),
    Parser("domain", parse_domain, AddressError, ("example.com", "b\u00fccher.example")),
    Parser("MAIL", _mail, CommandError, ("FROM:<a@example.com> SIZE=10 RET=FULL", "FROM:<>"), " "),
    Parser("RCPT", _rcpt, CommandError, ("TO:<a@example.com> NOTIFY=NEVER", "TO:<postmaster> ORCPT=rfc822;a+40b"), " "),
    Parser("HELO", commands.parse_hello, CommandError, ("client.example", "[192.0.2.1]")),
    Parser("BDAT", commands.parse_bdat, CommandError, ("5", "86 LAST")),
    Parser("AUTH", commands.parse_auth, CommandError, ("PLAIN", "PLAIN AGEAYg==", "LOGIN =")),
    Parser("response", _response, CommandError, ("YQ==", "")),
    Parser("xtext", xtext.decode, ValueError, ("a+40b", "")),
    Parser("message id", parse_id, ValueError, ("01K3F9Q2ZB7NM",), " \t\r\n\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u2028"),
    Parser("limit", parse_limit, ValueError, ("30/minute",)),
    Parser("limit setting", values.parse_limit, ValueError, ("200/day",)),
    Parser(
        "duration", values.parse_duration, ValueError, ("90 days", "4 hours"), " \t\r\n\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u2028s"
    ),
    Parser("size", values.parse_size, ValueError, ("50 MiB",), " \t\r\n\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u2028"),
    Parser("name", values.parse_name, ValueError, ("printers",)),
    Parser("owner", values.parse_owner, ValueError, ("ops@example.com",)),
    Parser("network", values.parse_network, ValueError, ("10.0.3.0/28", "2001:db8::/64")),
    Parser("socket", values.parse_socket, ValueError, ("0.0.0.0:25", "[::]:25")),
    Parser("host", values.parse_host, ValueError, ("mx.example.com", "192.0.2.1")),
    Parser("local part", values.parse_local_part, ValueError, ("alice", '"john smith"')),
    Parser("pattern", values.parse_sender_pattern, ValueError, ("@example.com", "<>", "a@example.com")),
    Parser("day", values.parse_day, ValueError, ("2027-06-30",)),
    Parser("route", parse_route, ValueError, ("smtp://10.0.0.5:25", "lmtp://[::1]:24")),
    Parser("login", parse_login, AccountError, ("alice@example.com", "printer-1")),
    Parser("send-as", parse_send_as, AccountError, ("@example.com", "<>")),
    *(Parser(f"--{kind.name.lower()}", check, ValueError, ()) for kind, check in _CHECKS.items()),
)
BEHIND = ("\n", "\r\n", "\r", "\0", " ", "\t", "\x0b", "\x1c", "\x85", "\u2028", ";x", "s", "\n.", "\udcff")
PIECES = (
    "@",
    ".",
    "<",
    ">",
    '"',
    "\\",
    "[",
    "]",
    ":",
    "/",
    "=",
    "+",
    "-",
    " ",
    "\n",
    "\r",
    "\0",
    "\u00e9",
    "\u3002",
    "\uff11",
    "\u0660",
)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_nothing_may_stand_behind_a_value_unseen(parser: Parser) -> None:
    for good in parser.good:
        value = parser.parse(good)
        assert parser.parse(good) == value
        for tail in BEHIND:
            if tail in parser.forgives:
                continue
            try:
                other = parser.parse(good + tail)
            except parser.error:
                continue
            assert other != value, (good, tail)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_any_text_is_a_value_or_the_documented_error(parser: Parser) -> None:
    near = st.lists(st.sampled_from([*parser.good, *PIECES]), max_size=8).map("".join)
    texts = st.one_of(
        near, near, st.text(max_size=30), st.binary(max_size=20).map(lambda data: data.decode("utf-8", "surrogateescape"))
    )

    @given(texts)
    @settings(max_examples=80, deadline=None)
    def attempt(text: str) -> None:
        with suppress(parser.error):
            parser.parse(text)

    attempt()


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_a_text_of_64_kib_is_read_or_refused_at_once(parser: Parser) -> None:
    for piece in (*parser.good, *PIECES, "a", "1", "a.", "1.", "\u00e9.", "+40", "~"):
        if not piece:
            continue
        text = (piece * (65_536 // len(piece)))[:65_536]
        began = time.thread_time()
        with suppress(parser.error):
            parser.parse(text)
        assert time.thread_time() - began < SLOW, piece


# Dialogues


def _scram() -> ScramSha256:
    verifier = ScramVerifier(b"s" * 16, 4096, b"k" * 32, b"k" * 32)
    return ScramSha256(lambda _: Found(verifier, known=False), "nonce")


MACHINES: dict[str, Callable[[], Mechanism]] = {"PLAIN": Plain, "LOGIN": Login, "SCRAM-SHA-256": _scram}
RESPONSES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"",
            b"\0a\0b",
            b"a\0b\0c\0d",
            b"n,,n=a,r=x",
            b"y,,n=a,r=x",
            b"p=tls-unique,,n=a,r=x",
            b"n,a=b,n=a,r=x",
            b"n,,n==2C,r=\xff",
        ]
    ),
    st.sampled_from(
        [
            b"c=biws,r=xnonce,p=AAAA",
            b"c=biws,r=xnonce,p=!",
            b"c=,r=,p=",
            b"n,,m=x,n=a,r=x",
            b"n,,n=a",
            b",,,",
            b"c=biws,r=xnonce",
        ]
    ),
)


@pytest.mark.parametrize("mechanism", sorted(MACHINES))
@given(initial=st.none() | RESPONSES, responses=st.lists(RESPONSES, max_size=4))
@settings(max_examples=200, deadline=None)
def test_no_dialogue_of_a_mechanism_raises_or_lets_a_stranger_in(
    mechanism: str, initial: bytes | None, responses: list[bytes]
) -> None:
    machine = MACHINES[mechanism]()
    step = machine.start(initial)
    for response in responses:
        if type(step).__name__ != "Challenge":
            break
        step = machine.respond(response)
    assert type(step).__name__ != "Success"
    if isinstance(step, Failure):
        assert step.reason.isascii()


def test_every_mechanism_that_is_offered_is_tried_here() -> None:
    assert set(MECHANISMS) == set(MACHINES)


# Files


@given(st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_octets_as_a_configuration_are_explained(data: bytes) -> None:
    with pytest.raises(SettingsError) as caught:
        load_text(data.decode("utf-8", "replace"), Path("/etc/postlatch.toml"))
    for problem in caught.value.problems:
        assert str(problem).isprintable()


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["A", "MX", "a.example", "x"]), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
@settings(max_examples=150, deadline=None)
def test_any_json_as_a_zone_file_is_a_zone_or_a_value_error(tmp_path_factory: pytest.TempPathFactory, zone: object) -> None:
    path = tmp_path_factory.mktemp("zone") / "zone.json"
    path.write_text(json.dumps(zone), "utf-8")
    with suppress(ValueError):
        FakeResolver.from_file(path)
