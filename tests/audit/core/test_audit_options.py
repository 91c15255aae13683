"""What is asked of ``postlatch audit``, and whether it may."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from postlatch.app.audit_options import OptionsError, options_of, target
from postlatch.app.auditing import audit, status_of
from postlatch.app.clock import SystemClock
from postlatch.app.owning import shows_token
from postlatch.audit.probes.conversation import Dialer
from postlatch.audit.probes.manners import Manners
from postlatch.audit.probes.place import Place
from postlatch.audit.result import TargetResult
from postlatch.audit.values import AuditVerdict, Evidence
from postlatch.testing.dns import FakeResolver
from postlatch.testing.peers.ports import free_port

WORD = "weekly-audit-2026"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("mx.example.com", "mx.example.com", None),
        ("MX.Example.COM:2525", "mx.example.com", 2525),
        ("192.0.2.1", "192.0.2.1", None),
        ("192.0.2.1:25", "192.0.2.1", 25),
        ("2001:db8::1", "2001:db8::1", None),
        ("[2001:db8::1]:25", "2001:db8::1", 25),
        ("[2001:db8::1]", "2001:db8::1", None),
        ("localhost:2525", "localhost", 2525),
    ],
)
def test_a_target_is_a_host_with_or_without_a_port(text: str, host: str, port: int | None) -> None:
    assert target(text)[1:] == (host, port)


@pytest.mark.parametrize(
    "text", ["", ":25", "mx.example.com:0", "mx.example.com:70000", "mx.example.com:x", "a b", "[mx]:", "\x1b[2J"]
)
def test_what_is_no_target_is_named_with_what_would_be_one(text: str) -> None:
    with pytest.raises(OptionsError) as told:
        target(text)
    assert str(told.value).isprintable()


@pytest.mark.parametrize(
    ("option", "value"), [("local", "alice"), ("canary", "listen"), ("local", "a@b@c"), ("canary", "\x07@x.example")]
)
def test_a_mailbox_must_be_an_address(option: str, value: str) -> None:
    with pytest.raises(OptionsError, match=f"--{option}"):
        options_of({"targets": ["192.0.2.1"], option: value})


def test_somebody_elses_network_is_spared_and_waited_for() -> None:
    options = options_of({"targets": ["192.0.2.1"]})
    assert (options.rate_for(near=False), options.window_for(near=False), options.messages) == (5.0, 60.0, 60)
    assert options.rate_for(near=True) > 5
    assert options_of({"targets": ["192.0.2.1"], "rate": 2, "window": 1}).rate_for(near=True) == 2


def test_without_the_owners_word_nothing_is_asked_and_what_is_wanted_is_said() -> None:
    answer = audit(None, {"targets": [f"127.0.0.1:{free_port()}"], "resolver": f"127.0.0.1:{free_port()}"})
    assert answer.status == 2
    assert "--i-own-this" in answer.message
    assert "--token" in answer.message


def _shows(token: str, *, zone: dict[str, Any] | None = None, banner: bytes = b"220 mx ESMTP\r\n") -> bool:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(banner)
        writer.close()

    async def ask() -> bool:
        server = await asyncio.start_server(greet, "127.0.0.1", 0)  # noqa: TID251 - a server of one line
        place = Place("", "127.0.0.1", server.sockets[0].getsockname()[1])
        dial = Dialer(Manners(SystemClock(), domains=(), rate=100.0), helo="x.example", patience=0.5)
        try:
            return await shows_token(token, "mx.example.com", [place], FakeResolver(zone or {}), dial)
        finally:
            server.close()

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("zone", "banner", "shown"),
    [
        ({}, b"220 mx ESMTP\r\n", False),
        ({"_postlatch-audit.mx.example.com": {"TXT": [WORD]}}, b"220 mx ESMTP\r\n", True),
        ({"_postlatch-audit.mx.example.com": {"TXT": [f"{WORD}x"]}}, b"220 mx ESMTP\r\n", False),
        ({"_postlatch-audit.mx.example.com": {"TXT": "SERVFAIL"}}, b"220 mx ESMTP\r\n", False),
        ({"mx.example.com": {"TXT": [WORD]}}, b"220 mx ESMTP\r\n", False),
        ({}, f"220 mx ESMTP {WORD}\r\n".encode(), True),
        ({}, b"", False),
    ],
)
def test_a_token_in_the_dns_or_the_banner_is_the_owners_word(zone: dict[str, Any], banner: bytes, shown: bool) -> None:
    assert _shows(WORD, zone=zone, banner=banner) is shown


def test_a_short_token_stands_in_banners_by_accident() -> None:
    assert not _shows("ESMTP")


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ("closed", 0),
        ("closed open", 1),
        ("inconclusive spoofable", 1),
        ("closed inconclusive", 3),
        ("accepts", 1),
        ("backscatter", 1),
    ],
)
def test_the_status_is_that_of_the_worst(verdicts: str, status: int) -> None:
    results = [TargetResult("x", AuditVerdict(verdict), Evidence.E0, "-", "", "") for verdict in verdicts.split()]
    random.Random(3).shuffle(results)
    assert status_of(results) == status


def test_the_source_must_be_an_address_of_this_machine() -> None:
    assert options_of({"targets": ["192.0.2.1"], "source": "127.0.0.2"}).source == "127.0.0.2"
    with pytest.raises(OptionsError, match=r"--source: '192\.0\.2\.9' cannot be used"):
        options_of({"targets": ["192.0.2.1"], "source": "192.0.2.9"})


@pytest.mark.soak  # the resolver asks again for ten seconds
def test_a_name_server_that_does_not_answer_is_told_with_the_target() -> None:
    arguments = {"targets": ["mx.example.com"], "i_own_this": True, "resolver": f"127.0.0.1:{free_port()}"}
    answer = audit(None, arguments)
    assert answer.status == 2
    assert answer.message.startswith("mx.example.com: its addresses could not be looked up")


@pytest.mark.parametrize("name", ["a b", "mx.example\r\nDATA", "x" * 256, "m\u00fc.example"])
def test_a_name_to_greet_by_is_one_word(name: str) -> None:
    with pytest.raises(OptionsError, match="--helo"):
        options_of({"targets": ["192.0.2.1"], "helo": name})


def test_a_canary_shares_its_domain_unless_the_domain_is_named() -> None:
    given = {"targets": ["192.0.2.1"], "canary": "me@provider.test"}
    assert options_of(given).shares_domain
    assert not options_of({**given, "canary_domain": "provider.test"}).shares_domain
    assert not options_of({"targets": ["192.0.2.1"], "canary": "listen:127.0.0.1:2525"}).shares_domain
