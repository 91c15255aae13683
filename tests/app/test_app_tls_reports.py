"""Our TLS reports: connections are counted by the day, and told once to whoever asks (RFC 8460)."""

from __future__ import annotations

import asyncio
import email
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from app_world import in_loop, notices, opened

from postlatch.app.daily_reports import MAX_GATHERED
from postlatch.app.tls_reports import TlsReports
from postlatch.app.world import World
from postlatch.delivery.ports import Submit
from postlatch.delivery.tls_seen import TlsSession
from postlatch.model.events import Event
from postlatch.senderauth.reports import TlsReport, read_report
from postlatch.senderauth.reports.compose import DAY
from postlatch.store.transaction import WriteFailed
from postlatch.store.writer import Operation
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver

SEND = "[reports]\nsend = true\norganization = 'Example \"GmbH\"'\ncontact = 'postmaster@example.com'\n"
BEGIN = 1_767_225_600
ZONE: dict[str, dict[str, Any]] = {
    "_smtp._tls.asks.example": {"TXT": ["v=TLSRPTv1; rua=mailto:tls@asks.example"]},
    "_smtp._tls.abroad.example": {"TXT": ["v=TLSRPTv1; rua=mailto:in@service.test,mailto:tls@abroad.example"]},
    "_smtp._tls.web.example": {"TXT": ["v=TLSRPTv1; rua=https://web.example/tls"]},
    "_smtp._tls.example.com": {"TXT": ["v=TLSRPTv1; rua=mailto:reports@example.com"]},
    "_smtp._tls.broken.example": {"TXT": "SERVFAIL"},
}
EXPIRED = "certificate-expired"


def seen(
    domain: str = "asks.example", result: str = "", *, local: str = "9.9.9.9", host: str = "mx.asks.example"
) -> TlsSession:
    return TlsSession(domain, host, "192.0.2.25", local, result, "certificate has expired" if result == EXPIRED else "")


class Office:
    """A world, its reports and what they put into the queue."""

    def __init__(self, world: World, zone: Mapping[str, Mapping[str, Any]] = ZONE) -> None:
        self.world = world
        self.clock = FakeClock()
        self.resolver = FakeResolver(zone)
        self.reports = self.made(world.writer.submit)

    def made(self, submit: Submit) -> TlsReports:
        return TlsReports(
            clock=self.clock,
            settings=lambda: self.world.settings,
            resolver=self.resolver,
            notices=notices(self.world, self.clock),
            submit=submit,
            read=self.world.reader.read,
            counters=self.world.counters,
            jitter=3600.0,
        )

    def note(self, *sessions: TlsSession) -> None:
        for session in sessions:
            self.reports.note(session)

    async def tomorrow(self, hours: float = 26.0) -> list[tuple[str, bytes]]:
        await self.reports.flush()
        self.clock.advance(hours * 3600)
        return await self.send()

    async def send(self) -> list[tuple[str, bytes]]:
        await self.reports.send_due()
        claims = self.world.spool.take(100)
        return [(claim.recipients[0].address.text, claim.body or b"") for claim in claims]

    async def rows(self) -> int:
        found: tuple[int] = await self.world.reader.read(lambda c: c.execute("SELECT count(*) FROM tls_seen").fetchone())
        return found[0]

    def counted(self, result: str) -> int:
        samples = self.world.counters.snapshot()
        return sum(int(one["value"]) for one in samples if one["labels"] == ["tls", result])


