"""MTA-STS without I/O: the record, the policy, and which hosts it names (RFC 8461)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.delivery.mta_sts import MAX_AGE, MAX_POLICY, StsError, StsMode, StsPolicy, matches, read_policy, read_record

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"


@pytest.mark.parametrize(
    ("records", "found"),
    [
        ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        ([b"v=STSv1;id=1"], "1"),
        ([b"v=STSv1 ; other=x; id = abc ;"], "abc"),
        ([b"unrelated", b"v=STSv1; id=1", b"v=spf1 -all"], "1"),
        ([b"v=STSv1; id=1", b"v=STSv1; id=2"], None),
        ([b"v=STSv1; id=1; id=2"], None),
        ([b"v=STSv1; id="], None),
        ([b"v=STSv1;"], None),
        ([b"v=STSv1"], None),
        ([b"v=STSv2; id=1"], None),
        ([b"V=STSv1; id=1"], None),
        ([b"v=STSv1; id=" + b"a" * 33], None),
        ([b"v=STSv1; id=a-b"], None),
        ([b"v=STSv1; id=\xe9"], None),
        ([b" v=STSv1; id=1"], None),
        ([], None),
    ],
)
def test_the_id_is_that_of_the_only_valid_record(records: list[bytes], found: str | None) -> None:
    assert read_record(records) == found


def test_a_policy_is_read_with_either_line_end_and_unknown_fields() -> None:
    wanted = StsPolicy(StsMode.ENFORCE, ("mail.example.com", "*.example.net"), 604_800)
    assert read_policy(POLICY) == wanted
    assert read_policy(POLICY.replace(b"\r\n", b"\n").rstrip()) == wanted
    assert read_policy(POLICY + b"x-more_of.it: anything\r\n\r\n") == wanted
    assert read_policy(POLICY.replace(b": ", b" :\t").replace(b"example.net", b"EXAMPLE.net")) == wanted


def test_of_fields_that_are_given_twice_the_first_holds() -> None:
    assert read_policy(POLICY + b"mode: none\r\nmax_age: 1\r\n").mode is StsMode.ENFORCE


def test_max_age_is_a_year_at_most() -> None:
    assert read_policy(POLICY.replace(b"604800", b"9999999999")).max_age == MAX_AGE


def test_mode_none_needs_no_hosts() -> None:
    assert read_policy(b"version: STSv1\nmode: none\nmax_age: 86400\n") == StsPolicy(StsMode.NONE, (), 86_400)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>not found</html>",
        POLICY.replace(b"STSv1", b"STSv2"),
        POLICY.replace(b"version: STSv1\r\n", b""),
        POLICY.replace(b"enforce", b"enforced"),
        POLICY.replace(b"mode: enforce\r\n", b""),
        POLICY.replace(b"604800", b"-1"),
        POLICY.replace(b"604800", b"12345678901"),
        POLICY.replace(b"604800", "٣".encode()),
        POLICY.replace(b"max_age: 604800\r\n", b""),
        b"version: STSv1\nmode: enforce\nmax_age: 1\n",
        POLICY.replace(b"*.example.net", b"*"),
        POLICY.replace(b"*.example.net", b"*.*.example.net"),
        POLICY.replace(b"*.example.net", b"a.*.example.net"),
        POLICY.replace(b"*.example.net", b"ma*.example.net"),
        POLICY.replace(b"*.example.net", b"192.0.2.1"),
        POLICY + b"no field\r\n",
        POLICY + b"\xff: x\r\n",
        POLICY + b"mx: a.example\r\n" * 200,
        POLICY + b"\n" * 2000,
        POLICY + b"x" * MAX_POLICY,
    ],
)
def test_what_is_no_policy_is_an_error_and_never_a_weaker_policy(body: bytes) -> None:
    with pytest.raises(StsError):
        read_policy(body)


@pytest.mark.parametrize(
    ("pattern", "host", "named"),
    [
        ("mail.example.com", "mail.example.com", True),
        ("mail.example.com", "MAIL.example.com.", True),
        ("mail.example.com", "a.mail.example.com", False),
        ("*.example.com", "mail.example.com", True),
        ("*.example.com", "a.mail.example.com", False),
        ("*.example.com", "example.com", False),
        ("*.example.com", ".example.com", False),
        ("*.example.com", "mailexample.com", False),
        ("*.example.com", "mail.example.com.evil.example", False),
    ],
)
def test_a_wildcard_is_one_whole_label_on_the_left(pattern: str, host: str, named: bool) -> None:
    assert matches(pattern, host) is named


def test_a_policy_is_shown_as_reports_want_it() -> None:
    shown = read_policy(POLICY).lines
    assert shown == ("version: STSv1", "mode: enforce", "mx: mail.example.com", "mx: *.example.net", "max_age: 604800")
    assert read_policy("\n".join(shown).encode()) == read_policy(POLICY)


@given(st.binary(max_size=400))
def test_any_octets_give_a_policy_or_an_error(body: bytes) -> None:
    for text in (body, POLICY + body):
        try:
            policy = read_policy(text)
        except StsError:
            continue
        assert policy.mx or policy.mode is StsMode.NONE
    read_record([body, b"v=STSv1; " + body])
