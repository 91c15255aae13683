"""A whole audit of servers that mean harm, or are broken: a result in time, printable, and never more than was proved."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time

import pytest
from test_hostile_servers import (
    BANNER,
    OFFERS,
    Serve,
    answers_anything,
    answers_everything_at_once,
    breaks_off_after,
    drips,
    floods,
    floods_one_line,
    hangs_up_on_tls,
    lies_about_itself,
    speaks_another_language,
    speaks_http,
    stalls,
    stalls_after_ehlo,
)
from tiny_server import Listening

from postlatch.app.clock import SystemClock
from postlatch.audit.canary.values import Arrival
from postlatch.audit.probes.families import ask_all
from postlatch.audit.probes.names import Names
from postlatch.audit.probes.place import Place
from postlatch.audit.probes.values import Stand
from postlatch.audit.result import TargetResult, as_data
from postlatch.audit.run import Means, Request, audit
from postlatch.audit.values import AuditVerdict
from postlatch.model.dns import Resolver
from postlatch.testing.dns import FakeResolver

LIMIT = 0.8  # seconds for all questions
NAMES = Names(
    *("canary", "canary.example", "stranger.example", "auditor.example", "127.0.0.1"),
    mailbox="alice",
    local_domain="local.test",
)


class NothingArrives:
    """A canary that sees nothing, or mail of somebody else."""

    async def arrivals(self) -> list[Arrival]:
        return [Arrival("pl99999999-001-00000000")]


def audited(serve: Serve, *, names: Names = NAMES, resolver: Resolver | None = None, seconds: float = LIMIT) -> TargetResult:
    listening = Listening(serve)
    try:
        place = Place("", "127.0.0.1", listening.port)
        request = Request("it", [place], names, seconds, window=0.1, patience=0.15, rate=500.0)
        means = Means(SystemClock(), random.Random(7), ask_all, "pl00000000", canary=NothingArrives(), resolver=resolver)
        begun = time.monotonic()
        result = asyncio.run(audit(request, means))
        assert time.monotonic() - begun < seconds + 3
        return result
    finally:
        listening.close()


def check(result: TargetResult) -> None:
    text = json.dumps(as_data(result))
    assert all(part.isprintable() for part in json.loads(text)["findings"] for part in part["transcript"])
    assert "\\u001b" not in text
    assert result.verdict is not AuditVerdict.OPEN
    assert result.messages <= 60
    assert result.verdict is not AuditVerdict.INCONCLUSIVE or result.decide


def says(answers: dict[str, bytes], other: bytes = b"250 2.0.0 ok\r\n") -> Serve:
    """A server of one answer a verb."""

    def serve(sock: socket.socket) -> None:
        sock.sendall(BANNER)
        in_data = False
        with sock.makefile("rb") as lines:
            for line in lines:
                if in_data and line != b".\r\n":
                    continue
                verb = "." if in_data else line[:4].decode("latin-1").upper().strip()
                answer = answers.get(verb, other)
                in_data = answer.startswith(b"354")
                sock.sendall(answer)

    return serve


@pytest.mark.parametrize(
    "serve",
    [
        stalls,
        stalls_after_ehlo,
        drips,
        floods,
        floods_one_line,
        speaks_http,
        speaks_another_language,
        lies_about_itself,
        hangs_up_on_tls,
        answers_anything,
        answers_everything_at_once,
        *(breaks_off_after(count) for count in (20, 140)),
        *(pytest.param(breaks_off_after(count), marks=pytest.mark.soak) for count in (0, 1, 60, 130, 200, 300)),
    ],
)
def test_a_hostile_server_gets_a_result_in_time_that_calls_it_neither_open_nor_closed(serve: Serve) -> None:
    result = audited(serve)
    check(result)
    assert result.verdict in {AuditVerdict.INCONCLUSIVE, AuditVerdict.ACCEPTS}


def test_a_trap_that_says_yes_to_all_accepts_and_is_not_open() -> None:
    result = audited(says({"DATA": b"354 go on\r\n", "EHLO": OFFERS.replace(b"250-STARTTLS\r\n", b"")}), seconds=5)
    check(result)
    assert result.verdict is AuditVerdict.ACCEPTS
    assert result.messages >= 1


def test_a_greylister_is_inconclusive_and_told_when_to_come_back() -> None:
    result = audited(says({"EHLO": b"250 mx\r\n", "RCPT": b"450 4.2.0 greylisted\r\n"}), seconds=5)
    check(result)
    assert result.verdict is AuditVerdict.INCONCLUSIVE
    assert "ten minutes" in result.decide


def test_a_server_that_refuses_whoever_connects_is_inconclusive() -> None:
    result = audited(lambda sock: sock.sendall(b"554 5.7.1 you are on a list\r\n"))
    check(result)
    assert result.verdict is AuditVerdict.INCONCLUSIVE


@pytest.mark.parametrize(("zone", "asked"), [({}, False), ({"mx.bank.com": {"A": ["127.0.0.1"]}}, True)])
def test_a_name_in_a_banner_counts_only_if_it_leads_to_the_server(zone: dict[str, dict[str, list[str]]], asked: bool) -> None:
    answers = {"EHLO": b"250 mx\r\n", "DATA": b"354 go\r\n"}
    heard: list[bytes] = []

    def serve(sock: socket.socket) -> None:
        sock.sendall(b"220 mx.bank.com ESMTP\r\n")
        with sock.makefile("rb") as lines:
            for line in lines:
                heard.append(line)
                sock.sendall(answers.get(line[:4].decode("latin-1").upper(), b"250 ok\r\n"))

    audited(serve, names=NAMES._replace(mailbox="", local_domain=""), resolver=FakeResolver(zone), seconds=2)
    named = [line for line in heard if line.startswith(b"RCPT") and b"bank.com" in line]
    assert bool(named) is asked


def test_a_port_that_waits_for_a_proxy_header_is_named_as_such() -> None:
    def serve(sock: socket.socket) -> None:
        if sock.recv(200).startswith(b"PROXY TCP4 192.0.2.1 127.0.0.1 "):
            sock.sendall(BANNER)
            sock.recv(200)

    result = audited(serve)
    check(result)
    assert result.verdict is AuditVerdict.INCONCLUSIVE
    assert "PROXY header" in result.summary


def test_a_refused_sender_does_not_answer_the_question_about_a_recipient() -> None:
    def serve(sock: socket.socket) -> None:
        """Exim: no address literals as senders. And the percent hack."""
        sock.sendall(BANNER)
        with sock.makefile("rb") as lines:
            for line in lines:
                refused = (b"MAIL" in line and b"[" in line) or (b"RCPT" in line and b"%" not in line and b"alice" not in line)
                sock.sendall(b"501 domain literals not allowed\r\n" if refused else b"250 ok\r\n")

    result = audited(serve, seconds=5)
    check(result)
    assert result.verdict is AuditVerdict.ACCEPTS
    assert {"B01", "B02", "B04"} <= {one.vector for one in result.outcomes if one.stand is Stand.TAKEN}


def test_a_banner_may_come_late() -> None:
    def serve(sock: socket.socket) -> None:
        time.sleep(0.2)  # longer than the patience with any other answer
        says({"RCPT": b"550 5.7.1 no\r\n"})(sock)

    assert "does not speak SMTP" not in audited(serve, seconds=2).summary
