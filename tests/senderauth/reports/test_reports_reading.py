"""Reports are read whoever made them, in both formats, however they are packed."""

from __future__ import annotations

import base64
import gzip
import json
from ipaddress import ip_address
from typing import Any

import pytest
from report_samples import NEW, OLD, TLS, TLS_JSON, gzipped, mail, zipped

from postlatch.senderauth.reports import AggregateReport, ReportError, TlsReport, read_report
from postlatch.senderauth.reports.aggregate import parse_aggregate
from postlatch.senderauth.reports.mime import parameterised
from postlatch.senderauth.reports.tlsrpt import parse_tls
from postlatch.senderauth.reports.values import MAX_ROWS, AuthResult


def test_a_report_of_rfc_9990_is_read_with_its_policy_and_rows() -> None:
    report = read_report(mail(gzipped(NEW)))
    assert isinstance(report, AggregateReport)
    assert (report.reporter, report.contact) == ("Sample Reporter", "report_sender@example-reporter.com")
    assert (report.report_id, report.domain) == ("3v98abbp8ya9n3va8yr8oa3ya", "example.com")
    assert (report.begin, report.end) == (302832000, 302918399)
    assert report.policy == {"p": "quarantine", "sp": "none", "np": "none", "testing": "n", "discovery_method": "treewalk"}
    assert report.errors == ("The record has an unknown tag",)
    [row] = report.rows
    assert (row.source, row.messages, row.disposition) == (ip_address("192.0.2.123"), 123, "pass")
    assert (row.dkim, row.spf, row.passed) == (True, False, True)
    assert row.auth == (AuthResult("dkim", "example.com", "pass", "abc123"), AuthResult("spf", "example.com", "fail"))


def test_a_report_of_rfc_7489_is_read_with_reasons_and_several_signatures() -> None:
    report = read_report(mail(zipped(OLD), "application/zip", "google.com!example.com!1706832000!1706918399.zip"))
    assert isinstance(report, AggregateReport)
    assert [row.messages for row in report.rows] == [2, 120]
    good, bad = report.rows
    assert [one.domain for one in good.auth] == ["example.com", "bulk.example.net", "example.com"]
    assert good.auth[2].scope == "mfrom"
    assert (bad.passed, bad.reasons, bad.envelope_from) == (False, ("local_policy: arc=pass",), "other.example")
    assert report.policy["pct"] == "100"


def test_a_tls_report_is_read_policy_by_policy() -> None:
    report = read_report(mail(gzipped(TLS_JSON), "application/tlsrpt+gzip", "x!company-y.example!1!2.json.gz"))
    assert isinstance(report, TlsReport)
    assert (report.reporter, report.begin, report.end) == ("Company-X", 1459468800, 1459555199)
    [policy] = report.policies
    assert (policy.kind, policy.domain, policy.successes, policy.failures) == ("sts", "company-y.example", 5326, 303)
    assert [(one.result, one.sessions) for one in policy.details] == [
        ("certificate-expired", 100),
        ("starttls-not-supported", 200),
        ("validation-failure", 3),
    ]
    assert policy.details[2].information == "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"


@pytest.mark.parametrize(
    ("content", "kind", "name"),
    [
        (gzipped(OLD), "application/gzip", "r.xml.gz"),
        (gzipped(OLD), "application/x-gzip", ""),
        (gzipped(OLD), "application/octet-stream", "r.xml.gz"),
        (gzipped(OLD[:900]) + gzipped(OLD[900:]), "application/gzip", "members.xml.gz"),
        (gzipped(OLD) + b"\0" * 40, "application/gzip", "padded.xml.gz"),
        (zipped(OLD), "application/zip", "r.zip"),
        (zipped(OLD), "application/x-zip-compressed", "r.zip"),
        (zipped(OLD, stored=True), "application/zip", "r.zip"),
        (zipped(OLD), "application/gzip", "it-says-gzip.xml.gz"),
        (OLD, "text/xml", "r.xml"),
        (OLD, "application/xml", ""),
        (b"\xef\xbb\xbf\r\n" + OLD, "text/xml", "marked.xml"),
    ],
)
def test_every_usual_packing_is_understood_by_its_first_octets(content: bytes, kind: str, name: str) -> None:
    report = read_report(mail(content, kind, name))
    assert isinstance(report, AggregateReport)
    assert sum(row.messages for row in report.rows) == 122


