"""Our TLS reports: what we write is what RFC 8460 asks for, and our own reader reads it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.senderauth.reports.compose import DAY, Metadata
from postlatch.senderauth.reports.tls_compose import (
    Asked,
    UnderPolicy,
    compose_tls,
    read_record,
    tls_file_name,
    tls_report_id,
)
from postlatch.senderauth.reports.tlsrpt import parse_tls
from postlatch.senderauth.reports.values import TlsFailure

META = Metadata("Example GmbH", "postmaster@example.com", "relay.example.com", "Postlatch", 20_454)
FAILURES = (
    TlsFailure("certificate-expired", 3, "192.0.2.1", "mx1.other.example", "198.51.100.2", "certificate has expired"),
    TlsFailure("starttls-not-supported", 1, "", "mx2.other.example", "2001:db8::2"),
)


def under(successes: int, failures: int, details: Sequence[TlsFailure]) -> UnderPolicy:
    return UnderPolicy("no-policy-found", (), (), successes, failures, details)


def test_each_policy_that_was_applied_is_told_with_its_text_and_its_hosts() -> None:
    sts = UnderPolicy("sts", ("version: STSv1", "mode: testing"), ("*.other.example",), 2, 1, FAILURES[:1])
    tlsa = UnderPolicy("tlsa", ("3 1 1 abcdef",), (), 5, 0)
    found = json.loads(gzip.decompress(compose_tls(META, "other.example", [sts, tlsa])))["policies"]
    assert [one["policy"] for one in found] == [
        {
            "policy-type": "sts",
            "policy-string": ["version: STSv1", "mode: testing"],
            "policy-domain": "other.example",
            "mx-host": ["*.other.example"],
        },
        {"policy-type": "tlsa", "policy-string": ["3 1 1 abcdef"], "policy-domain": "other.example"},
    ]
    assert [len(one.get("failure-details", ())) for one in found] == [1, 0]
    report = parse_tls([gzip.decompress(compose_tls(META, "other.example", [sts, tlsa]))])
    assert [(one.kind, one.successes, one.failures) for one in report.policies] == [("sts", 2, 1), ("tlsa", 5, 0)]


def test_the_json_is_that_of_the_rfc() -> None:
    assert json.loads(gzip.decompress(compose_tls(META, "other.example", [under(7, 4, FAILURES)]))) == {
        "organization-name": "Example GmbH",
        "date-range": {"start-datetime": "2026-01-01T00:00:00Z", "end-datetime": "2026-01-01T23:59:59Z"},
        "contact-info": "postmaster@example.com",
        "report-id": tls_report_id(META, "other.example"),
        "policies": [
            {
                "policy": {"policy-type": "no-policy-found", "policy-domain": "other.example"},
                "summary": {"total-successful-session-count": 7, "total-failure-session-count": 4},
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "192.0.2.1",
                        "receiving-mx-hostname": "mx1.other.example",
                        "receiving-ip": "198.51.100.2",
                        "failed-session-count": 3,
                        "failure-reason-code": "certificate has expired",
                    },
                    {
                        "result-type": "starttls-not-supported",
                        "receiving-mx-hostname": "mx2.other.example",
                        "receiving-ip": "2001:db8::2",
                        "failed-session-count": 1,
                    },
                ],
            }
        ],
    }


def test_our_own_reader_reads_it_back() -> None:
    report = parse_tls([gzip.decompress(compose_tls(META, "other.example", [under(7, 4, FAILURES)]))])
    assert (report.reporter, report.contact) == ("Example GmbH", "postmaster@example.com")
    assert (report.begin, report.end, report.report_id) == (
        META.begin,
        META.begin + DAY - 1,
        tls_report_id(META, "other.example"),
    )
    [policy] = report.policies
    assert (policy.kind, policy.domain, policy.successes, policy.failures) == ("no-policy-found", "other.example", 7, 4)
    assert policy.details == FAILURES


def test_a_day_without_failures_has_no_details() -> None:
    content = gzip.decompress(compose_tls(META, "other.example", [under(7, 0, ())]))
    assert b"failure-details" not in content
    assert parse_tls([content]).policies[0].details == ()


@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_stands_in_a_text_stays_one_text(organization: str, reason: str) -> None:
    failure = TlsFailure("validation-failure", 1, information=reason)
    found = json.loads(
        gzip.decompress(compose_tls(META._replace(organization=organization), "other.example", [under(0, 1, [failure])]))
    )
    assert found["organization-name"] == organization
    assert found["policies"][0]["failure-details"][0].get("failure-reason-code", "") == reason


def test_the_file_has_the_name_of_the_rfc_and_the_id_is_that_of_this_day_and_domain_alone() -> None:
    rid = tls_report_id(META, "other.example")
    assert rid.isalnum()
    assert tls_file_name(META, "other.example") == f"relay.example.com!other.example!1767225600!1767311999!{rid}.json.gz"
    assert rid not in {tls_report_id(META, "third.example"), tls_report_id(META._replace(day=20_455), "other.example")}


MAILTO = b"v=TLSRPTv1; rua=mailto:tls@other.example"


@pytest.mark.parametrize(
    ("texts", "asked"),
    [
        ([MAILTO], Asked(("tls@other.example",))),
        ([b"v=TLSRPTv1;rua=mailto:tls@other.example,https://other.example/tls;"], Asked(("tls@other.example",), True)),
        ([b"v=TLSRPTv1; rua=HTTPS://other.example/tls"], Asked((), True)),
        ([b"v=TLSRPTv1; rua=mailto:a@other.example,mailto:b@service.test"], Asked(("a@other.example", "b@service.test"))),
        ([b"v=spf1 -all", MAILTO], Asked(("tls@other.example",))),
        ([MAILTO, MAILTO], Asked()),
        ([b"v=TLSRPTv2; rua=mailto:tls@other.example"], Asked()),
        ([b"rua=mailto:tls@other.example; v=TLSRPTv1"], Asked()),
        ([b"v=TLSRPTv1; rua=mailto:tls@other.example; rua=mailto:tls@other.example"], Asked()),
        ([b"v=TLSRPTv1"], Asked()),
        ([b"v=TLSRPTv1; rua=mailto:tls@[192.0.2.1]"], Asked()),
        ([MAILTO + b"," * 5000], Asked()),
        ([], Asked()),
    ],
)
def test_a_record_asks_for_reports_if_it_is_the_only_one_and_whole(texts: list[bytes], asked: Asked) -> None:
    assert read_record(texts) == asked


@given(st.lists(st.binary(max_size=60).map(lambda tail: b"v=TLSRPTv1;" + tail) | st.binary(max_size=60), max_size=3))
def test_no_record_whatever_its_octets_is_more_than_not_asking(texts: list[bytes]) -> None:
    assert len(read_record(texts).mailboxes) <= 100
