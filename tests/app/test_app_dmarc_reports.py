"""Our own aggregate reports: counted by the day, sent once to whoever asked and, if elsewhere, confirmed it (RFC 9990)."""

from __future__ import annotations

import email
import gzip
import json
import re
from collections.abc import Mapping
from email.message import Message
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from app_world import in_loop, notices, opened

from postlatch.app.dmarc_reports import DmarcReports, alike
from postlatch.app.world import World
from postlatch.senderauth.reports import AggregateReport, read_report
from postlatch.senderauth.reports.compose import DAY
from postlatch.senderauth.results import ArcResult, Authentication, Disposition, DkimResult, DmarcResult, Result, SpfResult
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver

SEND = "[reports]\nsend = true\norganization = 'Example \"GmbH\"'\ncontact = 'postmaster@example.com'\n"
CLIENT = ip_address("192.0.2.7")
ZONE: dict[str, dict[str, Any]] = {
    "_dmarc.asks.example": {"TXT": ["v=DMARC1; p=reject; sp=quarantine; adkim=s; rua=mailto:dmarc@asks.example!10m"]},
    "_dmarc.silent.example": {"TXT": ["v=DMARC1; p=reject"]},
    "_dmarc.abroad.example": {"TXT": ["v=DMARC1; p=none; rua=mailto:in@service.test,mailto:victim@victim.test"]},
    "abroad.example._report._dmarc.service.test": {"TXT": ["v=DMARC1;"]},
    "_dmarc.tiny.example": {"TXT": ["v=DMARC1; p=none; rua=mailto:small@tiny.example!1k,mailto:large@tiny.example!1m"]},
    "_dmarc.broken.example": {"TXT": "SERVFAIL"},
}


def found(
    domain: str = "asks.example",
    *,
    passed: bool = False,
    testing: bool = False,
    policy: Disposition = Disposition.REJECT,
    mail_from: str = "mail.asks.example",
) -> Authentication:
    spf = SpfResult(Result.PASS if passed else Result.FAIL, mail_from, "mfrom")
    dkim = (
        DkimResult(Result.PASS, "other.example", "s1", "ed25519-sha256", ""),
        DkimResult(Result.FAIL, domain, "s2", "rsa-sha256", ""),
    )
    result = Result.PASS if passed else Result.FAIL
    disposition = Disposition.NONE if passed else policy
    dmarc = DmarcResult(result, disposition, domain, domain, passed, False, "", policy, testing)
    return Authentication(spf, dkim, ArcResult(Result.NONE, 0, ""), dmarc)


class Office:
    """A world, its reports and what they put into the queue."""

    def __init__(self, world: World, zone: Mapping[str, Mapping[str, Any]] = ZONE) -> None:
        self.world = world
        self.clock = FakeClock()
        self.resolver = FakeResolver(zone)
        self.reports = DmarcReports(
            clock=self.clock,
            settings=lambda: world.settings,
            resolver=self.resolver,
            notices=notices(world, self.clock),
            submit=world.writer.submit,
            read=world.reader.read,
            counters=world.counters,
            jitter=3600.0,
        )

    async def tomorrow(self, hours: float = 26.0) -> list[tuple[str, bytes]]:
        await self.reports.flush()
        self.clock.advance(hours * 3600)
        return await self.send()

    async def send(self) -> list[tuple[str, bytes]]:
        await self.reports.send_due()
        claims = self.world.spool.take(100)
        return [(claim.recipients[0].address.text, claim.body or b"") for claim in claims]

    def counted(self, result: str) -> int:
        samples = self.world.counters.snapshot()
        return sum(int(one["value"]) for one in samples if one["labels"] == ["dmarc", result])