def test_a_mail_that_is_nothing_but_the_attachment_is_read() -> None:
    head = b"Subject: Report\nContent-Type: application/zip; name=x.zip\nContent-Transfer-Encoding: base64\n\n"
    report = read_report(head + base64.encodebytes(zipped(OLD)))
    assert isinstance(report, AggregateReport)


def test_the_report_is_found_in_nested_parts() -> None:
    inner = mail(gzipped(OLD), boundary="inner").split(b"MIME-Version: 1.0\r\n", 1)[1]
    outer = b"Content-Type: multipart/mixed; boundary=outer\r\n\r\n--outer\r\n" + inner + b"\r\n--outer--\r\n"
    assert isinstance(read_report(outer), AggregateReport)


def test_a_boundary_that_begins_like_another_is_not_taken_for_it() -> None:
    inner = mail(gzipped(OLD), boundary="b0b0").split(b"MIME-Version: 1.0\r\n", 1)[1]
    outer = b"Content-Type: multipart/mixed; boundary=b0\r\n\r\n--b0\r\n" + inner + b"\r\n--b0--\r\n"
    assert isinstance(read_report(outer), AggregateReport)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_chunks_of_any_size_give_the_same_report(size: int) -> None:
    whole = mail(gzipped(OLD))
    assert read_report(whole[i : i + size] for i in range(0, len(whole), size)) == read_report(whole)


@pytest.mark.parametrize("size", [1, 13, 4096])
def test_xml_in_pieces_of_any_size_gives_the_same_report(size: int) -> None:
    assert parse_aggregate(OLD[i : i + size] for i in range(0, len(OLD), size)) == parse_aggregate([OLD])


def test_an_extension_that_looks_like_a_row_is_none() -> None:
    foreign = b'<x:record xmlns:x="https://x.example"><row><source_ip>192.0.2.1</source_ip><count>9</count></row></x:record>'
    report = parse_aggregate([OLD.replace(b"</feedback>", foreign + b"</feedback>")])
    assert len(report.rows) == 2


def test_rows_that_say_neither_who_nor_how_many_are_counted_as_left_out() -> None:
    broken = OLD.replace(b"192.0.2.7", b"somewhere")
    report = parse_aggregate([broken])
    assert (len(report.rows), report.left_out, report.left_out_messages) == (1, 1, 120)


def test_an_ipv4_address_in_ipv6_form_is_shown_as_ipv4() -> None:
    assert parse_aggregate([OLD.replace(b"2001:db8::7", b"::ffff:192.0.2.9")]).rows[0].source == ip_address("192.0.2.9")


def test_more_rows_than_are_kept_are_counted() -> None:
    head, record = OLD[: OLD.index(b"<record>")], OLD[OLD.rindex(b"<record>") : OLD.rindex(b"</feedback>")]
    report = parse_aggregate([head, *[record] * (MAX_ROWS + 5), b"</feedback>"])
    assert (len(report.rows), report.left_out, report.left_out_messages) == (MAX_ROWS, 5, 600)


def test_what_a_reporter_chose_is_printable_ascii_of_bounded_length() -> None:
    nasty = "\u202e\u001f"[:1] + "\x85evil\tname " + "\u0130" * 3000
    xml = OLD.replace(b"google.com</org_name>", nasty.encode() + b"</org_name>").replace(b"arc=pass", nasty.encode())
    report = parse_aggregate([xml])
    for text in (report.reporter, *report.rows[1].reasons):
        assert text.isascii()
        assert text.isprintable()
        assert len(text) <= 500


def test_a_tls_report_of_several_domains_keeps_them_apart() -> None:
    more = json.loads(TLS_JSON)
    more["policies"].append({"policy": {"policy-type": "tlsa", "policy-domain": "z.example"}, "summary": {}})
    report = parse_tls([json.dumps(more).encode()])
    assert [policy.domain for policy in report.policies] == ["company-y.example", "z.example"]
    assert report.policies[1].successes == report.policies[1].failures == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("total-failure-session-count", -1), ("total-failure-session-count", 1e300), ("total-failure-session-count", True)],
)
def test_a_count_that_is_none_counts_as_none(field: str, value: Any) -> None:
    changed = json.loads(TLS_JSON)
    changed["policies"][0]["summary"][field] = value
    assert parse_tls([json.dumps(changed).encode()]).policies[0].failures == 0


