"""The automata of table patterns against Python's engine, and texts that match one pattern and none of others."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.audit.lint.postfix import witness
from postlatch.audit.lint.postfix.pattern import Pattern, PatternError

# Well-formed by construction.
ATOMS = st.sampled_from(["a", "b", "ab", ".", "[ab]", "[^a]", "\\.", "\\d", "\\b", "^", "$", "[a-z]"])
SOURCES = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "*?"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}|{pair[1]})"),
    ),
    max_leaves=6,
)
TEXTS = st.lists(st.sampled_from(["a", "b", ".", "1", "@", "A"]), max_size=7).map("".join)


def _compiled(source: str) -> tuple[Pattern, re.Pattern[str]]:
    return Pattern(source), re.compile(source, re.IGNORECASE | re.DOTALL)


@settings(max_examples=300, deadline=None)
@given(SOURCES, TEXTS)
def test_a_pattern_matches_what_it_matches_elsewhere(source: str, text: str) -> None:
    ours, theirs = _compiled(source)
    assert ours.matches(text) == bool(theirs.search(text))


@settings(max_examples=100, deadline=None)
@given(SOURCES, SOURCES)
def test_a_text_that_is_found_matches_what_it_should_and_nothing_else(wanted: str, unwanted: str) -> None:
    one, theirs = _compiled(wanted)
    other, others = _compiled(unwanted)
    try:
        text = witness.find([witness.SENDER, one], [other])
    except witness.Undecided:
        return
    if text is not None:
        assert theirs.search(text)
        assert not others.search(text)
        assert "@" in text


@pytest.mark.parametrize("source", ["(", ")", "[a", "a**{", "\\", "(?=a)", "\\1", "a{999}", "(" * 60 + ")" * 60, "x" * 3000])
def test_a_malformed_or_too_clever_pattern_is_refused_or_understood(source: str) -> None:
    try:
        assert Pattern(source).matches("aaaa") in {True, False}
    except PatternError:
        return


def test_there_is_no_text_for_what_contradicts_itself() -> None:
    assert witness.find([witness.HELO, Pattern("^a$")], [Pattern("a")]) is None


def test_matching_is_linear() -> None:
    assert not Pattern("(a+)+$").matches("a" * 20_000 + "b")
