"""The self-audit's schedule, what it tells, and whom it asks."""

from __future__ import annotations

import asyncio
import functools
import json
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any, ParamSpec, cast

import pytest

from postlatch.app.clock import SystemClock
from postlatch.app.self_audit import FIRST, RETRY, Joint, SelfAudit, ask_outside
from postlatch.app.self_audit_child import ask
from postlatch.app.self_audit_targets import Listening, reachable_at, source_for
from postlatch.cli.render.self_audit import self_audit
from postlatch.cli.text import Line
from postlatch.model.envelope import IPAddress
from postlatch.model.events import Event, JsonValue
from postlatch.testing.clock import FakeClock

MX = Listening("mx", "127.0.0.1", 25, False, "relay.example.com", "example.com", "127.0.0.1")
OWN = [ip_address(text) for text in ("127.0.0.1", "::1", "192.0.2.7", "192.0.2.8", "2001:db8::7", "fe80::1")]
DAY = 86_400.0


def found(verdict: str) -> dict[str, Any]:
    nothing: dict[str, Any] = {"decide": None, "places": [], "connections": 1, "messages": 0, "seconds": 0.1, "findings": []}
    known = {"verdict": verdict, "evidence": "E0", "grade": "A", "summary": f"It is {verdict}."}
    return {**known, **nothing}


P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """The test in an event loop of its own."""

    @functools.wraps(test)
    def run(*given: P.args, **named: P.kwargs) -> None:
        asyncio.run(test(*given, **named))

    return run


class Office:
    """A relay, as far as the self-audit knows it: ``answers`` is what the next audit finds."""

    def __init__(self, *targets: Listening) -> None:
        self.clock = FakeClock()
        self.targets = list(targets or (MX,))
        self.answers: list[dict[str, Any]] | OSError = [found("closed")]
        self.asked = 0
        self.events: list[Event] = []
        self.alerts: list[str] = []
        self.kept: str | None = None
        self.every: float | None = DAY

    def audit(self) -> SelfAudit:
        return SelfAudit(
            Joint(
                self.clock,
                random.Random(1),
                lambda: self.every,
                lambda: (self.targets, []),
                self._ask,
                self.events.append,
                self._alert,
                self._load,
                self._save,
                lambda *_: None,
            )
        )

    async def _ask(self, targets: Sequence[Listening], _run: str) -> list[dict[str, Any]]:
        self.asked += 1
        if isinstance(self.answers, OSError):
            raise self.answers
        return self.answers[: len(targets)]

    def _alert(self, sentence: str, _fields: Mapping[str, JsonValue]) -> None:
        self.alerts.append(sentence)

    async def _load(self) -> str | None:
        return self.kept

    async def _save(self, text: str) -> None:
        self.kept = text


@in_loop
async def test_the_first_audit_is_made_soon_after_the_start_and_the_next_a_day_later() -> None:
    office = Office()
    audit = office.audit()
    await audit.every_minute()
    assert office.asked == 0
    office.clock.advance(FIRST)
    await audit.every_minute()
    await audit.every_minute()
    assert office.asked == 1
    office.clock.advance(DAY)
    await audit.every_minute()
    assert office.asked == 2


@in_loop
async def test_a_restart_takes_up_the_last_result_and_does_not_audit_again_before_it_is_due() -> None:
    office = Office()
    await office.audit().audit()
    later = office.audit()
    office.clock.advance(DAY / 2)
    await later.every_minute()
    assert office.asked == 1
    assert later.latest is not None
    assert later.latest["verdict"] == "closed"


@in_loop
async def test_switched_off_nothing_is_asked() -> None:
    office = Office()
    office.every = None
    audit = office.audit()
    office.clock.advance(10 * DAY)
    await audit.every_minute()
    assert office.asked == 0


@pytest.mark.parametrize("verdict", ["open", "accepts", "backscatter", "spoofable"])
@in_loop
async def test_a_fault_is_an_alert_and_an_event_each_time(verdict: str) -> None:
    office = Office()
    office.answers = [found(verdict)]
    audit = office.audit()
    await audit.audit()
    await audit.audit()
    assert office.alerts == [f"the self-audit found listener mx not closed: {verdict}"] * 2
    assert [event.name for event in office.events] == ["audit.finished"] * 2
    assert office.events[0].fields["verdict"] == verdict
    assert office.events[0].fields["listeners"] == {"mx": f"{verdict} A"}


@in_loop
async def test_what_was_closed_and_is_not_known_any_more_is_told_once() -> None:
    office = Office()
    audit = office.audit()
    await audit.audit()
    office.answers = [found("inconclusive")]
    await audit.audit()
    await audit.audit()
    assert office.alerts == ["the self-audit does not know any more whether listener mx is closed"]


@in_loop
async def test_an_audit_that_cannot_be_made_is_told_once_and_tried_again_within_the_hour() -> None:
    office = Office()
    office.answers = OSError("no more processes")
    audit = office.audit()
    office.clock.advance(FIRST)
    await audit.every_minute()
    office.clock.advance(RETRY - 1)
    await audit.every_minute()
    assert office.asked == 1
    office.clock.advance(1)
    await audit.every_minute()
    assert office.asked == 2
    assert office.alerts == ["the self-audit could not be made"]
    assert json.loads(office.kept or "")["why"] == "OSError: no more processes"


