"""Mail to a report address is seen once it is delivered, and other mail never."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from postlatch.app.report_tap import MAX_KEPT, MAX_OCTETS, ReportTap
from postlatch.delivery.contract import Body
from postlatch.model.address import parse_address
from postlatch.model.envelope import Destination, RecipientParams, SenderParams
from postlatch.spool.contract import Claim, Outcome, OutcomeKind, QueuedRecipient, StoredMessage

WATCHED = frozenset({"reports@example.com"})
DELIVERED, DEFERRED = OutcomeKind.DELIVERED, OutcomeKind.DEFERRED


class FileLike:
    """A body that is not in memory."""

    def __init__(self, data: bytes, size: int | None = None) -> None:
        self._data = data
        self.size = len(data) if size is None else size

    @property
    def data(self) -> bytes | None:
        return None

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._data), 1000):
            yield self._data[start : start + 1000]


class Queue:
    """A spool with one body."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.finished: list[Sequence[Outcome]] = []

    def take(self, _limit: int) -> list[Claim]:
        return []

    def claim_due(self, _limit: int, _now: float) -> Any:
        raise AssertionError

    def finish(self, _claim: Claim, outcomes: Sequence[Outcome]) -> Any:
        self.finished.append(outcomes)
        return "operation"

    def cleanup(self, _paths: Any) -> None:
        raise AssertionError

    def recover(self, _in_hand: Iterable[Claim]) -> Any:
        raise AssertionError

    async def body(self, _claim: Claim) -> Body:
        return self._body


def claim(*addresses: str, message_id: int = 1, kind: str = "", original: str = "") -> Claim:
    message = StoredMessage(message_id, None, 0.0, 10, SenderParams(), kind=kind)
    recipients = tuple(
        QueuedRecipient(
            number,
            parse_address(address),
            Destination.LOCAL,
            None,
            "",
            RecipientParams(),
            parse_address(original) if original else None,
        )
        for number, address in enumerate(addresses)
    )
    return Claim(message, recipients, 1)


class Tapped:
    """A tap with what it found."""

    def __init__(self, body: Body, watched: frozenset[str] = WATCHED) -> None:
        self.found: list[tuple[int, str, bytes | None, bool]] = []
        self.queue = Queue(body)
        self.tap = ReportTap(self.queue, lambda: watched, lambda *what: self.found.append(what))

    def deliver(self, one: Claim, *kinds: OutcomeKind) -> None:
        assert asyncio.run(self.tap.body(one)) is asyncio.run(self.queue.body(one))
        outcomes = [Outcome(number, kind, "") for number, kind in enumerate(kinds)]
        operation: Any = self.tap.finish(one, outcomes)
        assert operation == "operation"
        assert self.queue.finished[-1] == outcomes


def test_a_delivered_message_to_a_report_address_is_handed_over_whole() -> None:
    tapped = Tapped(FileLike(b"report " * 1000))
    tapped.deliver(claim("alice@example.com", "Reports@example.com"), DELIVERED, DELIVERED)
    assert tapped.found == [(1, "reports@example.com", b"report " * 1000, False)]


def test_a_message_is_handed_over_once_and_only_when_it_is_delivered() -> None:
    tapped = Tapped(FileLike(b"report"))
    one = claim("reports@example.com")
    tapped.deliver(one, DEFERRED)
    assert tapped.found == []
    tapped.deliver(one, DELIVERED)
    tapped.tap.finish(one, [Outcome(0, DELIVERED, "")])
    assert len(tapped.found) == 1


def test_what_was_not_delivered_to_the_report_address_is_not_handed_over() -> None:
    tapped = Tapped(FileLike(b"report"))
    tapped.deliver(claim("alice@example.com", "reports@example.com"), DELIVERED, DEFERRED)
    assert tapped.found == []


def test_the_name_before_an_alias_counts() -> None:
    tapped = Tapped(FileLike(b"report"))
    tapped.deliver(claim("alice@example.com", original="reports@example.com"), DELIVERED)
    assert [address for _, address, *_ in tapped.found] == ["reports@example.com"]


def test_other_mail_and_notices_of_our_own_pass_untouched() -> None:
    tapped = Tapped(FileLike(b"mail"))
    tapped.deliver(claim("alice@example.com"), DELIVERED)
    tapped.deliver(claim("reports@example.com", kind="dsn"), DELIVERED)
    assert tapped.found == []
    tapped.deliver(claim("reports@example.com", kind="dmarc_report"), DELIVERED)
    assert len(tapped.found) == 1
    nobody = Tapped(FileLike(b"mail"), frozenset())
    nobody.deliver(claim("reports@example.com"), DELIVERED)
    assert nobody.found == []


def test_a_message_that_is_too_large_is_told_without_its_body() -> None:
    tapped = Tapped(FileLike(b"", MAX_OCTETS + 1))
    tapped.deliver(claim("reports@example.com"), DELIVERED)
    assert tapped.found == [(1, "reports@example.com", None, False)]


def test_what_hangs_on_slow_hops_does_not_fill_the_memory() -> None:
    tapped = Tapped(FileLike(b"x" * (MAX_OCTETS - 1)))
    claims = [claim("reports@example.com", message_id=number) for number in range(6)]
    for one in claims:
        asyncio.run(tapped.tap.body(one))
    for one in claims:
        tapped.tap.finish(one, [Outcome(0, DELIVERED, "")])
    assert [found[0] for found in tapped.found] == [3, 4, 5], f"the last that {MAX_KEPT} octets have room for"
