"""What the benchmarks make of their figures: medians, ratios, aims, tables, pages, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from xml.etree import ElementTree as ET

import pytest

from bench.figures import Aim, Plan, Row
from bench.report import as_json, as_markdown, as_text, number, put_between_markers, rows_of
from plot import draw

MACHINE = {"cores": 2, "processor": "a <processor>", "load_average_before": [0.5], "versions": {"postfix": "3.7.11"}}


def rate(ours: list[float], theirs: list[float], aim: Aim | None) -> Row:
    return Row("relayed", "Relayed & counted", "messages/s", aim, {"postlatch": ours, "postfix": theirs})


def test_a_ratio_is_that_of_the_medians() -> None:
    row = rate([90.0, 400.0, 500.0], [100.0, 90.0, 1.0], Aim(4))
    assert row.ratio() == pytest.approx(400 / 90)
    assert row.reached() is True


@pytest.mark.parametrize(
    ("aim", "ours", "reached"),
    [
        (Aim(5), 499.0, False),
        (Aim(5), 500.0, True),
        (Aim(1.5, least=False), 150.0, True),
        (Aim(1.5, least=False), 151.0, False),
        (Aim(50, ratio=False, least=False), 50.0, True),
        (Aim(50, ratio=False, least=False), 51.0, False),
        (None, 1.0, None),
    ],
)
def test_an_aim_is_reached_at_its_bound_and_not_beyond(aim: Aim | None, ours: float, reached: bool | None) -> None:
    assert rate([ours], [100.0], aim).reached() is reached


def test_an_aim_without_figures_is_missed() -> None:
    assert rate([1.0], [], Aim(1)).reached() is False


@pytest.mark.parametrize("aim", [Aim(5), Aim(1.5, least=False), Aim(6, ratio=False, least=False), None])
def test_an_aim_is_read_back_as_it_was_written(aim: Aim | None) -> None:
    assert Aim.parse(None if aim is None else str(aim)) == aim


def test_servers_take_turns_in_changing_order_and_the_warm_up_does_not_count() -> None:
    order: list[str] = []

    def turn(server: str) -> Mapping[str, float]:
        order.append(server)
        return {"relayed": float(len(order))}

    row = Row("relayed", "Relayed", "messages/s")
    Plan(rounds=2).take_turns({name: partial(turn, name) for name in ("postlatch", "postfix")}, {"relayed": row})
    assert order == ["postfix", "postlatch", "postlatch", "postfix", "postfix", "postlatch"]
    assert row.values == {"postlatch": [3.0, 6.0], "postfix": [4.0, 5.0]}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.1234, "0.123"), (19.26, "19.3"), (193.4, "193"), (1934.0, "1,930"), (22_049.0, "22,000")],
)
def test_numbers_have_three_digits_that_count(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_report_says_the_same_after_a_journey_through_json() -> None:
    row = rate([500.0], [100.0], Aim(5))
    row.absent["haraka"] = "it was not installed"
    report = json.loads(json.dumps(as_json([row], MACHINE, Plan(rounds=1))))
    assert report["schema"] == "postlatch.benchmark/1"
    assert as_markdown(rows_of(report), MACHINE, Plan(rounds=1)) == as_markdown([row], MACHINE, Plan(rounds=1))
    assert "Haraka is not in it: it was not installed." in as_text(rows_of(report), MACHINE, Plan(rounds=1))


def test_a_table_takes_the_place_of_the_old_one_and_the_heading_stays() -> None:
    page = "before\n<!-- benchmark -->\n## How fast\n\nold\n<!-- /benchmark -->\nafter\n"
    wanted = "before\n<!-- benchmark -->\n## How fast\n\nnew\n<!-- /benchmark -->\nafter\n"
    assert put_between_markers(page, "new") == wanted
    assert put_between_markers(wanted, "new") == wanted


@pytest.mark.parametrize("page", ["", "<!-- benchmark -->", "<!-- /benchmark --> <!-- benchmark -->"])
def test_a_page_without_its_markers_is_not_touched(page: str) -> None:
    with pytest.raises(ValueError, match="needs <!-- benchmark -->"):
        put_between_markers(page, "new")


def test_the_picture_is_well_formed_and_shows_missed_aims_as_such() -> None:
    rows = [rate([500.0], [100.0], Aim(5)), rate([150.0], [100.0], Aim(4)), rate([1.0], [1.0], None)]
    picture = ET.fromstring(draw(as_json(rows, MACHINE, Plan(rounds=1))))
    bars = [node.get("class") for node in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert bars == ["card", "good", "short"]
    texts = [node.text for node in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "Relayed & counted" in texts
    assert "5.0 \u00d7" in texts


def test_a_report_without_a_comparison_is_not_drawn() -> None:
    with pytest.raises(ValueError, match="compares"):
        draw(as_json([rate([1.0], [], None)], MACHINE, Plan()))