@in_loop
async def test_a_day_is_reported_once_to_the_domain_that_asks(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        office.note(seen(), seen(host="mx2.asks.example"), seen(result=EXPIRED), seen("silent.example"))
        await office.reports.flush()
        office.note(seen(), seen(result=EXPIRED), seen(result="starttls-not-supported", local="10.0.0.1"))
        await office.reports.flush()
        assert await office.send() == [], "the day is not over"
        [(recipient, body)] = await office.tomorrow()
        assert recipient == "tls@asks.example"
        report = read_report(body)
        assert isinstance(report, TlsReport)
        assert (report.reporter, report.contact) == ('Example "GmbH"', "postmaster@example.com")
        assert (report.begin, report.end) == (BEGIN, BEGIN + DAY - 1)
        [policy] = report.policies
        assert (policy.kind, policy.domain, policy.successes, policy.failures) == ("no-policy-found", "asks.example", 3, 3)
        expired, plain = policy.details
        assert expired == (EXPIRED, 2, "9.9.9.9", "mx.asks.example", "192.0.2.25", "certificate has expired")
        assert plain == ("starttls-not-supported", 1, "", "mx.asks.example", "192.0.2.25", ""), "behind NAT: not told"
        assert await office.send() == []
        assert await office.tomorrow() == [], "it was reported"
        assert office.counted("sent") == 1
        assert await office.rows() == 0, "nor is anything kept of who does not ask"


@in_loop
async def test_the_mail_has_the_form_that_the_rfc_asks_for(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        office.note(seen())
        [(_, body)] = await office.tomorrow()
        mail: Message = email.message_from_bytes(body)
        match = re.fullmatch(
            r"Report Domain: asks\.example\s+Submitter: relay\.example\.com\s+Report-ID: <([A-Za-z0-9]+)@relay\.example\.com>",
            mail["Subject"],
        )
        assert match is not None
        assert (mail["TLS-Report-Domain"], mail["TLS-Report-Submitter"]) == ("asks.example", "relay.example.com")
        assert (mail["TLS-Required"], mail["Auto-Submitted"]) == ("No", "auto-generated")
        assert mail["From"] == '"Example \\"GmbH\\"" <postmaster@example.com>'
        assert (mail.get_content_type(), mail.get_param("report-type")) == ("multipart/report", "tlsrpt")
        words, attached = (part for part in mail.walk() if not part.is_multipart())
        assert words.get_content_type() == "text/plain"
        assert attached.get_content_type() == "application/tlsrpt+gzip"
        assert attached.get_filename() == f"relay.example.com!asks.example!{BEGIN}!{BEGIN + DAY - 1}!{match[1]}.json.gz"
        content = attached.get_payload(decode=True)
        assert isinstance(content, bytes)
        assert json.loads(gzip.decompress(content))["report-id"] == match[1]
        assert all(len(line) <= 998 for line in body.split(b"\r\n"))
        assert b"\n" not in body.replace(b"\r\n", b"")
        [row] = await world.reader.read(lambda c: c.execute("SELECT sender, kind FROM messages").fetchall())
        assert row == ("postmaster@example.com", "tls_report")


@in_loop
async def test_every_address_that_is_asked_for_gets_a_copy_with_an_id_of_its_own(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        office.note(seen("abroad.example"))
        sent = await office.tomorrow()
        assert sorted(recipient for recipient, _ in sent) == ["in@service.test", "tls@abroad.example"]
        assert len({email.message_from_bytes(body)["Message-ID"] for _, body in sent}) == 2
        assert len({email.message_from_bytes(body)["Subject"] for _, body in sent}) == 1


@in_loop
async def test_a_report_that_only_a_web_server_would_take_is_not_sent_and_counted(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        office.note(seen("web.example"))
        assert await office.tomorrow() == []
        assert office.counted("https") == 1
        assert await office.rows() == 0


@in_loop
async def test_a_domain_that_has_become_ours_is_not_reported_to(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        office.note(seen("example.com"))
        assert await office.tomorrow() == []
        assert await office.rows() == 0


@in_loop
async def test_a_domain_whose_dns_is_down_is_asked_again_and_after_days_given_up(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        office.note(seen("broken.example"))
        assert await office.tomorrow() == []
        asked = len(office.resolver.queries)
        await office.send()
        assert len(office.resolver.queries) == asked, "not again within the hour"
        office.clock.advance(3700)
        await office.send()
        assert len(office.resolver.queries) > asked
        assert office.counted("dns") == 2
        office.clock.advance(3 * DAY)
        await office.send()
        assert office.counted("expired") == 1
        assert await office.rows() == 0


@in_loop
async def test_one_domain_that_cannot_be_reported_keeps_no_other_waiting(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world, {**ZONE, "_smtp._tls.abroad.example": {"TXT": [object()]}})
        office.note(seen("abroad.example"), seen())
        await office.reports.flush()
        office.clock.advance(26 * 3600)
        with pytest.raises(Exception):  # noqa: B017, PT011  whatever a resolver may come up with
            await office.reports.send_due()
        assert [claim.recipients[0].address.text for claim in world.spool.take(10)] == ["tls@asks.example"]


@in_loop
async def test_nothing_is_counted_unless_it_is_wanted_nor_for_an_address_literal(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        office = Office(world)
        office.note(seen())
        assert await office.tomorrow() == []
        assert await office.rows() == 0
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        office.note(seen("[192.0.2.1]"))
        await office.reports.flush()
        assert await office.rows() == 0


@in_loop
async def test_what_is_kept_in_memory_is_bounded_and_what_is_there_is_counted_on(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        for number in range(MAX_GATHERED + 5):
            office.note(seen(f"d{number}.example"))
        office.note(seen("d0.example"), seen("asks.example"))
        await office.reports.flush()
        assert await office.rows() == MAX_GATHERED
        sums = await world.reader.read(lambda c: c.execute("SELECT sum(sessions), max(sessions) FROM tls_seen").fetchone())
        assert sums == (MAX_GATHERED + 1, 2)


@pytest.mark.parametrize(("unknown", "rows"), [(False, 1), (True, 0)])
def test_what_the_disk_does_not_take_is_kept_unless_it_may_be_there(unknown: bool, rows: int, tmp_path: Path) -> None:
    @in_loop
    async def main() -> None:
        async with opened(tmp_path, SEND) as world:
            office = Office(world)
            faults = [WriteFailed("the disk is full", unknown=unknown)]

            def submit(operations: Sequence[Operation[Any]], events: Sequence[Event] = ()) -> asyncio.Future[list[Any]]:
                if not faults:
                    return world.writer.submit(operations, events)
                failed: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
                failed.set_exception(faults.pop())
                return failed

            office.reports = office.made(submit)
            office.note(seen())
            await office.reports.flush()
            await office.reports.flush()
            assert await office.rows() == rows

    main()


@in_loop
async def test_a_report_that_was_sent_before_a_crash_is_not_sent_again(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        office.note(seen())
        assert len(await office.tomorrow()) == 1
        office.clock.jump(-26 * 3600)  # what was seen is there once more, as after a stop before it was forgotten
        office.note(seen())
        assert await office.tomorrow() == []
