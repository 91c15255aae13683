"""Names under which anybody can have a domain."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from publicsuffixlist import PSLFILE, PublicSuffixList

from postlatch.app.public_suffix import is_public_suffix

WHOLE = PublicSuffixList()


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("com", True),
        ("co.uk", True),
        ("example.com", False),
        ("example.co.uk", False),
        ("anything.ck", True),  # *.ck
        ("www.ck", False),  # !www.ck
        ("xn--55qx5d.cn", True),  # a rule in other letters
        ("xn--p1ai", True),
        ("unknown-everywhere", True),
        ("example.unknown-everywhere", False),
        ("github.io", True),
    ],
)
def test_a_name_is_one_or_not(domain: str, expected: bool) -> None:
    assert is_public_suffix(domain) is expected


def test_every_rule_says_the_same_as_by_the_whole_list() -> None:
    rules = [line.split()[0].lower() for line in Path(PSLFILE).read_text("utf-8").splitlines() if line and line[:2] != "//"]
    names = {name.encode("idna").decode() for rule in rules[::7] for name in (rule.lstrip("!").replace("*", "any"),)}
    assert len(names) > 1000
    for name, other in pairwise(sorted(names)):
        for asked in (name, f"mail.{name}", f"{other.split('.')[0]}.{name}"):
            assert is_public_suffix(asked) is (WHOLE.publicsuffix(asked) == asked), asked
