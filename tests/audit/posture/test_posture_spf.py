"""SPF, seen as a posture: every fault by itself, and what is right beside it."""

from __future__ import annotations

from typing import Any

import pytest
from posture_world import DOMAIN, found, look, with_mail

from postlatch.audit.posture.families.spf import check_spf
from postlatch.audit.posture.families.spf_tree import count_v4
from postlatch.audit.posture.values import Check, State
from postlatch.audit.values import Severity


def spf(record: str | list[str], **names: dict[str, Any]) -> dict[str, Check]:
    zone = with_mail({DOMAIN: {"TXT": record if isinstance(record, list) else [record]}}, names)
    return look(check_spf, zone)


def test_a_record_that_lets_in_its_mail_host_is_good() -> None:
    checks = spf("v=spf1 mx -all")
    assert {name: check.state for name, check in checks.items()} == dict.fromkeys(
        ("spf.record", "spf.all", "spf.lookups", "spf.range", "spf.ptr", "spf.shared"), State.GOOD
    )
    assert checks["spf.lookups"].detail == "1 of 10 look-ups"
    assert checks["spf.range"].detail.startswith("1 IPv4 addresses and 1 IPv6 networks")


@pytest.mark.parametrize(
    ("records", "state", "finding"),
    [
        (["other"], State.ABSENT, "spf.missing"),
        (["v=spf1 -all", "v=spf1 mx -all"], State.BAD, "spf.several"),
        (["v=spf1 ip4:nonsense -all"], State.BAD, "spf.malformed"),
        (["v=spf1 include:nothing.example -all"], State.BAD, "spf.broken-include"),
        (["v=spf1 include:example.com -all"], State.BAD, "spf.broken-include"),
        (["v=spf1 redirect=nothing.example"], State.BAD, "spf.broken-include"),
        (["v=spf1 " + "x" * 65_000], State.BAD, "spf.malformed"),
    ],
)
def test_a_record_of_no_use_is_told_with_its_reason(records: list[str], state: State, finding: str) -> None:
    check = spf(records)["spf.record"]
    assert (check.state, found(check)) == (state, {finding})
    assert all(one.severity is Severity.HIGH for one in check.findings)


def test_a_missing_record_is_given_as_it_is_to_be_published() -> None:
    assert spf("other")["spf.record"].findings[0].fix == 'publish: example.com. TXT "v=spf1 mx -all"'


@pytest.mark.parametrize(
    ("record", "state", "finding"),
    [
        ("v=spf1 +all", State.BAD, "spf.everybody"),
        ("v=spf1 all", State.BAD, "spf.everybody"),
        ("v=spf1 include:all.example -all", State.BAD, "spf.everybody"),
        ("v=spf1 mx ?all", State.BAD, "spf.neutral"),
        ("v=spf1 mx", State.BAD, "spf.neutral"),
    ],
)
def test_a_record_that_does_not_keep_strangers_out_is_bad(record: str, state: State, finding: str) -> None:
    check = spf(record, **{"all.example": {"TXT": ["v=spf1 +all"]}})["spf.all"]
    assert (check.state, found(check)) == (state, {finding})


def test_an_included_all_that_does_not_pass_lets_nobody_in() -> None:
    checks = spf("v=spf1 ?include:all.example -all", **{"all.example": {"TXT": ["v=spf1 +all"]}})
    assert checks["spf.all"].state is State.GOOD


def test_what_stands_behind_all_is_never_looked_at() -> None:
    checks = spf("v=spf1 -all include:nothing.example ip4:0.0.0.0/1")
    assert checks["spf.record"].state is checks["spf.range"].state is State.GOOD
    assert checks["spf.lookups"].detail == "0 of 10 look-ups"


def test_a_redirect_says_what_holds_for_everybody_else() -> None:
    checks = spf("v=spf1 redirect=other.example", **{"other.example": {"TXT": ["v=spf1 a:mx.example.com -all"]}})
    assert checks["spf.record"].state is State.GOOD
    assert checks["spf.lookups"].detail == "2 of 10 look-ups"
    assert checks["spf.all"].state is State.GOOD
    assert checks["spf.all"].detail.startswith("-all")


def test_a_redirect_to_a_record_without_an_end_says_nothing_of_strangers() -> None:
    checks = spf("v=spf1 redirect=other.example", **{"other.example": {"TXT": ["v=spf1 a:mx.example.com"]}})
    assert found(checks["spf.all"]) == {"spf.neutral"}
    assert spf("v=spf1 redirect=slow.example", **{"slow.example": {"TXT": "TIMEOUT"}})["spf.all"].state is State.UNKNOWN