@pytest.mark.parametrize(
    ("xml", "sentence"),
    [
        (OLD.replace(b"feedback", b"feedbock"), "not a DMARC <feedback>"),
        (OLD.replace(b"<begin>1706832000</begin>", b""), "which time it covers"),
        (OLD.replace(b"1706918399", b"1706832"), "which time it covers"),
        (OLD.replace(b"<report_id>5717107811868587391</report_id>", b""), "who made it"),
        (OLD.replace(b"<domain>example.com</domain><adkim>", b"<adkim>"), "which domain it is about"),
        (OLD.replace(b"<domain>example.com</domain><adkim>", b"<domain>not a domain</domain><adkim>"), "is no domain"),
        (OLD[:-30], "not well-formed XML"),
        (OLD.replace(b'encoding="UTF-8"', b'encoding="utf-7"'), "encoding utf-7"),
        ("<feedback/>".encode("utf-16-le"), "UTF-16"),
        (b"", "not well-formed"),
    ],
)
def test_a_broken_aggregate_report_is_refused_with_a_sentence(xml: bytes, sentence: str) -> None:
    with pytest.raises(ReportError, match=sentence):
        parse_aggregate([xml])


def broken_tls(**changes: Any) -> bytes:
    return json.dumps({**TLS, **changes}).encode()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "no JSON object"),
        (broken_tls(policies=[]), "no policies"),
        (broken_tls(policies=[3]), "no JSON object"),
        (broken_tls(policies=[{"policy": {"policy-domain": "-"}}]), "no domain"),
        (broken_tls(policies=[{}] * 1001), "more than 1000 policies"),
        (broken_tls(**{"date-range": {"start-datetime": "yesterday"}}), "which time"),
        (broken_tls(**{"report-id": ""}), "who made it"),
        (b'{"a":' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"a":"\xff"}', "not valid JSON"),
    ],
)
def test_a_broken_tls_report_is_refused_with_a_sentence(data: bytes, sentence: str) -> None:
    with pytest.raises(ReportError, match=sentence):
        parse_tls([data])


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (b"", "no report attached"),
        (b"Subject: hello\r\n\r\nhow are you\r\n", "no report attached"),
        (mail(b"", "application/gzip"), "empty"),
        (mail(b"\x89PNG", "application/gzip"), "neither XML nor JSON"),
        (mail(gzipped(b"hello"), "application/gzip"), "neither XML nor JSON"),
        (mail(gzipped(OLD)[:-12], "application/gzip"), "ends in the middle"),
        (mail(gzipped(OLD)[:40] + b"\0" * 300, "application/gzip"), "damaged"),
        (mail(gzipped(OLD)).replace(b"Encoding: base64", b"Encoding: rot13"), "unknown Content-Transfer-Encoding"),
    ],
)
def test_a_mail_without_a_readable_report_is_refused_with_a_sentence(message: bytes, sentence: str) -> None:
    with pytest.raises(ReportError, match=sentence):
        read_report(message)


@pytest.mark.parametrize(
    ("value", "kind", "parameters"),
    [
        (b'text/xml; name="a;b.xml"; x=1', "text/xml", {"name": "a;b.xml", "x": "1"}),
        (b"Text/XML (comment)", "text/xml", {}),
        (b'attachment; filename*0="a!b"; filename*1=".xml.gz"', "attachment", {"filename": "a!b.xml.gz"}),
        (b"attachment; filename*=us-ascii'en'a.xml.gz", "attachment", {"filename": "a.xml.gz"}),
        (b'x; name="a\\"b"; name=second', "x", {"name": 'a"b'}),
        (b'x; name="open', "x", {"name": "open"}),
    ],
)
def test_parameters_are_read_with_quotes_and_continuations(value: bytes, kind: str, parameters: dict[str, str]) -> None:
    assert parameterised(value) == (kind, parameters)


def test_quoted_printable_xml_is_read() -> None:
    head = b"Content-Type: text/xml\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    report = read_report(head + OLD.replace(b"=", b"=3D"))
    assert isinstance(report, AggregateReport)


def test_gzip_of_the_standard_library_and_ours_agree() -> None:
    assert gzip.decompress(gzipped(OLD)) == OLD