@in_loop
async def test_where_every_own_address_has_a_right_nothing_is_asked_and_nothing_is_called_closed() -> None:
    office = Office(MX._replace(doubt="it has the right office"))
    latest = await office.audit().audit()
    assert latest["verdict"] == "inconclusive"
    assert "the right office" in latest["addresses"][0]["summary"]


def test_a_wildcard_is_asked_at_the_machines_own_addresses_of_its_family() -> None:
    assert [str(address) for address, _ in reachable_at("0.0.0.0:25", OWN)] == ["192.0.2.7", "192.0.2.8"]
    assert [str(address) for address, _ in reachable_at("[::]:25", OWN)] == ["2001:db8::7"]
    assert reachable_at("0.0.0.0:25", OWN[:2]) == [(ip_address("127.0.0.1"), 25)]
    assert reachable_at("[::1]:587", OWN) == [(ip_address("::1"), 587)]


def test_it_comes_from_an_address_without_a_right_if_there_is_one() -> None:
    def right(address: IPAddress) -> str:
        return "office" if str(address) in {"192.0.2.7", "127.0.0.1", "::1"} else ""

    assert source_for(OWN[2], OWN, right) == (OWN[3], "")
    assert source_for(OWN[0], OWN, right) == (ip_address("127.0.0.2"), "")
    assert "office" in source_for(OWN[1], OWN, right)[1]


class TakesAll(asyncio.Protocol):
    """An open server. It stores nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.heard, self.body = b"", False
        transport.write(b"220 relay.example.com ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        *lines, self.heard = (self.heard + data).split(b"\n")
        for line in lines:
            self._line(line.strip().upper())

    def _line(self, line: bytes) -> None:
        if self.body and line != b".":
            return
        self.body = line == b"DATA"
        self.transport.write({b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}.get(line, b"250 as you like\r\n"))
        if line == b"QUIT":
            self.transport.close()


@asynccontextmanager
async def an_open_server() -> AsyncIterator[Listening]:
    server = await asyncio.get_running_loop().create_server(TakesAll, "127.0.0.1", 0)
    try:
        yield MX._replace(port=server.sockets[0].getsockname()[1])
    finally:
        server.close()


@in_loop
async def test_a_listener_that_takes_everything_raises_the_alert() -> None:
    office = Office()
    async with an_open_server() as there:
        office.targets = [there]
        office.answers = await ask([there], "0123", SystemClock(), random.Random(1), rate=100)
    await office.audit().audit()
    assert office.alerts == ["the self-audit found listener mx not closed: accepts"]
    shown = "\n".join(line.text for line in self_audit(json.loads(office.kept or "")) if isinstance(line, Line))
    assert shown.startswith("[x] Not closed: accepts")


@in_loop
async def test_the_audit_is_made_by_another_process_and_a_port_that_nobody_answers_is_inconclusive() -> None:
    [row] = await ask_outside([MX._replace(port=1)], "0123")
    assert row["verdict"] == "inconclusive"


@in_loop
async def test_the_end_of_the_auditors_process_is_an_error_with_its_reason() -> None:
    with pytest.raises(ValueError, match="ended with status 1"):
        await ask_outside([MX._replace(address=cast("str", None))], "0123")


def asked(*stands: str) -> list[dict[str, Any]]:
    """The controls, which a listener for machines with a right refuses too, and envelopes that came out so."""
    controls = [{"id": "C+", "stand": "broke"}, {"id": "C-", "stand": "held"}]
    return [*controls, *({"id": "A01", "stand": stand} for stand in stands)]


@pytest.mark.parametrize(
    ("by_right", "vectors", "severity", "verdict", "grade"),
    [
        (True, asked("held", "absent"), "info", "closed", "A"),
        (True, asked("held"), "high", "closed", "C"),
        (True, [*asked("held"), {"id": "E05", "stand": "undecided"}], "info", "closed", "A"),
        (True, asked("held", "undecided"), "info", "inconclusive", "-"),
        (True, asked("held", "taken"), "info", "inconclusive", "-"),
        (True, asked(), "info", "inconclusive", "-"),
        (False, asked("held"), "info", "inconclusive", "-"),
    ],
)
@in_loop
async def test_a_listener_for_those_with_a_right_is_closed_if_it_refuses_every_envelope(
    by_right: bool, vectors: list[dict[str, Any]], severity: str, verdict: str, grade: str
) -> None:
    office = Office(MX._replace(by_right=by_right))
    fault = {"id": "audit.x", "severity": severity, "title": "a fault", "fix": "a change"}
    office.answers = [{**found("inconclusive"), "grade": "-", "vectors": vectors, "findings": [fault]}]
    latest = await office.audit().audit()
    assert (latest["addresses"][0]["verdict"], latest["addresses"][0]["grade"]) == (verdict, grade)