def test_look_ups_are_counted_through_all_includes() -> None:
    inner = {f"i{n}.example": {"TXT": ["v=spf1 a:mx.example.com mx:example.com -all"]} for n in range(4)}
    terms = " ".join(f"include:i{n}.example" for n in range(3))
    assert spf(f"v=spf1 {terms} a:mx.example.com -all", **inner)["spf.lookups"].state is State.GOOD
    check = spf(f"v=spf1 {terms} include:i3.example -all", **inner)["spf.lookups"]
    assert (check.state, found(check)) == (State.BAD, {"spf.lookups"})
    assert "needs 12 DNS look-ups" in check.detail


def test_look_ups_without_end_are_cut_off() -> None:
    names = {f"n{n}.example": {"TXT": [f"v=spf1 include:n{n + 1}.example include:n{n + 2}.example -all"]} for n in range(60)}
    check = spf("v=spf1 include:n0.example -all", **names)["spf.lookups"]
    assert "more than" in check.detail


def test_names_that_are_not_in_the_dns_are_counted() -> None:
    check = spf("v=spf1 a:a.example a:b.example mx:c.example -all")["spf.lookups"]
    assert found(check) == {"spf.voids"}
    check = spf("v=spf1 mx a:a.example -all")["spf.lookups"]
    assert (check.state, found(check)) == (State.WARN, {"spf.void"})


@pytest.mark.parametrize(
    ("record", "state", "finding"),
    [
        ("v=spf1 ip4:10.0.0.0/8 -all", State.BAD, "spf.too-wide"),
        ("v=spf1 ip6:2000::/3 -all", State.BAD, "spf.too-wide"),
        ("v=spf1 a:mx.example.com/8 -all", State.BAD, "spf.too-wide"),
        ("v=spf1 include:wide.example -all", State.BAD, "spf.too-wide"),
        ("v=spf1 ip4:11.0.0.0/12 -all", State.WARN, "spf.wide"),
        ("v=spf1 ip6:2a99::/29 -all", State.WARN, "spf.wide"),
    ],
)
def test_ranges_that_are_too_wide_are_told(record: str, state: State, finding: str) -> None:
    names = {"wide.example": {"TXT": ["v=spf1 ip4:20.0.0.0/9 ip4:30.0.0.0/9 -all"]}}
    check = spf(record, **names)["spf.range"]
    assert (check.state, found(check)) == (state, {finding})


def test_addresses_that_are_named_twice_count_once() -> None:
    check = spf("v=spf1 ip4:11.22.0.0/24 ip4:11.22.0.128/25 ip4:11.22.1.0/24 -all")["spf.range"]
    assert check.detail.startswith("512 IPv4 addresses")
    assert count_v4([]) == 0


def test_ptr_is_to_be_replaced() -> None:
    assert found(spf("v=spf1 ptr -all")["spf.ptr"]) == {"spf.ptr"}


def test_senders_that_strangers_share_are_told() -> None:
    hosting = {"websitewelcome.com": {"TXT": ["v=spf1 ip4:11.22.33.0/24 -all"]}}
    assert found(spf("v=spf1 include:websitewelcome.com -all", **hosting)["spf.shared"]) == {"spf.shared-loose"}
    bulk = {"sendgrid.net": {"TXT": ["v=spf1 ip4:11.22.33.0/24 -all"]}}
    assert spf("v=spf1 include:sendgrid.net -all", **bulk)["spf.shared"].state is State.INFO


def test_mailchannels_is_good_behind_a_lock() -> None:
    relay = {"relay.mailchannels.net": {"TXT": ["v=spf1 ip4:11.22.33.0/24 -all"]}}
    record = "v=spf1 include:relay.mailchannels.net -all"
    assert spf(record, **relay)["spf.shared"].state is State.WARN
    relay[f"_mailchannels.{DOMAIN}"] = {"TXT": ["v=mc1 auth=me"]}
    assert spf(record, **relay)["spf.shared"].state is State.GOOD


def test_no_answer_is_unknown_and_never_good() -> None:
    checks = look(check_spf, with_mail({DOMAIN: {"TXT": "SERVFAIL"}}))
    assert checks["spf.record"].state is State.UNKNOWN
    broken = {"slow.example": {"TXT": "TIMEOUT"}}
    checks = spf("v=spf1 include:slow.example -all", **broken)
    unknown = {name for name, check in checks.items() if check.state is State.UNKNOWN}
    assert unknown == {"spf.record", "spf.lookups", "spf.range", "spf.ptr", "spf.shared"}
