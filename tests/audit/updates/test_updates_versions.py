"""Which version is older."""

from __future__ import annotations

import itertools
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from postlatch.audit.updates.versions import debian, is_final, older, python, upstream

UPSTREAM = [
    "3.5.22",
    "3.5.23",
    "3.6",
    "3.6.12",
    "3.6.13",
    "3.7.9",
    "3.7.11",
    "3.8.4",
    "3.8.16",
    "3.9.9",
    "3.9.10",
    "3.10.8",
    "3.11",
]
EXIM = [
    "4.90",
    "4.90.1",
    "4.92",
    "4.92.3",
    "4.96",
    "4.96.1",
    "4.97-RC1",
    "4.97",
    "4.97.1",
    "4.98",
    "4.99.1",
    "4.99.2",
    "4.99.10",
]
OTHERS = ["6.4.0p1", "6.6.1", "6.6.1p1", "6.6.2", "6.6.2p1", "7.5.0p0", "8.17.1.9", "8.17.2", "8.18.1"]


@pytest.mark.parametrize("row", [UPSTREAM, EXIM, OTHERS])
def test_releases_are_in_the_order_in_which_they_came(row: list[str]) -> None:
    backwards = row[::-1]
    assert sorted(backwards, key=upstream) == row
    assert all(older(one, other) and not older(other, one) for one, other in itertools.pairwise(row))


def test_a_zero_at_the_end_and_a_snapshot_of_a_release_make_no_newer_one() -> None:
    assert upstream("3.8.0") == upstream("3.8")
    assert upstream("4.96-58-g4e9ed49f8") == upstream("4.96")
    assert older("4.96-58-g4e9ed49f8", "4.96.1")


def test_what_cannot_be_read_is_old() -> None:
    assert older("", "0.0.1")
    assert older("?", "0.1")


PYTHON = [
    *("0.9", "1.0.dev1", "1.0a1.dev1", "1.0a1", "1.0a1.post1", "1.0alpha2", "1.0b1", "1.0.0rc1", "1.0c2", "1.0", "1", "1.0.0"),
    *("1.0.post1.dev1", "1.0.post2", "1.0.1", "1.1", "2024.1", "1!0.5"),
]


@pytest.mark.parametrize(("one", "other"), list(itertools.product(PYTHON, PYTHON)))
def test_python_versions_are_in_the_order_of_pep_440(one: str, other: str) -> None:
    assert (python(one) > python(other)) == (Version(one) > Version(other))
    assert (python(one) == python(other)) == (Version(one) == Version(other))


def test_a_local_version_counts_for_nothing_and_a_pre_release_is_not_for_everybody() -> None:
    assert python("1.0+ubuntu1") == python("1.0")
    assert is_final("1.0.post1")
    assert not any(is_final(text) for text in ("1.0rc1", "2.0a1", "1.0.dev3"))


DEBIAN = [
    *("1:2.3.19.1+dfsg1-2.1+deb12u7", "3.0.19-1~deb12u2", "3.0.20-1~deb12u2", "3.7.9-0+deb12u1", "3.7.11-0+deb12u1"),
    *("2.11.0~beta2-8", "2.11.0-1", "4.96-15+deb12u9", "4.96-15+deb12u10", "1.0a", "1.0+", "1.0", "1.0.", "6.8.0p2-4+b4"),
]


@pytest.mark.real
def test_package_versions_are_in_the_order_of_dpkg() -> None:
    for one, other in itertools.combinations(DEBIAN, 2):
        word = {-1: "lt", 0: "eq", 1: "gt"}[debian(one, other)]
        assert subprocess.run(["dpkg", "--compare-versions", one, word, other], check=False).returncode == 0, (one, word, other)


def test_a_backported_fix_is_newer_than_what_it_mends() -> None:
    assert debian("4.96-15+deb12u9", "4.96-15+deb12u10") == -1
    assert debian("3.0.19-1~deb12u2", "3.0.19-1") == -1
    assert debian("1:1.0-1", "2.0-1") == 1
    assert debian("1.0-1", "1.0-1") == 0


TEXTS = st.one_of(st.text(), st.text(alphabet="0123456789.-+~:abrcdevpost!", max_size=30))


@settings(max_examples=300, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_any_text_has_its_place_in_each_order(one: str, other: str, third: str) -> None:
    assert debian(one, other) == -debian(other, one)
    if debian(one, other) <= 0 and debian(other, third) <= 0:
        assert debian(one, third) <= 0
    assert upstream(one) <= upstream(other) or upstream(other) <= upstream(one)
    assert python(one) == python(one)
    assert sorted([one, other, third], key=python)
