"""What strangers are judged by: off unless asked for, and refused where every client would be one of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from postlatch.app.reputation import greylist_rules, replay_limit, stranger_rules, weights
from postlatch.settings.load import load_text
from postlatch.settings.problem import SettingsError
from postlatch.settings.tree import Settings

HEAD = """\
hostname = "mx.example.com"
[[listeners]]
name = "mx"
address = "127.0.0.1:2525"
role = "mx"
[domains."example.com"]
deliver = "maildir:mail"
recipients = ["alice"]
"""
LIST = '[[reputation.lists]]\nzone = "bl.example"\nweight = 5\n'


def loaded(more: str = "") -> Settings:
    return load_text(HEAD + more, Path("/tmp/postlatch.toml"))


def problems(more: str) -> str:
    with pytest.raises(SettingsError) as raised:
        loaded(more)
    return " / ".join(f"{problem.key}: {problem.message}" for problem in raised.value.problems)


def test_nobody_is_judged_or_greylisted_or_deferred_by_default() -> None:
    settings = loaded()
    rules = stranger_rules(settings)
    assert (rules.score, rules.greylist, replay_limit(settings)) == (False, False, None)


def test_without_a_list_the_defaults_refuse_nobody() -> None:
    signs = weights(loaded()).signs
    helo = max(value for name, value in signs.items() if name.startswith("helo_"))
    names = max(signs["no_ptr"], signs["ptr_mismatch"], signs["ptr_dynamic"])
    assert loaded().reputation.refuse is not None
    assert helo + names < (loaded().reputation.refuse or 0)


def test_what_is_written_becomes_rules() -> None:
    settings = loaded(
        '[reputation]\ncheck = true\ngreylist = 4\n[[reputation.lists]]\nzone = "BL.example"\nweight = -5\nkind = "domain"\n'
        'codes = ["127.0.0.2", "127.0.0.4/30"]\n[greylisting]\nenabled = true\ndelay = "1 minute"\n[dkim]\nreplays = "9/hour"\n'
    )
    rules, [one] = stranger_rules(settings), weights(settings).lists
    assert (rules.score, rules.greylist, greylist_rules(settings).least, greylist_rules(settings).delay) == (True, True, 4, 60)
    assert (one.zone, one.weight, one.domains, [str(code) for code in one.codes]) == (
        "bl.example",
        -5,
        True,
        ["127.0.0.2/32", "127.0.0.4/30"],
    )
    limit = replay_limit(settings)
    assert limit is not None
    assert (limit.amount, limit.seconds) == (9, 3600)


def test_the_score_decides_who_is_greylisted_only_where_there_is_one() -> None:
    settings = loaded("[reputation]\ngreylist = 4\n[greylisting]\nenabled = true\n")
    assert greylist_rules(settings).least is None


@pytest.mark.parametrize("table", ["[reputation]\ncheck = true\n", "[greylisting]\nenabled = true\n"])
def test_behind_another_server_of_ours_there_is_nobody_to_judge(table: str) -> None:
    assert "needs authentication.check" in problems(f"[authentication]\ncheck = false\n{table}")


@pytest.mark.parametrize(
    ("more", "key", "why"),
    [
        (LIST + 'codes = ["192.0.2.1"]\n', "reputation.lists[0].codes[0]", "is no answer of a list"),
        (LIST + 'codes = ["126.0.0.0/7"]\n', "reputation.lists[0].codes[0]", "is no answer of a list"),
        (LIST.replace("5", "500"), "reputation.lists[0].weight", ""),
        (LIST * 21, "reputation.lists", ""),
        (LIST.replace("bl.example", "bl example"), "reputation.lists[0].zone", "is no domain"),
    ],
)
def test_what_cannot_be_is_an_error_at_its_place(more: str, key: str, why: str) -> None:
    found = problems(more)
    assert f"{key}: " in found
    assert why in found
