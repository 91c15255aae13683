"""What changed between two results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from postlatch.app.audit_history import compare as compare_files
from postlatch.audit.history.compare import Comparison, compare
from postlatch.audit.history.drift import drift
from postlatch.audit.history.seen import HistoryError, Result, read, result
from postlatch.cli.audit_history import AUDIT_HISTORY_ROWS, COMPARE
from postlatch.cli.render import audit_history
from postlatch.cli.text import Line

PLACE = "192.0.2.25:25"
FINDING = {"id": "audit.vrfy", "severity": "low", "title": f"VRFY says too much, at {PLACE}"}


def target(verdict: str = "closed", grade: str = "A", name: str = "mx.example.com", **more: Any) -> dict[str, Any]:
    """A member of targets."""
    vectors = [{"id": "A01", "place": PLACE, "stand": "held"}, {"id": "B02", "place": PLACE, "stand": "held"}]
    row = {"target": name, "verdict": verdict, "grade": grade, "places": [PLACE], "findings": [], "vectors": vectors}
    return {**row, **more}


def a_result(*targets: dict[str, Any], **more: Any) -> Result:
    """As read from a file."""
    return result({"schema": "postlatch.audit/1", "targets": list(targets), **more})


def between(before: dict[str, Any], after: dict[str, Any]) -> Comparison:
    """Of one target."""
    return compare(a_result(before), a_result(after))


def answers(*stands: tuple[str, str], place: str = PLACE) -> list[dict[str, str]]:
    """Vectors."""
    return [{"id": name, "place": place, "stand": stand} for name, stand in stands]


def test_two_equal_results_have_no_differences() -> None:
    found = between(target(findings=[FINDING]), target(findings=[FINDING]))
    assert (found.worse, found.better, found.new, found.gone, found.unsure) == ([], [], [], [], [])
    assert found.same == 4  # verdict, finding, two questions


def test_a_server_that_opens_is_worse() -> None:
    found = between(target(), target("open", "F"))
    assert [change.what for change in found.worse] == ["verdict", "grade"]
    assert found.worse[0].sentence == "mx.example.com was closed and is an open relay now."
    assert not found.better


def test_a_server_that_closes_is_better() -> None:
    found = between(target("open", "F"), target())
    assert [change.what for change in found.better] == ["verdict", "grade"]
    assert not found.worse


@pytest.mark.parametrize("before", ["closed", "open", "spoofable"])
def test_silence_is_neither_better_nor_worse(before: str) -> None:
    found = between(target(before, "F", findings=[FINDING]), target("inconclusive", "-", vectors=[]))
    assert not found.better
    assert not found.worse
    assert found.undecided
    assert {change.what for change in found.unsure} == {"verdict", "finding"}


def test_what_ends_an_inconclusive_time_counts() -> None:
    assert between(target("inconclusive", "-"), target("open", "F")).worse
    assert between(target("inconclusive", "-"), target()).better


def test_a_finding_that_is_new_is_worse_and_one_that_went_is_better() -> None:
    new, gone = between(target(), target(findings=[FINDING])), between(target(findings=[FINDING]), target())
    assert [(change.id, change.place, change.after) for change in new.worse] == [("audit.vrfy", PLACE, "low")]
    assert [(change.id, change.before) for change in gone.better] == [("audit.vrfy", "low")]
    assert not new.better
    assert not gone.worse


def test_a_finding_is_known_again_though_its_words_changed() -> None:
    other = {**FINDING, "title": f"VRFY says too much of nobody-77, at {PLACE}"}
    assert between(target(findings=[FINDING]), target(findings=[other])).same == 4


def test_the_same_finding_at_another_place_is_another() -> None:
    both = [PLACE, f"{PLACE} after STARTTLS"]
    moved = {**FINDING, "title": f"VRFY says too much, at {both[1]}"}
    found = between(target(findings=[FINDING], places=both), target(findings=[moved], places=both))
    assert [change.place for change in found.worse] == [both[1]]
    assert [change.place for change in found.better] == [PLACE]


def test_a_finding_where_nobody_looked_is_not_better() -> None:
    elsewhere = "[2001:db8::25]:25"
    found = between(target(findings=[FINDING]), target(places=[elsewhere], vectors=answers(("A01", "held"), place=elsewhere)))
    assert not found.better
    assert [change.id for change in found.unsure] == ["audit.vrfy"]
    assert [change.place for change in found.new] == [elsewhere]
    assert [change.place for change in found.gone] == [PLACE]


def test_a_finding_can_become_more_severe() -> None:
    worse = {**FINDING, "severity": "high"}
    assert between(target(findings=[FINDING]), target(findings=[worse])).worse[0].after == "high"
    assert between(target(findings=[worse]), target(findings=[FINDING])).better[0].before == "high"


@pytest.mark.parametrize(
    ("was", "now", "way"),
    [
        ("held", "taken", "worse"),
        ("held", "broke", "worse"),
        ("absent", "taken", "worse"),
        ("undecided", "broke", "worse"),
        ("taken", "held", "better"),
        ("broke", "held", "better"),
        ("taken", "undecided", "unsure"),
        ("held", "undecided", "unsure"),
        ("broke", "absent", "unsure"),
        ("absent", "held", ""),
        ("undecided", "held", ""),
    ],
)
def test_answers_change(was: str, now: str, way: str) -> None:
    found = between(target(vectors=answers(("A01", was))), target(vectors=answers(("A01", now))))
    told = {name for name in ("worse", "better", "unsure") if getattr(found, name)}
    assert told == ({way} if way else set())


def test_of_several_answers_to_a_vector_the_worst_counts() -> None:
    """Their words hold random names, so that they cannot be told apart from run to run."""
    before = target(vectors=answers(("A15", "held"), ("A15", "taken")))
    after = target(vectors=answers(("A15", "taken"), ("A15", "held"), ("A15", "held")))
    assert between(before, after).same == 2


def test_targets_come_and_go() -> None:
    before = a_result(target(name="a.example"), target(name="b.example"))
    found = compare(before, a_result(target(name="b.example"), target("open", "F", name="c.example")))
    assert [change.target for change in found.gone] == ["a.example"]
    assert [change.target for change in found.new] == ["c.example"]
    assert [change.target for change in found.worse] == ["c.example"]


def test_drift_passes_over_what_said_nothing() -> None:
    closed, blind = a_result(target()), a_result(target("inconclusive", "-", vectors=[]))
    opened = a_result(target("open", "F"))
    assert drift([closed, blind], opened).comparison.worse
    assert not drift([closed, blind], closed).alarming
    assert not drift([opened, blind], opened).alarming
    assert drift([opened, blind], closed).comparison.better


def test_blindness_is_told_once() -> None:
    closed, blind = a_result(target()), a_result(target("inconclusive", "-", vectors=[]))
    assert drift([closed], blind).alarming
    assert not drift([closed, blind], blind).alarming
    assert drift([closed, blind, closed], blind).alarming


def test_an_audit_that_failed_is_told_once_and_never_better() -> None:
    opened, failed = a_result(target("open", "F")), Result({}, "no route to host")
    first = drift([opened], failed)
    assert first.alarming
    assert first.sentences == ["The audit could not be made: no route to host"]
    assert not first.comparison.better
    assert not drift([opened, failed], failed).alarming


def test_a_first_audit_that_finds_an_open_relay_is_a_reason_to_wake_somebody() -> None:
    assert drift([], a_result(target("open", "F"))).alarming
    assert not drift([], a_result(target())).alarming


HOSTILE: list[bytes] = [
    b"",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"schema": "postlatch.audit/1"',
    b"null",
    b"[]",
    b"1e999999",
    b'{"schema": "postlatch.lint/1", "targets": []}',
    b'{"schema": "postlatch.audit/1", "targets": {}}',
    b'{"schema": "postlatch.audit/1", "targets": [1]}',
    b'{"schema": "postlatch.audit/1", "targets": [], "at": NaN}',
    b'{"schema": "postlatch.audit/1", "targets": [], "at": 1' + b"0" * 5000 + b"}",
]
BROKEN: list[dict[str, Any]] = [
    {"target": 7},
    {"verdict": "wide open"},
    {"verdict": None},
    {"verdict": []},
    {"grade": []},
    {"at": True},
    {"at": -1},
    {"places": [None]},
    {"places": ["x"] * 201},
    {"findings": None},
    {"findings": [{}]},
    {"findings": [{**FINDING, "severity": {}}]},
    {"vectors": "all"},
    {"vectors": [{"id": "A01", "place": PLACE, "stand": "fell"}]},
    {"vectors": [{"id": "A01", "stand": "held"}]},
]


@pytest.mark.parametrize("octets", HOSTILE, ids=lambda octets: repr(octets[:30]))
def test_what_is_no_result_is_said_to_be_none(octets: bytes) -> None:
    with pytest.raises(HistoryError, match=r"^is "):
        read(octets)


@pytest.mark.parametrize("change", BROKEN, ids=str)
def test_a_malformed_field_is_named(change: dict[str, Any]) -> None:
    with pytest.raises(HistoryError, match=r"targets\[0\]"):
        a_result(target() | change)


def test_half_a_character_is_shown_as_its_octets() -> None:
    (name,) = read(b'{"schema": "postlatch.audit/1", "targets": [' + json.dumps(target(name="\ud800")).encode() + b"]}").targets
    assert name == "\\xed\\xa0\\x80"


def test_a_file_of_many_megabytes_is_not_read_to_its_end(tmp_path: Path) -> None:
    whole = tmp_path / "zeroes"
    with whole.open("wb") as file:
        file.truncate(1 << 40)
    answer = compare_files({"before": str(whole), "after": str(whole)})
    assert answer.status == 2
    assert "larger than 50 MB" in answer.message


def test_the_texts_of_a_file_are_printable_when_they_are_shown() -> None:
    found = between(target(name="a\x1b[2J"), target("open", "F", name="a\x1b[2J"))
    assert all(change.sentence.isprintable() for change in found.worse)


def _file(path: Path, *targets: dict[str, Any]) -> str:
    path.write_text(json.dumps({"schema": "postlatch.audit/1", "targets": targets}), encoding="ascii")
    return str(path)


def test_the_command_answers_with_a_status_and_a_schema(tmp_path: Path) -> None:
    closed, opened = _file(tmp_path / "1", target()), _file(tmp_path / "2", target("open", "F"))
    blind = _file(tmp_path / "3", target("inconclusive", "-"))
    worse = compare_files({"before": closed, "after": opened})
    assert (worse.status, worse.data["schema"]) == (1, "postlatch.audit-compare/1")
    assert set(worse.data) == {"schema", *COMPARE.result}
    assert set(worse.data["worse"][0]) == set(AUDIT_HISTORY_ROWS["worse"])
    assert compare_files({"before": opened, "after": closed}).status == 0
    assert compare_files({"before": closed, "after": closed}).status == 0
    assert compare_files({"before": closed, "after": blind}).status == 3
    absent = compare_files({"before": closed, "after": str(tmp_path / "none")})
    assert absent.status == 2
    assert "No such file" in absent.message


@pytest.mark.parametrize(
    ("before", "after", "first"),
    [
        ("closed", "open", "[x] Worse in 1 point."),
        ("open", "closed", "[+] Nothing is worse."),
        ("closed", "closed", "[+] Nothing changed."),
        ("closed", "inconclusive", "[?] Nothing is known to be worse, but there is no verdict any more."),
    ],
)
def test_the_difference_is_told_in_sentences_with_the_verdict_first(before: str, after: str, first: str) -> None:
    data = between(target(before), target(after)).as_data()
    lines = [line.text for line in audit_history.compare(data) if isinstance(line, Line)]
    assert lines[0] == first
    assert before == after or any(f"was {'closed' if before == 'closed' else 'an open relay'}" in line for line in lines)
