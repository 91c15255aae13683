"""A message to its own mailbox shows whether a server sees its clients."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from loop_proxy import LoopProxy
from probe_support import LOCAL_DOMAIN, inquiry, run
from tiny_server import Faults, TinyServer

from postlatch.audit.canary.maildir import MaildirReader
from postlatch.audit.canary.values import Arrival, Canary, CanaryError
from postlatch.audit.probes import masking
from postlatch.audit.probes.conversation import Dialer
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.place import Place
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import Severity
from postlatch.testing.running import BASE, LOOPBACK_RIGHT, RunningRelay


class Told:
    """A mailbox in which each message of the server has these Received fields."""

    def __init__(self, server: TinyServer, *received: str) -> None:
        self._server = server
        self._received = received

    async def arrivals(self) -> list[Arrival]:
        return [Arrival(token, received=self._received) for token in self._server.tokens()]


class Unreadable:
    async def arrivals(self) -> list[Arrival]:
        raise CanaryError("the mailbox is on fire")


@pytest.fixture(scope="module")
def server() -> Iterator[TinyServer]:
    with TinyServer(Faults()) as running:
        yield running


def asked(port: int, reader: Canary, source: str = "") -> Inquiry:
    made = inquiry(port, reader=reader)
    if source:
        made.dial = Dialer(made.manners, helo=made.names.helo, source=source, patience=3.0)
    return made


def only(outcomes: list[Outcome]) -> Outcome:
    [outcome] = outcomes
    return outcome


def seen_as(field: str, ours: str, target: str = "127.0.0.1") -> Outcome:
    """What is made of a Received field for a connection from ``ours``."""
    made = inquiry(25)
    begun = Outcome(masking.VECTOR, Place("", target, 25), Stand.UNDECIDED)
    return masking._compare(made, begun, ours, (field,) if field else ())


@pytest.mark.parametrize(
    ("ours", "seen", "target", "stand"),
    [
        ("203.0.113.5", "203.0.113.5", "198.51.100.1", Stand.HELD),
        ("::ffff:203.0.113.5", "203.0.113.5", "198.51.100.1", Stand.HELD),
        ("fe80::1%eth0", "fe80::1", "fe80::2", Stand.HELD),
        ("8.8.4.4", "172.17.0.1", "9.9.9.9", Stand.BROKE),
        ("8.8.4.4", "127.0.0.1", "9.9.9.9", Stand.BROKE),
        ("8.8.4.4", "9.9.9.9", "9.9.9.9", Stand.BROKE),  # its own address: a proxy on the same machine
        ("2001:4860::8", "fd00::1", "2620:fe::9", Stand.BROKE),
        ("192.168.1.7", "192.168.1.1", "9.9.9.9", Stand.BROKE),
        ("192.168.1.7", "8.8.4.4", "9.9.9.9", Stand.HELD),  # our own NAT: what it saw is a client of the internet
        ("8.8.4.4", "8.8.8.8", "9.9.9.9", Stand.UNDECIDED),
        ("127.0.0.1", "172.17.0.1", "127.0.0.1", Stand.UNDECIDED),  # a container's server, from its own machine
        ("127.0.0.2", "127.0.0.1", "127.0.0.1", Stand.BROKE),
    ],
)
def test_another_address_is_a_mask_where_it_cannot_be_a_nat_of_our_own(ours: str, seen: str, target: str, stand: Stand) -> None:
    outcome = seen_as(f"from auditor.canary.test (unknown [{seen}]) by mx", ours, target)
    assert outcome.stand is stand, outcome.why
    assert (outcome.finding is not None) == (stand is Stand.BROKE)


def test_a_mask_that_may_be_our_own_is_told_with_that_doubt() -> None:
    for ours, doubt in (("192.168.1.7", True), ("8.8.4.4", False)):
        finding = seen_as("from x (unknown [10.0.0.1]) by mx", ours, "10.0.0.9").finding
        assert finding is not None
        assert ("Unless this machine is itself behind a NAT" in finding.message) is doubt


def test_what_the_server_does_not_write_decides_nothing() -> None:
    for field, why in (("", "has no Received field"), ("by mx with SMTP", "names no address")):
        outcome = seen_as(field, "8.8.4.4")
        assert outcome.stand is Stand.UNDECIDED
        assert why in outcome.why


def test_the_oldest_field_counts_and_what_stands_on_it_does_not(server: TinyServer) -> None:
    reader = Told(server, "from localhost (localhost [10.1.1.1]) by mx with LMTP", "from a (b [127.0.0.1]) by mx")
    outcome = only(run(masking.ask, asked(server.port, reader)))
    assert outcome.stand is Stand.HELD
    assert outcome.why == "it saw us as 127.0.0.1, which we are"
    assert outcome.token == ""  # the canary is not to wait for it


def test_a_mask_is_worse_where_the_address_that_is_seen_is_trusted() -> None:
    for relays, severity in ((False, Severity.HIGH), (True, Severity.CRITICAL)):
        with TinyServer(Faults(says_yes=relays)) as server:
            reader = Told(server, "from a (b [127.0.0.1]) by mx")
            outcome = only(run(masking.ask, asked(server.port, reader, "127.0.0.9")))
            assert outcome.finding is not None
            assert outcome.finding.severity is severity
            assert len(server.messages) == 1  # that it takes a stranger's recipient is enough


def test_without_a_mailbox_or_its_reader_nothing_is_sent(server: TinyServer) -> None:
    before = len(server.messages)
    for made in (inquiry(server.port), inquiry(server.port, reader=Told(server), mailbox="")):
        outcome = only(run(masking.ask, made))
        assert outcome.stand is Stand.ABSENT
        assert "--local-maildir" in outcome.why
    assert len(server.messages) == before


def test_a_mailbox_that_cannot_be_read_decides_nothing(server: TinyServer) -> None:
    outcome = only(run(masking.ask, asked(server.port, Unreadable())))
    assert outcome.stand is Stand.UNDECIDED
    assert outcome.why == "the mailbox cannot be read: the mailbox is on fire"


def test_a_mailbox_that_is_refused_decides_nothing() -> None:
    with TinyServer(Faults(replies={"RCPT": "450 4.2.1 greylisted"})) as server:
        outcome = only(run(masking.ask, asked(server.port, Told(server))))
    assert outcome.stand is Stand.UNDECIDED
    assert "450 4.2.1 greylisted" in outcome.why


@pytest.mark.real
def test_our_own_relay_sees_its_clients_and_behind_a_proxy_it_does_not(tmp_path: Path) -> None:
    domain = BASE.replace('[domains."example.com"]', f'[domains."{LOCAL_DOMAIN}"]')
    with RunningRelay(tmp_path, domain + LOOPBACK_RIGHT) as relay:
        folder = relay.data / "mail" / LOCAL_DOMAIN / "alice"
        folder.mkdir(parents=True, exist_ok=True)
        reader = MaildirReader(folder, run="pl0a1b2c3d", since=0.0)
        direct = only(run(masking.ask, asked(relay.port("mx"), reader, "127.0.0.9")))
        assert (direct.stand, direct.why) == (Stand.HELD, "it saw us as 127.0.0.9, which we are")
        with contextlib.closing(LoopProxy(relay.port("mx"))) as proxy:
            masked = asked(proxy.port, reader, "127.0.0.9")
            masked.token()  # the first is in the mailbox already
            outcome = only(run(masking.ask, masked))
        assert outcome.stand is Stand.BROKE, outcome.why
        assert outcome.finding is not None
        assert (outcome.finding.id, outcome.finding.severity) == ("audit.masked-source", Severity.HIGH)
        assert "we came from 127.0.0.9, and it saw 127.0.0.1" in outcome.finding.message
        assert outcome.finding.transcript[0].startswith("Received: from auditor.canary.test")
        assert [arrival.bounce for arrival in asyncio.run(reader.arrivals())] == [False, False]
