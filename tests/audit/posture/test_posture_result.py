"""The grade, what comes first, the data and the text of it; and that no answer of the DNS makes an exception."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posture_world import DOMAIN, World, tools, with_mail

from postlatch.app.posture import servers, status_of
from postlatch.audit.posture.grade import first, grade
from postlatch.audit.posture.run import FAMILIES, PostureResult, as_data, examine
from postlatch.audit.posture.subject import Request
from postlatch.audit.posture.values import Check, State, fault, judged, several, unknown
from postlatch.audit.values import Severity
from postlatch.cli.posture import POSTURE, POSTURE_ROWS
from postlatch.cli.render.posture import posture as render
from postlatch.cli.text import Line
from postlatch.testing.dns import Zone

CORE = tuple(judged(name, name, "as it should be", []) for name in ("spf.record", "dmarc.record", "mx.exists"))
BEST = tuple(
    judged(name, name, "as it should be", [])
    for name in (
        *("spf.all", "spf.lookups", "spf.range", "dkim.keys", "dmarc.policy", "dmarc.subdomains", "dnssec.domain"),
        *("tls.offered", "tls.versions", "tls.ciphers", "tls.expiry", "dane.match"),
    )
)


def faulty(*severities: Severity) -> Check:
    return judged("x", "X", "", [fault(f"x.{n}", one, "message", "why", "fix") for n, one in enumerate(severities)])


@pytest.mark.parametrize(
    ("checks", "letter"),
    [
        ((*CORE, *BEST), "A+"),
        (CORE, "A"),
        ((*CORE, *BEST[:-1]), "A"),
        ((*CORE, *BEST[:-1], judged("dane.match", "", "not seen", [], seen=False)), "A"),
        ((*CORE, *BEST, faulty(Severity.LOW, Severity.INFO)), "A+"),
        ((*CORE, *BEST, faulty(Severity.MEDIUM)), "B"),
        ((*CORE, faulty(*[Severity.MEDIUM] * 2)), "B"),
        ((*CORE, faulty(*[Severity.MEDIUM] * 3)), "C"),
        ((*CORE, faulty(Severity.HIGH)), "D"),
        ((*CORE, faulty(*[Severity.HIGH] * 4)), "F"),
        ((*CORE, faulty(Severity.CRITICAL)), "F"),
        ((*CORE[:2], unknown("mx.exists", "", "no answer")), "?"),
        (CORE[:2], "?"),
        ((*CORE[:2], faulty(Severity.HIGH)), "D"),
    ],
)
def test_the_grade_follows_its_rule(checks: tuple[Check, ...], letter: str) -> None:
    assert grade(checks) == letter


def test_the_same_fault_at_many_places_counts_once() -> None:
    many = judged("x", "X", "", [fault("x.1", Severity.MEDIUM, f"at {n}", "why", "fix") for n in range(5)])
    assert grade((*CORE, many)) == "B"
    assert len(first((many,))) == 1


def test_the_worst_comes_first_and_what_is_only_worth_knowing_never() -> None:
    wanted = first((faulty(Severity.INFO, Severity.LOW, Severity.HIGH, Severity.MEDIUM, Severity.CRITICAL),))
    assert [one.severity for one in wanted] == [Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM, Severity.LOW]


def test_what_was_not_seen_is_never_good() -> None:
    assert judged("x", "X", "not seen", [], seen=False).state is State.UNKNOWN
    assert judged("x", "X", "", [fault("x", Severity.INFO, "m", "w", "f")], seen=False).state is State.UNKNOWN
    assert judged("x", "X", "", [fault("x", Severity.HIGH, "m", "w", "f")], seen=False).state is State.BAD


@pytest.mark.parametrize(
    ("checks", "looked_up", "status"),
    [(CORE, True, 0), ((faulty(Severity.LOW),), True, 0), ((faulty(Severity.MEDIUM),), True, 1), ((), False, 3)],
)
def test_the_status_is_bad_news_from_medium_on(checks: tuple[Check, ...], looked_up: bool, status: int) -> None:
    assert status_of(PostureResult(DOMAIN, "A", checks, (), 0.1, looked_up)) == status


def test_the_text_has_the_grade_each_check_and_what_to_fix_first() -> None:
    checks = (*CORE, faulty(Severity.HIGH))
    data = as_data(PostureResult(DOMAIN, "D", checks, first(checks), 0.1))
    lines = [block.text for block in render(data) if isinstance(block, Line)]
    assert lines[0] == "example.com: D"
    assert "BAD      X: message [x]" in lines
    assert "    high: why" in lines
    assert "    change: fix" in lines
    assert "  1. fix [x.0]" in lines
    assert [block.text for block in render({"lines": ["<html>"]}) if isinstance(block, Line)] == ["<html>"]


def test_the_command_names_every_field_of_its_result() -> None:
    data = as_data(PostureResult(DOMAIN, "D", (faulty(Severity.HIGH),), first((faulty(Severity.HIGH),)), 0.1))
    assert {*data, "lines"} == set(POSTURE.result)  # the lines come with --format
    assert set(data["checks"][0]) == set(POSTURE_ROWS["checks"])
    assert set(data["first"][0]) == set(data["checks"][0]["findings"][0]) == set(POSTURE_ROWS["first"])


def test_the_name_server_that_was_named_is_asked() -> None:
    assert servers({"resolver": "127.0.0.1:5353"}, None) == ("127.0.0.1:5353",)


def test_a_long_list_is_cut_with_its_count() -> None:
    assert several(map(str, range(7)), 3) == "0, 1, 2 and 4 more"


# Any bytes in


def examined(zone: Zone) -> PostureResult:
    return asyncio.run(examine(Request(DOMAIN, dnsbl=("bl.example",)), tools(World(zone)), 20.0))


def assert_sound(result: PostureResult) -> None:
    assert not [check for check in result.checks if check.id.endswith((".failed", ".time"))]
    for check in result.checks:
        texts = [check.detail, *(text for one in check.findings for text in one[2:5])]
        assert all(len(text) <= 500 and text.isascii() and text.isprintable() for text in texts)


_HEADS = ("", "v=spf1 ", "v=DMARC1; ", "v=DKIM1; p=", "v=STSv1; ", "v=TLSRPTv1; ", "v=BIMI1; ", "3 1 1 ", '0 issue "')
_NAMES = (
    *(DOMAIN, f"_dmarc.{DOMAIN}", f"mail._domainkey.{DOMAIN}", f"_domainkey.{DOMAIN}", f"_mta-sts.{DOMAIN}"),
    *(f"_smtp._tls.{DOMAIN}", f"default._bimi.{DOMAIN}", f"_25._tcp.mx.{DOMAIN}", "include.example"),
)
_TEXTS = st.lists(st.builds(str.__add__, st.sampled_from(_HEADS), st.text(max_size=60)), max_size=3)
_SPF = st.lists(
    st.sampled_from(
        ["include:include.example", "a", "mx", "ptr", "?all", "ip4:1.2.3.4/0", "exists:%{i}.x.y", "redirect=example.com"]
    ),
    max_size=5,
).map(lambda terms: f"v=spf1 {' '.join(terms)}")


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(_NAMES), st.tuples(_TEXTS, _TEXTS, _SPF), max_size=9))
def test_any_records_make_a_result(records: dict[str, tuple[list[str], list[str], str]]) -> None:
    zone: dict[str, Any] = {
        name: {"TXT": [*texts, spf], "CAA": others, "TLSA": others, "SRV": others, "CNAME": "SERVFAIL"}
        for name, (texts, others, spf) in records.items()
    }
    for types in zone.values():
        del types["CNAME"]
    result = examined(with_mail(zone))
    assert_sound(result)


@pytest.mark.parametrize("head", _HEADS)
@pytest.mark.parametrize("piece", [";", "\u2028", "include:include.example ", "rua=mailto:a@b.example,"])
def test_records_of_64_kilobytes_make_a_result_at_once(head: str, piece: str) -> None:
    text = (head + piece * 65_535)[:65_535]
    result = examined(with_mail({name: {"TXT": [text], "CAA": [text], "TLSA": [text]} for name in _NAMES}))
    assert_sound(result)
    assert result.seconds == 0.0  # of the fake clock: nothing waited


@pytest.mark.parametrize("failure", ["SERVFAIL", "TIMEOUT"])
def test_a_dns_that_fails_makes_everything_unknown(failure: str) -> None:
    kinds = ("MX", "TXT", "A", "AAAA", "SOA", "CAA", "TLSA")
    zone = {name: dict.fromkeys(kinds, failure) for name in (*_NAMES, f"mx.{DOMAIN}", "")}
    result = examined(zone)
    states = {check.id: check.state for check in result.checks}
    assert not result.looked_up
    assert State.GOOD not in states.values()
    assert State.BAD not in states.values()
    assert {name.partition(".")[0] for name in states} == set(FAMILIES)
