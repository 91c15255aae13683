"""A relay that was asked for reports sends them: what came in a domain's name on one day is told to its owner on the next."""

from __future__ import annotations

import smtplib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recording_sink import RecordingSink, Taken

from postlatch.senderauth.reports import read_report
from postlatch.senderauth.reports.values import AggregateReport
from postlatch.testing.peers.name_server import NameServer
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.running import BASE, RunningRelay

SHIM = Path(__file__).with_name("clock_shim.c")
DAY = 86_400
ELSEWHERE = "127.0.0.5"
CONFIG = """
[authentication]
check = true

[reports]
send = true
organization = "Example Organization"
contact = "bob@example.com"

[outbound]
resolver = ["127.0.0.1:DNS"]

[outbound.routes]
"asks.example" = "smtp://127.0.0.1:SINK"
"reader.example" = "smtp://127.0.0.1:SINK"
"""
ZONE: dict[str, dict[str, Any]] = {
    "asks.example": {"TXT": ['"v=spf1 ip4:127.0.0.1 -all"']},
    "_dmarc.asks.example": {
        "TXT": ['"v=DMARC1; p=none; rua=mailto:dmarc@asks.example,mailto:box@reader.example,mailto:x@no.example"'],
    },
    "asks.example._report._dmarc.reader.example": {"TXT": ['"v=DMARC1"']},
    "silent.example": {"TXT": ['"v=spf1 -all"']},
    "_dmarc.silent.example": {"TXT": ['"v=DMARC1; p=none"']},
}


def until(hour: int) -> int:
    """Seconds from now to that hour of tomorrow, UTC."""
    now = int(time.time())
    return (now // DAY + 1) * DAY + hour * 3600 - now


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Taken]]:
    """What has been sent about three messages of yesterday, and another of a domain that asks for nothing."""
    folder = tmp_path_factory.mktemp("reports-sent")
    library, shift = folder / "clock.so", folder / "shift"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    shift.write_text("0")
    prefix = ("env", f"LD_PRELOAD={library}", f"CLOCK_SHIFT={shift}")
    with NameServer(ZONE) as dns, RecordingSink() as sink:
        port = sink.url.rpartition(":")[2]
        relay = RunningRelay(folder / "relay", BASE + CONFIG.replace(":DNS", f":{dns.port}").replace(":SINK", f":{port}"))
        relay.start(prefix=prefix)
        try:
            for author, source in (("a", "127.0.0.1"), ("b", "127.0.0.1"), ("c", ELSEWHERE)):
                send(relay, f"{author}@asks.example", source)
            send(relay, "x@silent.example", ELSEWHERE)
        finally:
            relay.stop()
        shift.write_text(str(until(5)))
        relay.start(prefix=prefix)
        try:
            wait_until(lambda: len(sink.messages) >= 2, 60, "the reports did not come")
        finally:
            relay.stop()
        yield list(sink.messages)


def send(relay: RunningRelay, author: str, source: str) -> None:
    raw = f"From: {author}\r\nTo: alice@example.com\r\nSubject: hello\r\n\r\ntext\r\n"
    with smtplib.SMTP("127.0.0.1", relay.port("mx"), timeout=30, source_address=(source, 0)) as client:
        client.sendmail(author, ["alice@example.com"], raw)


def test_each_address_that_may_have_it_gets_one_report_and_who_did_not_agree_gets_none(reports: list[Taken]) -> None:
    recipients = sorted(recipient.split(b"<")[1].split(b">")[0] for taken in reports for recipient in taken.recipients)
    assert recipients == [b"box@reader.example", b"dmarc@asks.example"]


def test_it_says_how_many_messages_came_from_where_and_what_was_found(reports: list[Taken]) -> None:
    found = read_report(reports[0].unstuffed)
    assert isinstance(found, AggregateReport)
    assert (found.reporter, found.domain) == ("Example Organization", "asks.example")
    counted = {(str(row.source), row.messages, row.spf) for row in found.rows}
    assert counted == {("127.0.0.1", 2, True), (ELSEWHERE, 1, False)}


def test_it_is_about_yesterday_and_names_nobody(reports: list[Taken]) -> None:
    found = read_report(reports[0].unstuffed)
    assert isinstance(found, AggregateReport)
    assert (found.end - found.begin, found.begin % DAY) in {(DAY, 0), (DAY - 1, 0)}
    for taken in reports:
        assert b"alice" not in taken.body


def test_it_can_start_no_loop(reports: list[Taken]) -> None:
    for taken in reports:
        header = taken.body.partition(b"\r\n\r\n")[0]
        assert b"Auto-Submitted: auto-generated" in header
        assert b"\r\nSubject: Report Domain: asks.example" in header
