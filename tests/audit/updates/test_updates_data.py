"""The file of known faults, and what it says of a version."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.audit.fingerprint import NAMES, recognise
from postlatch.audit.updates.data import MOST_OCTETS, AdvisoryDataError, Data, bundled, read
from postlatch.audit.updates.server import Package, Server, covers, judge
from postlatch.audit.updates.values import Item, State
from postlatch.audit.updates.versions import older

DATA = bundled()
DAY = 86_400.0
NOON = 1_795_608_000.0  # 2026-11-25T12:00Z


def asked(product: str, version: str, package: Package | None = None) -> Item:
    return judge(Server(product, version, "here", "banner", package), DATA)


def ids(item: Item) -> set[str]:
    return {advisory.id for advisory in item.advisories}


def test_the_bundled_file_keeps_its_own_rules() -> None:
    assert DATA.date >= date(2026, 11, 1)
    names = [entry.id for entry in DATA.entries]
    assert len(names) == len(set(names))
    for entry in DATA.entries:
        assert entry.product in {"", "citadel", "dovecot", "gordano", "imail", *NAMES}
        assert entry.source.startswith("https://")
        assert entry.confirmed or entry.note, f"{entry.id}: say what is not confirmed"
        for one in entry.ranges:
            assert not one.since or older(one.since, one.before or one.through)


SMUGGLING = [
    ("postfix", "3.5.22", True),
    ("postfix", "3.5.23", False),
    ("postfix", "2.11.3", True),
    ("postfix", "3.6.12", True),
    ("postfix", "3.6.13", False),
    ("postfix", "3.7.8", True),
    ("postfix", "3.7.9", False),
    ("postfix", "3.7.11", False),
    ("postfix", "3.8.3", True),
    ("postfix", "3.8.4", False),
    ("postfix", "3.9.0", False),
    ("exim", "4.97", True),
    ("exim", "4.97.1", False),
    ("exim", "4.98", False),
    ("exim", "4.96-58-g4e9ed49f8", True),
    ("sendmail", "8.17.1.9", True),
    ("sendmail", "8.18.1", False),
]
OF = {"postfix": "CVE-2023-51764", "exim": "CVE-2023-51766", "sendmail": "CVE-2023-51765"}


@pytest.mark.parametrize(("product", "version", "affected"), SMUGGLING)
def test_smuggling_is_told_of_each_branch_by_its_own_fix(product: str, version: str, affected: bool) -> None:
    assert (OF[product] in ids(asked(product, version))) is affected


OTHERS = [
    ("postfix", "3.8.15", "CVE-2026-43964", "3.8.16"),
    ("postfix", "3.9.9", "CVE-2026-43964", "3.9.10"),
    ("postfix", "3.10.8", "CVE-2026-43964", "3.10.9"),
    ("postfix", "2.6.8", "CVE-2011-0411", "2.6.9"),
    ("exim", "4.99.2", "CVE-2026-45185", "4.99.3"),
    ("exim", "4.99.1", "CVE-2026-40685", "4.99.2"),
    ("exim", "4.98", "CVE-2025-26794", "4.98.1"),
    ("exim", "4.94.2", "CVE-2021-38371", ""),
    ("exim", "4.91", "CVE-2019-10149", "4.92"),
    ("exim", "4.90", "CVE-2018-6789", "4.90.1"),
    ("opensmtpd", "6.6.1p1", "CVE-2020-7247", "6.6.2"),
    ("maddy", "0.6.2", "CVE-2023-27582", "0.6.3"),
    ("smartermail", "100.0.9413", "CVE-2026-23760", "100.0.9511"),
    ("smartermail", "9413", "CVE-2026-23760", "9511"),
]


@pytest.mark.parametrize(("product", "version", "fault", "fixed"), OTHERS)
def test_a_fault_is_told_with_the_version_that_mends_it_on_this_branch(
    product: str, version: str, fault: str, fixed: str
) -> None:
    item = asked(product, version)
    assert {advisory.id: advisory.fixed for advisory in item.advisories}[fault] == fixed
    assert item.state is State.POSSIBLE


@pytest.mark.parametrize(
    ("product", "version", "fault"),
    [
        ("postfix", "3.8.16", "CVE-2026-43964"),
        ("postfix", "2.8.0", "CVE-2011-0411"),
        ("exim", "4.96", "CVE-2026-45185"),
        ("exim", "4.97", "CVE-2025-26794"),
        ("exim", "4.95", "CVE-2021-38371"),
        ("exim", "4.86", "CVE-2019-10149"),
        ("opensmtpd", "6.3.0", "CVE-2020-7247"),
        ("opensmtpd", "6.6.2p1", "CVE-2020-7247"),
        ("smartermail", "100.0.9511", "CVE-2026-23760"),
        ("smartermail", "9600", "CVE-2026-23760"),
    ],
)
def test_a_fault_is_not_told_of_a_version_before_it_came_or_after_it_was_mended(product: str, version: str, fault: str) -> None:
    assert fault not in ids(asked(product, version))


def test_by_a_banner_alone_a_fault_is_possible_and_the_worst_comes_first() -> None:
    found = recognise("220 mx.example.com ESMTP Exim 4.89")
    item = asked(found.product, found.version)
    assert item.state is State.POSSIBLE
    assert item.advisories[0].severity == "critical"
    assert "apt-get changelog exim4 | grep -E 'CVE-" in item.fix
    assert "Update Exim to 4.99.3 or later" in item.fix


def bookworm(version: str) -> Package:
    return Package("debian", "12", "exim4-base", version)


def test_a_package_is_held_against_the_version_in_which_its_distribution_mended_the_fault() -> None:
    before = asked("exim", "4.96", bookworm("4.96-15+deb12u8"))
    after = asked("exim", "4.96", bookworm("4.96-15+deb12u10"))
    assert before.state is State.VULNERABLE
    assert "CVE-2026-40686" in ids(before)
    assert {advisory.id: advisory.fixed for advisory in before.advisories}["CVE-2026-40686"] == "4.96-15+deb12u9"
    assert "CVE-2026-40686" not in ids(after)
    assert after.state is State.POSSIBLE
    assert "apt-get install --only-upgrade exim4-base" in after.fix


def test_what_another_release_of_a_distribution_mended_counts_for_nothing() -> None:
    elsewhere = Package("debian", "11", "exim4-base", "4.96-15+deb12u10")
    assert "CVE-2026-40686" in ids(asked("exim", "4.96", elsewhere))
    assert asked("exim", "4.96", elsewhere).state is State.POSSIBLE


def test_unconfirmed_facts_are_marked() -> None:
    marks = {advisory.id: advisory.confirmed for advisory in asked("exim", "4.90").advisories}
    assert marks["CVE-2018-6789"] is False
    assert marks["CVE-2019-10149"] is True


def test_a_server_without_a_version_or_a_name_is_unknown() -> None:
    assert asked("postfix", "").state is State.UNKNOWN
    assert "postconf" in asked("postfix", "").fix
    assert asked("", "").state is State.UNKNOWN


def test_a_server_that_the_data_does_not_know_is_not_called_safe() -> None:
    item = asked("haraka", "3.0.3")
    assert item.state is State.CURRENT
    assert "says nothing of its safety" in item.note


def test_data_older_than_ninety_days_is_stale() -> None:
    data = Data(date(2026, 11, 25), ())
    assert [data.stale(NOON + days * DAY) for days in (0, 90, 91)] == [False, False, True]
    assert data.age(NOON - 10 * DAY) == 0


ENTRY = {"product": "exim", "id": "CVE-1", "severity": "low", "summary": "s", "ranges": [{"before": "1"}]}


def file(**changes: Any) -> bytes:
    return json.dumps({"schema": "postlatch.advisories/1", "date": "2026-01-02", "entries": [ENTRY], **changes}).encode()


def test_a_sound_file_is_read_and_its_texts_are_printable() -> None:
    assert read(file()).entries[0].ranges[0].before == "1"
    shown = read(file(entries=[{**ENTRY, "summary": "\x1b[31mred"}])).entries[0].summary
    assert shown == "\\x1b[31mred"


BROKEN = {
    "schema": file(schema="postlatch.advisories/2"),
    "JSON": b"{",
    "nested": b"[" * 200_000,
    "larger": b" " * (MOST_OCTETS + 1),
    '"date"': file(date="yesterday"),
    '"entries"': file(entries={}),
    "not an object": file(entries=[1]),
    '"severity"': file(entries=[{**ENTRY, "severity": "awful"}]),
    '"id"': file(entries=[{**ENTRY, "id": ""}]),
    '"summary"': file(entries=[{**ENTRY, "summary": "x" * 501}]),
    '"ranges"': file(entries=[{**ENTRY, "ranges": [{"before": "1"}] * 51}]),
    "a range needs": file(entries=[{**ENTRY, "ranges": [{"from": "1"}]}]),
    '"fixed"': file(entries=[{**ENTRY, "mended": [{"distribution": "debian", "release": "12", "package": "exim4"}]}]),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_breaks_a_rule_is_refused_and_the_rule_named(what: str) -> None:
    with pytest.raises(AdvisoryDataError, match=what):
        read(BROKEN[what])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*ENTRY, "date", "mended", "from"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON, st.binary(max_size=30))
def test_any_file_is_read_or_refused(value: Any, octets: bytes) -> None:
    for content in (octets, json.dumps(value).encode(), file(entries=value), file(entries=[value]), file(date=value)):
        with suppress(AdvisoryDataError):
            assert isinstance(read(content), Data)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([entry.product for entry in DATA.entries if entry.product]), st.text(max_size=40))
def test_any_version_of_any_product_is_judged(product: str, version: str) -> None:
    item = asked(product, version)
    assert item.state in {State.POSSIBLE, State.UNKNOWN, State.CURRENT}
    for entry in DATA.entries:
        assert entry.product != product or all(isinstance(covers(one, version), bool) for one in entry.ranges)
