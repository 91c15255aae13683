"""Odd states, STARTTLS, trust and logins: each fault is found, and nothing is where there is none."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from probe_support import CANARY_DOMAIN, Mailbox, bad, inquiry, run, stands
from tiny_server import Faults, Listening, Session, TinyServer

from postlatch.app.certificate import write_self_signed
from postlatch.audit.probes import authentication, enumeration, neighbours, sessions, starttls, trust
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.neighbours import Neighbour
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import Evidence, Severity

Certificate = tuple[Path, Path]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("certificate")
    write_self_signed("mx.local.test", folder / "cert.pem", folder / "key.pem", time.time())
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def sound(certificate: Certificate) -> Iterator[TinyServer]:
    with TinyServer(Faults(), certificate) as server:
        yield server


def only(outcomes: list[Outcome]) -> Outcome:
    """The one that is bad."""
    [found] = bad(outcomes)
    return found


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_server_holds_in_every_state(sound: TinyServer, *, deep: bool) -> None:
    for family in (sessions, starttls, trust, authentication, enumeration):
        outcomes = run(family.ask, inquiry(sound.port, deep=deep, patience=0.25))
        assert not bad(outcomes)
        assert not [one for one in outcomes if one.stand is Stand.UNDECIDED]
        assert all(one.transcript for one in outcomes if one.stand is Stand.HELD and one.vector != "G10")


def test_a_relay_that_is_open_in_one_state_is_taken_and_proved_there() -> None:
    with TinyServer(Faults(relays_after_legal=True)) as server:
        outcome = only(run(sessions.ask, inquiry(server.port, canary=Mailbox())))
        assert (outcome.vector, outcome.stand, outcome.evidence) == ("E01", Stand.TAKEN, Evidence.E3)
        assert outcome.foreign
        [(recipients, _)] = server.messages
        assert f"probe@{CANARY_DOMAIN}" in recipients
        assert server.tokens() == [outcome.token]


def test_without_a_canary_no_message_is_sent() -> None:
    with TinyServer(Faults(relays_after_legal=True)) as server:
        outcome = only(run(sessions.ask, inquiry(server.port)))
        assert (outcome.stand, outcome.evidence, outcome.token) == (Stand.TAKEN, Evidence.E1, "")
        assert server.messages == []


def test_a_server_that_takes_any_command_believes_nothing_by_that() -> None:
    with TinyServer(Faults(says_yes=True)) as server:
        found = bad([*run(sessions.ask, inquiry(server.port, deep=True)), *run(trust.ask, inquiry(server.port, deep=True))])
        assert found, "it takes recipients of others"
        assert {one.stand for one in found} == {Stand.TAKEN}
        assert all(one.finding is None for one in found)


@pytest.mark.parametrize(("verb", "finding"), [("ETRN", "audit.etrn"), ("TURN", "audit.turn"), ("SEND", "audit.send")])
def test_a_command_that_must_be_gone_is_a_finding(verb: str, finding: str) -> None:
    with TinyServer(Faults(replies={verb: "250 as you like"})) as server:
        outcome = only(run(sessions.ask, inquiry(server.port)))
        assert outcome.stand is Stand.BROKE
        assert outcome.finding is not None
        assert outcome.finding.id == finding
        assert outcome.finding.transcript


class Careless(Session):
    """Takes data for nobody."""

    def data(self) -> None:
        self.recipients = self.recipients or ["nobody"]
        super().data()


def test_a_message_without_a_recipient_is_sent_to_its_end_and_left_to_the_canary() -> None:
    with TinyServer(Faults(), session=Careless) as server:
        outcomes = run(sessions.ask, inquiry(server.port, canary=Mailbox()))
        assert {one.vector for one in outcomes if one.token} == {"E03", "E05", "E11"}
        assert {one.token for one in outcomes if one.token} == set(server.tokens())
        assert not bad(outcomes), "nothing is proved until it arrives"


# STARTTLS


@pytest.mark.parametrize(
    ("faults", "vector", "finding"),
    [
        (Faults(keeps_buffer=True), "E09", "audit.starttls-injection"),
        (Faults(keeps_mail=True), "E10", "audit.starttls-state"),
    ],
)
def test_what_was_said_in_the_clear_and_counts_after_the_handshake_is_found(
    certificate: Certificate, faults: Faults, vector: str, finding: str
) -> None:
    with TinyServer(faults, certificate) as server:
        outcome = only(run(starttls.ask, inquiry(server.port)))
        assert (outcome.vector, outcome.stand) == (vector, Stand.BROKE)
        assert outcome.finding is not None
        assert outcome.finding.id == finding


def test_where_no_starttls_is_offered_it_is_not_asked() -> None:
    with TinyServer(Faults()) as server:
        assert stands(run(starttls.ask, inquiry(server.port))) == {name: {Stand.ABSENT} for name in ("E09", "E10", "E12")}


# Trust


@pytest.mark.parametrize(("verb", "vector"), [("XCLIENT", "I01"), ("XFORWARD", "I02")])
def test_a_claim_that_is_believed_is_a_finding_and_a_relay_if_it_opens_one(verb: str, vector: str) -> None:
    with TinyServer(Faults(believes=(verb,), offers=(verb,))) as server:
        outcome = only(run(trust.ask, inquiry(server.port)))
        assert (outcome.vector, outcome.stand) == (vector, Stand.BROKE)
    with TinyServer(Faults(believes=(verb,), offers=(verb,), trusted_relays=True)) as server:
        outcome = only(run(trust.ask, inquiry(server.port, canary=Mailbox())))
        assert (outcome.vector, outcome.stand, outcome.evidence) == (vector, Stand.TAKEN, Evidence.E3)
        assert outcome.finding is not None
        assert server.tokens() == [outcome.token]


def test_a_claim_that_is_offered_and_refused_is_a_small_finding() -> None:
    with TinyServer(Faults(offers=("XCLIENT",), replies={"XCLIENT": "550 5.7.0 insufficient authorization"})) as server:
        finding = only(run(trust.ask, inquiry(server.port))).finding
        assert finding is not None
        assert (finding.id, finding.severity) == ("audit.xclient-offered", Severity.LOW)


def test_several_ways_to_the_same_fault_are_one_finding() -> None:
    with TinyServer(Faults(believes=("XCLIENT",), offers=("XCLIENT",), trusted_relays=True)) as server:
        findings = [one.finding for one in run(trust.ask, inquiry(server.port, deep=True)) if one.finding is not None]
        assert [finding.id for finding in findings] == ["audit.xclient"]
        assert "XCLIENT HELO=localhost" in findings[0].message


@pytest.mark.parametrize("relays", [False, True])
def test_a_proxy_header_that_is_believed_is_found_in_both_versions(*, relays: bool) -> None:
    with TinyServer(Faults(proxy=True, trusted_relays=relays)) as server:
        # It says nothing to whoever sends no header, so its places are not looked for first.
        outcomes = asyncio.run(trust.ask(inquiry(server.port, canary=Mailbox(), patience=0.3)))
        headers = [one for one in outcomes if one.vector == "I03"]
        assert [one.stand for one in headers] == [Stand.TAKEN if relays else Stand.BROKE] * 2
        assert [one.finding.id for one in headers if one.finding] == ["audit.proxy-header"]


def test_a_server_that_drops_what_comes_too_early_believes_no_header() -> None:
    with TinyServer(Faults(drops_early=True)) as server:
        assert not bad(run(trust.ask, inquiry(server.port)))


# Logins


def test_passwords_in_the_clear_are_a_finding_though_none_is_sent() -> None:
    with TinyServer(Faults(offers=("AUTH PLAIN LOGIN",))) as server:
        outcomes = run(authentication.ask, inquiry(server.port))
        found = {one.vector: one.finding for one in bad(outcomes)}
        assert set(found) == {"G01", "G10"}
        assert (finding := found["G01"]) is not None
        assert finding.severity is Severity.MEDIUM
        assert [line for line in server.commands if line.startswith("AUTH")].count("AUTH PLAIN") == 2


@pytest.mark.parametrize("offer", ["AUTH PLAIN", "AUTH LOGIN", "AUTH CRAM-MD5", "AUTH=LOGIN"])
def test_any_password_is_found_with_one_login_of_nobody(certificate: Certificate, offer: str) -> None:
    with TinyServer(Faults(offers=(offer,), passwords="any", trusted_relays=True), certificate) as server:
        asked = inquiry(server.port, canary=Mailbox())
        found = next(one for one in run(authentication.ask, asked) if one.vector == "G05")
        assert (found.stand, found.evidence) == (Stand.TAKEN, Evidence.E3)
        assert found.finding is not None
        assert (found.finding.id, found.finding.severity) == ("audit.auth-any-password", Severity.CRITICAL)


def test_any_password_that_opens_no_relay_is_one_step_less() -> None:
    with TinyServer(Faults(offers=("AUTH PLAIN",), passwords="any")) as server:
        found = next(one for one in run(authentication.ask, inquiry(server.port)) if one.vector == "G05")
        assert found.stand is Stand.BROKE
        assert found.finding is not None
        assert found.finding.severity is Severity.HIGH


@pytest.mark.parametrize("deep", [False, True])
def test_one_random_login_is_tried_and_no_name_that_may_exist(*, deep: bool) -> None:
    with TinyServer(Faults(offers=("AUTH PLAIN LOGIN CRAM-MD5 ANONYMOUS EXTERNAL",))) as server:
        run(authentication.ask, inquiry(server.port, deep=deep))
        tried = [line for line in server.commands if line.startswith("AUTH PLAIN ") and len(line) > 20]
        assert len(tried) == 1
        assert not any(line.startswith(("AUTH LOGIN ", "AUTH CRAM-MD5 ")) for line in server.commands)


def test_an_anonymous_login_is_found() -> None:
    with TinyServer(Faults(offers=("AUTH PLAIN ANONYMOUS",), passwords="anonymous", trusted_relays=True)) as server:
        found = {one.vector: one for one in bad(run(authentication.ask, inquiry(server.port)))}
        assert found["G04"].stand is Stand.TAKEN
        assert (finding := found["G04"].finding) is not None
        assert finding.id == "audit.auth-anonymous"


def test_a_login_that_was_broken_off_must_not_count() -> None:
    with TinyServer(Faults(offers=("AUTH PLAIN",), relays_after_cancel=True, trusted_relays=True)) as server:
        assert {one.vector for one in bad(run(authentication.ask, inquiry(server.port)))} >= {"G07"}


# VRFY and EXPN


class Telling(Session):
    """Knows alice, and postmaster as everybody does."""

    def command(self, line: str) -> bool:
        if line.startswith("VRFY"):
            self.say("252 2.0.0 ok" if "alice" in line or "postmaster" in line else "550 5.1.1 unknown")
            return True
        return super().command(line)


def test_answers_that_tell_mailboxes_apart_are_found_and_those_of_postmaster_are_not() -> None:
    with TinyServer(Faults(replies={"VRFY": "252 2.0.0 perhaps", "EXPN": "502 5.5.1 no"})) as server:
        assert not bad(run(enumeration.ask, inquiry(server.port)))
    with TinyServer(Faults(), session=Telling) as server:
        outcome = only(run(enumeration.ask, inquiry(server.port)))
        assert not bad(run(enumeration.ask, inquiry(server.port, mailbox=""))), "root is unknown, postmaster is not asked"
    assert (outcome.how, outcome.stand) == ("VRFY", Stand.BROKE)
    assert outcome.finding is not None
    assert outcome.finding.id == "audit.vrfy"


# Other ports


def netstring_server(answer: bytes, heard: list[bytes]) -> Listening:
    def serve(sock: socket.socket) -> None:
        heard.append(sock.recv(65536))
        sock.sendall(b"%d:%b," % (len(answer), answer))

    return Listening(serve)


@pytest.mark.parametrize("what", ["QMTP", "QMQP"])
@pytest.mark.parametrize(("answer", "stand"), [(b"Kok 1", Stand.TAKEN), (b"Dno, not allowed", Stand.HELD)])
def test_a_queue_of_qmail_that_takes_a_strangers_message_is_found(what: str, answer: bytes, stand: Stand) -> None:
    heard: list[bytes] = []
    listening = netstring_server(answer, heard)

    async def ask(asked: Inquiry) -> list[Outcome]:
        return await neighbours.ask_at(asked, [Neighbour(listening.port, what, inner=False)], [])

    with TinyServer(Faults()) as server:
        [outcome] = run(ask, inquiry(server.port, canary=Mailbox()))
    listening.close()
    assert outcome.stand is stand
    assert bool(outcome.token) is (stand is Stand.TAKEN)
    assert f"probe@{CANARY_DOMAIN}".encode() in heard[0]
    length, _, rest = heard[0].partition(b":")
    assert rest[int(length) : int(length) + 1] == b","


@pytest.mark.parametrize("lmtp", [False, True])
def test_a_way_back_from_a_filter_that_relays_is_taken_and_its_being_there_a_finding(*, lmtp: bool) -> None:
    with TinyServer(Faults()) as server, TinyServer(Faults(says_yes=True, lmtp=lmtp)) as inner:

        async def ask(asked: Inquiry) -> list[Outcome]:
            ports = [Neighbour(inner.port, "a filter"), Neighbour(1, "nobody")]
            return await neighbours.ask_at(asked, [], ports)

        found, nobody = run(ask, inquiry(server.port, canary=Mailbox()))
        assert (found.stand, found.evidence) == (Stand.TAKEN, Evidence.E3)
        assert found.finding is not None
        assert (nobody.stand, nobody.finding) == (Stand.HELD, None)


def test_only_a_thorough_audit_looks_at_other_ports(sound: TinyServer) -> None:
    assert stands(run(neighbours.ask, inquiry(sound.port))) == {"E14": {Stand.ABSENT}, "E15": {Stand.ABSENT}}
