"""Mail that cannot be delivered is refused in the conversation, or its made-up sender gets a bounce."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from probe_support import LOCAL_DOMAIN, Mailbox, found_places, inquiry, run
from tiny_server import Faults, TinyServer

from postlatch.app.clock import SystemClock
from postlatch.audit.canary.receiver import Receiver
from postlatch.audit.canary.values import Arrival
from postlatch.audit.probes import backscatter
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import Evidence, Severity
from postlatch.testing.peers.ports import free_port
from postlatch.testing.peers.postfix import Postfix


@pytest.fixture(scope="module")
def server() -> Iterator[TinyServer]:
    with TinyServer(Faults(offers=("SIZE 1000",))) as running:
        yield running


def first(outcomes: list[Outcome]) -> Outcome:
    assert outcomes[0].vector == "J03"
    return outcomes[0]


def test_who_refuses_unknown_mailboxes_holds_and_gets_no_message(server: TinyServer) -> None:
    before = len(server.messages)
    outcome = first(run(backscatter.ask, inquiry(server.port, canary=Mailbox())))
    assert (outcome.stand, outcome.evidence, outcome.token) == (Stand.HELD, Evidence.E0, "")
    assert outcome.why == "550 5.7.1 relaying denied"
    assert len(server.messages) == before


def test_who_takes_them_gets_one_message_whose_bounce_will_tell() -> None:
    with TinyServer(Faults(replies={"RCPT": "250 2.1.5 any"})) as server:
        # Its list of recipients stays empty, so DATA is refused: taken and then refused in the conversation.
        outcome = first(run(backscatter.ask, inquiry(server.port, canary=Mailbox())))
    assert (outcome.stand, outcome.evidence) == (Stand.HELD, Evidence.E1)
    assert "the recipient was taken, then 503" in outcome.why


def test_a_server_that_does_not_decide_is_not_judged() -> None:
    with TinyServer(Faults(replies={"RCPT": "451 4.7.1 greylisted, come again"})) as server:
        assert first(run(backscatter.ask, inquiry(server.port, canary=Mailbox()))).stand is Stand.UNDECIDED


def test_without_a_canary_or_a_domain_nothing_is_asked(server: TinyServer) -> None:
    before = len(server.commands)
    nameless = inquiry(server.port, canary=Mailbox())
    nameless.names = nameless.names._replace(local_domain="")
    for made, why in ((inquiry(server.port), "--canary"), (nameless, "--local")):
        outcome = first(asyncio.run(backscatter.ask(made)))
        assert outcome.stand is Stand.ABSENT
        assert why in outcome.why
    assert len(server.commands) == before


def by_how(outcomes: list[Outcome], word: str) -> Outcome:
    [outcome] = [one for one in outcomes if word in one.how]
    return outcome


def test_a_size_above_what_is_offered_must_be_refused_when_it_is_announced(server: TinyServer) -> None:
    outcome = by_how(run(backscatter.ask, inquiry(server.port, canary=Mailbox(), deep=True)), "too big")
    assert outcome.stand is Stand.BROKE
    assert outcome.finding is not None
    assert (outcome.finding.id, outcome.finding.severity) == ("audit.oversize-taken", Severity.LOW)
    assert "SIZE=1001 of 1000" in outcome.finding.message
    with TinyServer(Faults(offers=("SIZE 1000",), replies={"MAIL": "552 5.3.4 too big"})) as strict:
        outcome = by_how(run(backscatter.ask, inquiry(strict.port, canary=Mailbox(), deep=True)), "too big")
    assert (outcome.stand, outcome.why) == (Stand.HELD, "552 5.3.4 too big")


@pytest.mark.parametrize("offer", ["SIZE", "SIZE 0", "SIZE 99999999999999999999999", "SIZE \u00b2", "SIZE -1", "HELP"])
def test_a_server_without_a_largest_size_is_not_asked_for_it(offer: str) -> None:
    with TinyServer(Faults(offers=(offer,))) as server:
        outcomes = run(backscatter.ask, inquiry(server.port, canary=Mailbox(), deep=True))
    assert by_how(outcomes, "too big").stand is Stand.ABSENT
    assert by_how(outcomes, "report of success").stand is Stand.ABSENT


def test_a_report_that_does_not_come_is_no_finding() -> None:
    with TinyServer(Faults(offers=("DSN",))) as server:
        outcome = by_how(run(backscatter.ask, inquiry(server.port, canary=Mailbox(), deep=True, seconds=1.0)), "report")
        assert (outcome.stand, outcome.finding, outcome.token) == (Stand.HELD, None, "")
        assert "no report came" in outcome.why
        assert "RCPT TO:<alice@local.test> NOTIFY=SUCCESS" in server.commands


def postfix_settings(folder: Path, canary: int) -> dict[str, str]:
    """It takes any recipient of its domain, finds out later, and sends its bounces to the canary."""
    return {
        "myhostname": "mx.local.test",
        "mynetworks": "192.0.2.1/32",
        "virtual_mailbox_domains": LOCAL_DOMAIN,
        "virtual_mailbox_base": str(folder),
        "virtual_mailbox_maps": f"inline:{{ {{ alice@{LOCAL_DOMAIN} = alice/ }} }}",
        "virtual_uid_maps": "static:65534",
        "virtual_gid_maps": "static:65534",
        "smtpd_reject_unlisted_recipient": "no",
        "message_size_limit": "100000",
        "relayhost": f"[127.0.0.1]:{canary}",
    }


class Asked:
    """What a whole audit of this family saw, with the canary in the same loop."""

    def __init__(self, port: int, canary: int, enough: Callable[[list[Arrival]], bool]) -> None:
        self.made: Inquiry
        self.outcomes: list[Outcome] = []
        self.arrivals: list[Arrival] = []
        asyncio.run(self._run(port, canary, enough))

    async def _run(self, port: int, canary: int, enough: Callable[[list[Arrival]], bool]) -> None:
        receiver = Receiver(SystemClock(), run="pl0a1b2c3d")
        await receiver.start("127.0.0.1", canary)
        try:
            self.made = await found_places(inquiry(port, canary=receiver, deep=True))
            self.outcomes = await backscatter.ask(self.made)
            self.arrivals = await _until(receiver.arrivals, enough)
        finally:
            await receiver.stop()


async def _until(arrivals: Callable[[], Awaitable[list[Arrival]]], enough: Callable[[list[Arrival]], bool]) -> list[Arrival]:
    for _ in range(500):
        if enough(found := await arrivals()):
            return found
        await asyncio.sleep(0.02)
    raise TimeoutError("the canary did not see enough")


@pytest.mark.real
def test_a_postfix_that_bounces_later_bounces_to_the_canary(tmp_path: Path) -> None:
    canary, mail = free_port(), tmp_path / "mail"
    mail.mkdir()
    mail.chmod(0o777)
    with Postfix(tmp_path / "postfix", postfix_settings(mail, canary)) as peer:
        asked = Asked(peer.port, canary, lambda seen: len(seen) >= 2)
    outcome = first(asked.outcomes)
    assert (outcome.stand, outcome.evidence) == (Stand.TAKEN, Evidence.E3)
    bounce = next(arrival for arrival in asked.arrivals if arrival.token == outcome.token)
    assert (bounce.bounce, bounce.sender, bounce.recipient) == (True, "", "probe@canary.test")
    assert by_how(asked.outcomes, "too big").stand is Stand.HELD
    report = by_how(asked.outcomes, "report of success")
    assert report.stand is Stand.HELD
    assert report.token == ""  # a report that was asked for is no backscatter
    assert report.finding is not None
    assert (report.finding.id, report.finding.severity) == ("audit.success-reports", Severity.INFO)
    assert asked.made.manners.messages == 2
