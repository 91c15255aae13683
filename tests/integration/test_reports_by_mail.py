"""Reports come by SMTP, are delivered like any mail, and are read: `postlatch reports` shows what they say."""

from __future__ import annotations

import base64
import gzip
import json
import smtplib
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from postlatch.testing.peers.ports import wait_until
from postlatch.testing.running import BASE, RunningRelay

CONFIG = BASE.replace('recipients = ["alice", "bob"]', 'recipients = ["alice", "bob"]\naliases = { reports = ["alice"] }') + (
    '[reports]\ndmarc = "reports@example.com"\ntls = "bob@example.com"\n'
)
ROW = """<record><row><source_ip>{source}</source_ip><count>{count}</count><policy_evaluated><disposition>none</disposition>
<dkim>{result}</dkim><spf>fail</spf></policy_evaluated></row><identifiers><header_from>{domain}</header_from></identifiers>
<auth_results><spf><domain>x.example</domain><result>fail</result></spf></auth_results></record>"""


def xml(domain: str = "example.com", report_id: str = "r1") -> bytes:
    rows = [("192.0.2.1", 40, "pass"), ("192.0.2.7", 120, "fail")]
    records = "".join(ROW.format(source=s, count=n, result=r, domain=domain) for s, n, r in rows)
    return f"""<?xml version="1.0"?><feedback><report_metadata><org_name>google.com</org_name><email>a@google.com</email>
<report_id>{report_id}</report_id><date_range><begin>1706832000</begin><end>1706918399</end></date_range></report_metadata>
<policy_published><domain>{domain}</domain><p>none</p></policy_published>{records}</feedback>""".encode()


TLS = {
    "organization-name": "Company-X",
    "date-range": {"start-datetime": "2026-04-01T00:00:00Z", "end-datetime": "2026-04-01T23:59:59Z"},
    "report-id": "t1",
    "policies": [
        {
            "policy": {"policy-type": "sts", "policy-domain": "example.com"},
            "summary": {"total-successful-session-count": 10, "total-failure-session-count": 3},
            "failure-details": [
                {"result-type": "certificate-expired", "receiving-mx-hostname": "mx.example.com", "failed-session-count": 3}
            ],
        }
    ],
}


def zipped(content: bytes) -> bytes:
    output = BytesIO()
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("r.xml", content)
    return output.getvalue()


def send(relay: RunningRelay, content: bytes, kind: str = "application/gzip", to: str = "reports@example.com") -> None:
    fields = ("From: noreply@google.com", f"To: {to}", f"Content-Type: {kind}", "Content-Transfer-Encoding: base64", "", "")
    message = "\r\n".join(fields).encode() + base64.encodebytes(content).replace(b"\n", b"\r\n")
    with smtplib.SMTP("127.0.0.1", relay.port("mx"), timeout=20) as client:
        client.sendmail("noreply@google.com", [to], message)


def listed(relay: RunningRelay, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = relay.json("reports", *arguments)["reports"]
    return found


def events(relay: RunningRelay, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = relay.json("journal", "search", "--event", name)["events"]
    return found


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRelay]:
    with RunningRelay(tmp_path_factory.mktemp("reports"), CONFIG) as running:
        yield running


def test_a_report_that_came_by_mail_is_shown_with_what_failed(relay: RunningRelay) -> None:
    send(relay, gzip.compress(xml()))
    wait_until(lambda: len(listed(relay)) == 1, 20, "the report")
    [report] = listed(relay, "--domain", "example.com", "--kind", "dmarc")
    assert (report["reporter"], report["report_id"], report["domain"]) == ("google.com", "r1", "example.com")
    assert (report["messages"], report["passed"], report["failed"]) == (160, 40, 120)
    assert report["begin"] == "2024-02-02T00:00:00Z"
    [source] = report["sources"]
    assert source["why"] == "192.0.2.7 sends as example.com without an aligned SPF or DKIM: 120 messages"
    people = relay.run("reports").stdout
    assert source["why"] in people
    assert "let it sign with DKIM" in people
    wait_until(lambda: len(relay.maildir("alice@example.com")) == 1, 20, "the report")  # and the mail itself is delivered


def test_the_same_report_again_counts_once_and_is_journalled(relay: RunningRelay) -> None:
    before = len(listed(relay))
    send(relay, zipped(xml(report_id="twice")), "application/zip")
    wait_until(lambda: len(listed(relay)) == before + 1, 20, "the report")
    send(relay, gzip.compress(xml(report_id="twice")))
    wait_until(lambda: any(event.get("duplicate") for event in events(relay, "report.received")), 20, "the report")
    assert len(listed(relay)) == before + 1


def test_a_tls_report_is_shown_with_its_failure(relay: RunningRelay) -> None:
    send(relay, gzip.compress(json.dumps(TLS).encode()), "application/tlsrpt+gzip", to="bob@example.com")
    wait_until(lambda: len(listed(relay, "--kind", "tls")) == 1, 20, "the report")
    [report] = listed(relay, "--kind", "tls")
    assert (report["passed"], report["failed"]) == (10, 3)
    assert "certificate-expired at mx.example.com: 3 sessions" in report["sources"][0]["why"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (gzip.compress(xml("elsewhere.example"), mtime=0), "no domain of ours"),
        (gzip.compress(b"<feedback>" + b" " * 20_000_000, mtime=0), "more than 200 times its size"),
        (gzip.compress(b'<!DOCTYPE f [<!ENTITY x SYSTEM "file:///etc/passwd">]><feedback>&x;</feedback>', mtime=0), "entity"),
        (b"hello", "neither XML nor JSON"),
    ],
)
def test_what_is_no_report_about_us_is_delivered_and_journalled_but_not_kept(
    relay: RunningRelay, content: bytes, why: str
) -> None:
    before, mail = listed(relay), len(relay.maildir("alice@example.com"))
    send(relay, content)
    wait_until(lambda: any(why in str(event.get("why")) for event in events(relay, "report.refused")), 20, "the report")
    assert listed(relay) == before
    wait_until(lambda: len(relay.maildir("alice@example.com")) == mail + 1, 20, "the report")


def test_other_mail_to_the_same_mailbox_is_not_looked_at(relay: RunningRelay) -> None:
    before, refused = len(events(relay, "report.received")), len(events(relay, "report.refused"))
    mail = len(relay.maildir("alice@example.com"))
    send(relay, gzip.compress(xml(report_id="private")), to="alice@example.com")
    wait_until(lambda: len(relay.maildir("alice@example.com")) == mail + 1, 20, "the report")
    assert (len(events(relay, "report.received")), len(events(relay, "report.refused"))) == (before, refused)


def test_what_is_kept_is_shown_without_the_relay_too(tmp_path: Path) -> None:
    with RunningRelay(tmp_path, CONFIG) as running:
        send(running, gzip.compress(xml()))
        wait_until(lambda: len(running.maildir("alice@example.com")) == 1, 20, "the report")
    assert len(listed(running)) == 1, "a clean stop reads what was delivered"