@in_loop
async def test_a_day_is_reported_once_to_the_domain_that_asks(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        for _ in range(3):
            office.reports.note(found(), CLIENT, applied=Disposition.REJECT)
        office.reports.note(found(passed=True), ip_address("::ffff:192.0.2.9"), applied=Disposition.NONE)
        office.reports.note(found("silent.example"), CLIENT, applied=Disposition.REJECT)
        await office.reports.flush()
        assert await office.send() == [], "the day is not over"
        [(recipient, body)] = await office.tomorrow()
        assert recipient == "dmarc@asks.example"
        report = read_report(body)
        assert isinstance(report, AggregateReport)
        assert (report.domain, report.begin, report.end) == ("asks.example", 1_767_225_600, 1_767_225_600 + DAY - 1)
        assert report.policy == {
            "p": "reject",
            "sp": "quarantine",
            "np": "quarantine",
            "adkim": "s",
            "aspf": "r",
            "fo": "0",
            "testing": "n",
            "discovery_method": "treewalk",
        }
        failed, passed = report.rows
        assert (str(failed.source), failed.messages, failed.disposition, failed.reasons) == ("192.0.2.7", 3, "reject", ())
        assert (str(passed.source), passed.messages, passed.disposition, passed.spf) == ("192.0.2.9", 1, "pass", True)
        assert [(one.method, one.domain, one.result) for one in failed.auth] == [
            ("dkim", "other.example", "pass"),
            ("dkim", "asks.example", "fail"),
            ("spf", "mail.asks.example", "fail"),
        ]
        assert await office.send() == []
        assert (await office.tomorrow()) == [], "it was reported"
        assert office.counted("sent") == 1


@in_loop
async def test_the_mail_has_the_subject_the_file_name_and_the_sender_that_the_rfc_asks_for(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        office.reports.note(found(), CLIENT, applied=Disposition.REJECT)
        [(_, body)] = await office.tomorrow()
        mail: Message = email.message_from_bytes(body)
        match = re.fullmatch(
            r"Report Domain: asks\.example\s+Submitter: relay\.example\.com\s+Report-ID: ([A-Za-z0-9]+)", mail["Subject"]
        )
        assert match is not None
        assert mail["From"] == '"Example \\"GmbH\\"" <postmaster@example.com>'
        assert mail["Auto-Submitted"] == "auto-generated"
        words, attached = (part for part in mail.walk() if not part.is_multipart())
        assert words.get_content_type() == "text/plain"
        assert attached.get_content_type() == "application/gzip"
        begin = 1_767_225_600
        assert attached.get_filename() == f"relay.example.com!asks.example!{begin}!{begin + DAY - 1}!{match[1]}.xml.gz"
        content = attached.get_payload(decode=True)
        assert isinstance(content, bytes)
        xml = gzip.decompress(content).decode()
        assert f"<report_id>{match[1]}</report_id>" in xml
        places = [xml.index(f"<{name}>") for name in ("version", "report_metadata", "policy_published", "record")]
        assert places == sorted(places)
        assert '<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">' in xml
        assert all(len(line) <= 998 for line in body.split(b"\r\n"))
        assert b"\n" not in body.replace(b"\r\n", b"")
        [row] = await world.reader.read(lambda c: c.execute("SELECT sender, kind FROM messages").fetchall())
        assert row == ("postmaster@example.com", "dmarc_report")


@in_loop
async def test_an_address_elsewhere_gets_a_report_only_if_it_has_confirmed_it(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        office.reports.note(found("abroad.example"), CLIENT, applied=Disposition.NONE)
        sent = await office.tomorrow()
        assert [recipient for recipient, _ in sent] == ["in@service.test"]
        assert ("victim.test", "TXT") not in office.resolver.queries
        assert office.counted("not_confirmed") == 1


@in_loop
async def test_a_report_that_is_too_large_for_an_address_does_not_go_there(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        office.reports.note(found("tiny.example"), CLIENT, applied=Disposition.NONE)
        assert [recipient for recipient, _ in await office.tomorrow()] == ["large@tiny.example"]
        assert office.counted("too_large") == 1


@in_loop
async def test_a_domain_whose_dns_is_down_is_asked_again_and_after_days_given_up(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        zone = dict(ZONE)
        office = Office(world, zone)
        office.reports.note(found("broken.example"), CLIENT, applied=Disposition.REJECT)
        assert await office.tomorrow() == []
        asked = len(office.resolver.queries)
        await office.send()
        assert len(office.resolver.queries) == asked, "not again within the hour"
        office.clock.advance(3700)
        await office.send()
        assert len(office.resolver.queries) > asked
        office.clock.advance(4 * DAY)
        await office.send()
        assert office.counted("expired") == 1
        office.clock.advance(DAY)
        await office.send()
        assert office.counted("expired") == 1, "it is forgotten"


@in_loop
async def test_one_domain_that_cannot_be_reported_keeps_no_other_waiting(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        office.reports.note(found("abroad.example"), CLIENT, applied=Disposition.NONE)
        office.reports.note(found(), CLIENT, applied=Disposition.REJECT)
        await office.reports.flush()
        spoilt = "UPDATE dmarc_seen SET alike = '{}' WHERE domain = 'abroad.example'"
        await world.writer.submit([lambda connection: connection.execute(spoilt)])
        office.clock.advance(26 * 3600)
        with pytest.raises(KeyError):
            await office.reports.send_due()
        assert [claim.recipients[0].address.text for claim in world.spool.take(10)] == ["dmarc@asks.example"]


@in_loop
async def test_nothing_is_counted_or_sent_unless_it_is_wanted(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        office = Office(world)
        office.reports.note(found(), CLIENT, applied=Disposition.REJECT)
        assert await office.tomorrow() == []
        assert await world.reader.read(lambda c: c.execute("SELECT count(*) FROM dmarc_seen").fetchone()) == (0,)


@in_loop
async def test_mail_without_a_policy_is_not_counted(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        none = found()
        office.reports.note(none._replace(dmarc=none.dmarc._replace(policy_domain="")), CLIENT, applied=Disposition.NONE)
        assert await office.tomorrow() == []


@in_loop
async def test_a_report_that_was_sent_before_a_crash_is_not_sent_again(tmp_path: Path) -> None:
    async with opened(tmp_path, SEND) as world:
        office = Office(world)
        office.reports.note(found(), CLIENT, applied=Disposition.REJECT)
        assert len(await office.tomorrow()) == 1
        office.clock.jump(-26 * 3600)  # what was seen is there once more, as after a stop before it was forgotten
        office.reports.note(found(), CLIENT, applied=Disposition.REJECT)
        assert await office.tomorrow() == []


@pytest.mark.parametrize(
    ("one", "applied", "given", "done", "why"),
    [
        (found(), Disposition.REJECT, "", "reject", []),
        (found(), Disposition.NONE, "", "none", ["local_policy", ""]),
        (found(), Disposition.NONE, "mailing_list", "none", ["mailing_list", ""]),
        (found(testing=True), Disposition.REJECT, "", "reject", ["policy_test_mode", ""]),
        (found(passed=True), Disposition.NONE, "", "pass", []),
        (found(passed=True, policy=Disposition.NONE), Disposition.NONE, "", "none", []),
    ],
)
def test_what_was_done_is_told_with_its_reason(
    one: Authentication, applied: Disposition, given: str, done: str, why: list[str]
) -> None:
    said = json.loads(alike(one, CLIENT, applied, given))
    assert (said["done"], said["why"]) == (done, why)
