"""DMARC records: what RFC 9989 sections 4.7 and 4.8 let pass, what they ignore, and what is no record."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.senderauth.dmarc.parse import MAX_REPORT_ADDRESSES, Record, is_record, parse_record, report_addresses
from postlatch.senderauth.results import Disposition

NONE, QUARANTINE, REJECT = Disposition.NONE, Disposition.QUARANTINE, Disposition.REJECT


def parsed(text: str) -> Record:
    record = parse_record([text.encode("utf-8", "surrogateescape")])
    assert record is not None
    return record


@pytest.mark.parametrize(
    "text",
    [
        "v=DMARC1",
        "v=DMARC1;",
        "v=DMARC1; p=none",
        "V = DMARC1 ;p=none",
        "v\t=\tDMARC1\t;\tp=none",
        "v=DMARC1;;;p=none",
        "v=DMARC1; p=none; \xff=\x00",
    ],
)
def test_a_text_that_begins_with_the_version_is_a_record(text: str) -> None:
    assert parse_record([text.encode("utf-8")]) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v",
        "v=",
        "v=dmarc1; p=none",
        "v=DMARC2; p=none",
        "v=DMARC1p=none",
        "v=DMARC1 p=none",
        "v=DMARC1, p=none",
        "v=DMARC11; p=none",
        "p=none; v=DMARC1",
        " v=DMARC1; p=none",
        ";v=DMARC1",
        '"v=DMARC1; p=none"',
        "v=spf1 -all",
        "v=DMARC1\n; p=none",
        "v=DMARC1\n",
    ],
)
def test_what_does_not_begin_with_exactly_the_version_is_no_record(text: str) -> None:
    assert parse_record([text.encode()]) is None


def test_two_records_are_none_but_other_texts_beside_one_do_not_matter() -> None:
    good = b"v=DMARC1; p=reject"
    assert parse_record([good, good]) is None
    assert parse_record([good, b"v=DMARC1; p=none"]) is None
    assert parse_record([b"v=spf1 -all", good, b"\xff", b""]) == Record(p=REJECT)
    assert parse_record([]) is None


def test_every_tag_is_read() -> None:
    text = (
        "v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; aspf=S; t=y; psd=n; fo=1:d:s; ruf=mailto:f@example.com; "
        "rua=mailto:a@example.com, mailto:b@example.org!10m"
    )
    assert parsed(text) == Record(
        p=REJECT,
        sp=QUARANTINE,
        np=NONE,
        usable=True,
        testing=True,
        psd="n",
        strict_dkim=True,
        strict_spf=True,
        fo="1:d:s",
        rua=("a@example.com", "b@example.org"),
    )


def test_names_and_keywords_compare_without_case_and_white_space_around_them_does_not_count() -> None:
    assert parsed("v=DMARC1;\tP =\tReJeCt ; ADKIM= s;T=Y").p is REJECT
    assert parsed("v=DMARC1;\tP =\tReJeCt ; ADKIM= s;T=Y").strict_dkim


@pytest.mark.parametrize(
    "tags",
    [
        "adkim=x",
        "adkim=ss",
        "aspf=",
        "t=yes",
        "t=yn",
        "psd=x",
        "psd=yn",
        "fo=2",
        "unknown=1",
        "pct=50",
        "ri=1; rf=afrf",
        "=",
        "x",
    ],
)
def test_a_faulty_or_unknown_tag_counts_for_nothing(tags: str) -> None:
    assert parsed(f"v=DMARC1; p=reject; {tags}") == Record(p=REJECT)


@pytest.mark.parametrize(
    "text", ["p=reject; p=none", "p=reject; sp=none; sp=reject", "p=reject\x00", "p=reje ct", "p=r\u00e9ject"]
)
def test_a_policy_that_is_there_twice_or_spoilt_is_not_believed(text: str) -> None:
    assert not parsed(f"v=DMARC1; {text}").usable
    record = parsed(f"v=DMARC1; {text}; rua=mailto:a@example.com")
    assert record.usable
    assert (record.p, record.sp, record.np) == (NONE, None, None)


@pytest.mark.parametrize("text", ["", "p=", "p=block", "p=reject; sp=block", "p=reject; np=x", "sp=reject"])
def test_without_a_valid_policy_an_address_for_reports_makes_it_p_none(text: str) -> None:
    assert not parsed(f"v=DMARC1; {text}").usable
    assert not parsed(f"v=DMARC1; {text}; rua=nonsense").usable
    assert not parsed(f"v=DMARC1; {text}; rua=mailto:nonsense").usable
    assert parsed(f"v=DMARC1; {text}; rua=mailto:a@example.com") == Record(rua=("a@example.com",))
    assert parsed(f"v=DMARC1; {text}; rua=https://example.com/r") == Record()


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("fo=1; ruf=mailto:f@x.example", "1"),
        ("fo=d:s:1; ruf=mailto:f@x.example", "d:s:1"),
        ("fo=D; ruf=mailto:f@x.example", "d"),
        ("fo=1", "0"),
        ("fo=0:1; ruf=mailto:f@x.example", "0"),
        ("fo=d:d; ruf=mailto:f@x.example", "0"),
        ("fo=x; ruf=mailto:f@x.example", "0"),
    ],
)
def test_failure_options_count_only_where_failure_reports_are_asked_for(tags: str, expected: str) -> None:
    assert parsed(f"v=DMARC1; p=none; {tags}").fo == expected


def test_subdomains_have_sp_and_names_that_do_not_exist_np_where_these_are_there() -> None:
    both = parsed("v=DMARC1; p=none; sp=quarantine; np=reject")
    assert both.policy_for_subdomain(exists=True) is QUARANTINE
    assert both.policy_for_subdomain(exists=False) is REJECT
    only_np = parsed("v=DMARC1; p=quarantine; np=reject")
    assert only_np.policy_for_subdomain(exists=True) is QUARANTINE
    assert only_np.policy_for_subdomain(exists=False) is REJECT
    only_sp = parsed("v=DMARC1; p=reject; sp=none")
    assert only_sp.policy_for_subdomain(exists=False) is NONE
    assert parsed("v=DMARC1; p=reject").policy_for_subdomain(exists=False) is REJECT


@pytest.mark.parametrize(
    ("value", "mailboxes"),
    [
        ("mailto:a@example.com", ("a@example.com",)),
        ("MAILTO:a@example.com!10M", ("a@example.com",)),
        ("mailto:a%2Bb@example.com", ("a+b@example.com",)),
        ("mailto:a@example.com?subject=x&bcc=victim@example.org", ("a@example.com",)),
        ("mailto:a@example.com,mailto:a@example.com", ("a@example.com",)),
        ("http://example.com/,mailto:a@example.com", ("a@example.com",)),
        ("mailto:a@example.com%2Cvictim@example.org", ()),
        ("mailto:a@example.com%0D%0ABcc:x@example.org", ()),
        ("mailto:a@[192.0.2.1]", ()),
        ("mailto:a@localhost..", ()),
        ("mailto:", ()),
        ("a@example.com", ()),
        ("mailto: a@example.com", ()),
        ("mailto:%FF@example.com", ()),
    ],
)
def test_report_addresses_are_single_mailboxes(value: str, mailboxes: tuple[str, ...]) -> None:
    assert report_addresses(value)[0] == mailboxes


def test_a_record_names_at_most_ten_addresses() -> None:
    value = ",".join(f"mailto:a{i}@example.com" for i in range(500))
    assert len(parsed(f"v=DMARC1; p=none; rua={value}").rua) == MAX_REPORT_ADDRESSES


TAGS = st.sampled_from(["p", "sp", "np", "t", "psd", "adkim", "aspf", "fo", "rua", "ruf", "v", "", "p ", "\tP", "x1", "\u212a"])
VALUES = st.one_of(
    st.sampled_from(["none", "reject", "y", "n", "s", "r", "0:d", "mailto:a@example.com!1k", "https://x.example", "", " "]),
    st.text(max_size=12),
)


@given(st.lists(st.tuples(TAGS, st.sampled_from(["=", " = ", "", "=="]), VALUES), max_size=12))
@settings(deadline=None)
def test_any_tags_behind_the_version_are_a_record_with_values_that_exist(parts: list[tuple[str, str, str]]) -> None:
    text = "v=DMARC1;" + ";".join(a + b + c for a, b, c in parts)
    record = parsed(text.encode("utf-8", "replace").decode())
    assert record.psd in {"y", "n", "u"}
    assert all(address.isascii() and address.isprintable() and "@" in address for address in record.rua)
    assert set(record.fo) <= set("01ds:")


@given(st.lists(st.binary(max_size=60), max_size=4))
@settings(deadline=None)
def test_any_octets_are_a_record_or_none(texts: list[bytes]) -> None:
    record = parse_record(texts)
    assert (record is not None) == (sum(map(is_record, texts)) == 1)
