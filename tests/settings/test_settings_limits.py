"""The tables of limits: their kinds, their warnings, and what they say of a value that is none."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from postlatch.app.limit_tables import limit_table
from postlatch.limits.limit import UNLIMITED, parse_limit
from postlatch.settings.limits import AccountLimits, ClientLimits, DefaultRightLimits, LimitSettings, RelayLimits


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"relay": {"bytes": ["5 MB/day"]}}, 'like "500 MiB/day"'),
        ({"relay": {"bytes": ["0 MiB/day"]}}, "out of range"),
        ({"relay": {"bytes": ["1 MiB/day", "2 GiB/day"]}}, "two limits for each day"),
        ({"account": {"messages": ["5 MiB/day"]}}, "is no limit"),
        ({"account": {"domains": ["5/minute"]}}, "only hours and days"),
        ({"account": {"domains": ["10001/day"]}}, "at most 10000"),
        ({"account": {"warn": {"messages": ["5/minute"]}}}, "only hours and days"),
        ({"account": {"warn": {"commands": ["5/day"]}}}, "Extra inputs"),
        ({"account": {"warn_at": 101}}, "less than or equal to 100"),
        ({"account": {"warm_up_share": 0}}, "greater than or equal to 1"),
        ({"relay": {"when_reached": "hold"}}, "Extra inputs"),
        ({"account": {"when_unknown": "accept"}}, "'local' or 'defer'"),
    ],
)
def test_what_is_no_limit_is_an_error_that_says_what_would_be_right(table: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LimitSettings.model_validate(table)
    assert says in str(caught.value)


def test_the_defaults_refuse_as_before_and_warn_earlier() -> None:
    table = limit_table(LimitSettings().account)
    assert {kind: [(limit.text, limit.warn) for limit in limits] for kind, limits in table.items()} == {
        "messages": [("30/minute", 0), ("500/day", 400)],
        "recipients": [("300/hour", 240), ("1000/day", 800)],
        "new_recipients": [("200/day", 100)],
    }
    assert not any(limit.hold or limit.defer for limits in table.values() for limit in limits)
    assert [limit_table(scope) for scope in (RelayLimits(), LimitSettings().network, LimitSettings().sender_domain)] == [
        {},
        {},
        {},
    ]


def test_commands_and_failed_logins_never_warn_and_never_wait_for_the_disk() -> None:
    table = limit_table(ClientLimits(messages=("9/day",), when_unknown="defer"))
    assert {kind: [(limit.warn, limit.defer) for limit in limits] for kind, limits in table.items()} == {
        "messages": [(8, True)],
        "commands": [(0, False)],
        "auth_failures": [(0, False), (0, False)],
    }


def test_a_right_with_limits_of_its_own_warns_and_holds_like_the_others() -> None:
    of_all = DefaultRightLimits.model_validate({"when_reached": "hold", "warn": {"domains": ["3/day"]}})
    table = limit_table(of_all, {"messages": ("10/minute", "10/day")})
    assert [(limit.text, limit.warn, limit.hold) for limit in table["messages"]] == [
        ("10/minute", 0, False),
        ("10/day", 8, True),
    ]
    assert [(limit.amount, limit.warn) for limit in table["domains"]] == [(UNLIMITED, 3)]


def test_every_text_that_the_settings_take_is_one_that_the_limiter_reads() -> None:
    settings = AccountLimits.model_validate({"bytes": ["5MiB/hour", "7 GiB/day"], "domains": ["3/hour"]})
    assert [parse_limit(text).amount for text in settings.bytes or ()] == [5 << 20, 7 << 30]
    with pytest.raises(ValidationError):
        AccountLimits.model_validate({"bytes": ["2000 TiB/day"]})
