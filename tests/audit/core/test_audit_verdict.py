"""From what was seen to a verdict: open is what delivered, closed is what all of it shows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.audit.canary.values import Arrival
from postlatch.audit.probes.controls import Controls
from postlatch.audit.probes.ended import TIME_IS_OVER
from postlatch.audit.probes.place import Place
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import AuditVerdict, Evidence, Finding, Severity
from postlatch.audit.verdict import SPOOFABLE, Facts, Judgement, judge

PLACE = Place("mx.example", "192.0.2.25", 25)
KNOWN = Outcome("C+", PLACE, Stand.HELD)
UNKNOWN = Outcome("C-", PLACE, Stand.HELD)
GOOD = Controls(True, True, login_first=False, why="taken", outcomes=(KNOWN, UNKNOWN))
HELD = Outcome("A01", PLACE, Stand.HELD, foreign=True)
TAKEN = Outcome("A01", PLACE, Stand.TAKEN, Evidence.E3, how="plain", token="pl1-001-aa", foreign=True)
UNSENT = TAKEN._replace(evidence=Evidence.E1, token="")
LATER = Outcome("A01", PLACE, Stand.UNDECIDED, why="greylisted", foreign=True)
ARRIVED = Arrival("pl1-001-aa")
OTHER = Arrival("pl9-001-aa")


def finding(severity: Severity, name: str = "audit.x") -> Finding:
    return Finding(name, severity, f"a fault of {severity}")


def judged(
    outcomes: Sequence[Outcome], arrivals: Sequence[Arrival] = (), controls: Controls = GOOD, **more: object
) -> Judgement:
    return judge(Facts(controls, outcomes, arrivals, **more))  # type: ignore[arg-type]  # fields of Facts


@pytest.mark.parametrize(
    ("outcomes", "arrivals", "verdict", "evidence", "grade"),
    [
        ([HELD], [], "closed", "E0", "A"),
        ([TAKEN], [ARRIVED], "open", "E4", "F"),
        ([HELD, TAKEN], [OTHER, ARRIVED], "open", "E4", "F"),
        ([TAKEN], [], "accepts", "E3", "D"),
        ([TAKEN], [OTHER], "accepts", "E3", "D"),
        ([UNSENT], [ARRIVED], "accepts", "E1", "D"),
        ([TAKEN], [ARRIVED._replace(bounce=True)], "backscatter", "E5", "D"),
        ([TAKEN], [ARRIVED._replace(bounce=True), ARRIVED], "open", "E4", "F"),
        ([LATER], [], "inconclusive", "E0", "-"),
        ([HELD._replace(finding=finding(Severity.HIGH, SPOOFABLE))], [], "spoofable", "E0", "C"),
        ([HELD._replace(finding=finding(Severity.HIGH))], [], "closed", "E0", "C"),
        ([HELD._replace(finding=finding(Severity.MEDIUM))], [], "closed", "E0", "B"),
        ([HELD._replace(finding=finding(Severity.LOW))], [], "closed", "E0", "A"),
    ],
)
def test_a_verdict_follows_from_what_was_taken_and_what_arrived(
    outcomes: list[Outcome], arrivals: list[Arrival], verdict: str, evidence: str, grade: str
) -> None:
    found = judged(outcomes, arrivals)
    assert (found.verdict.value, found.evidence.value, found.grade) == (verdict, evidence, grade)


@pytest.mark.parametrize("takes_known", [False, None])
def test_refusals_prove_nothing_where_its_own_mailbox_is_refused_too(takes_known: bool | None) -> None:
    found = judged([HELD], controls=GOOD._replace(takes_known=takes_known, why="450 greylisted"))
    assert found.verdict is AuditVerdict.INCONCLUSIVE
    assert "450 greylisted" in found.summary
    assert found.decide


@pytest.mark.parametrize("takes_known", [True, False, None])
def test_a_delivered_message_is_a_relay_whatever_the_controls_say(takes_known: bool | None) -> None:
    assert judged([TAKEN], [ARRIVED], GOOD._replace(takes_known=takes_known)).verdict is AuditVerdict.OPEN


def test_login_first_is_right_for_submission_and_undecided_on_port_25() -> None:
    controls = GOOD._replace(takes_known=False, login_first=True)
    assert judged([HELD], controls=controls, port=587).verdict is AuditVerdict.CLOSED
    assert judged([HELD], controls=controls, port=25).verdict is AuditVerdict.INCONCLUSIVE


def test_what_takes_every_name_of_its_own_is_told_and_no_relay() -> None:
    local = TAKEN._replace(foreign=False, vector="B03")
    found = judged([HELD, local], controls=GOOD._replace(refuses_unknown=False))
    assert found.verdict is AuditVerdict.CLOSED
    assert [one.id for one in found.findings] == ["audit.accepts-unknown"]


def test_without_a_canary_what_takes_every_name_is_undecided() -> None:
    found = judged([HELD], controls=GOOD._replace(refuses_unknown=False), canary=False)
    assert (found.verdict, "--canary" in found.decide) == (AuditVerdict.INCONCLUSIVE, True)


def test_an_open_relay_that_was_asked_from_its_own_machine_says_so() -> None:
    assert "own machine" in judged([TAKEN], [ARRIVED], near=True).summary
    assert "own machine" not in judged([TAKEN], [ARRIVED]).summary


def test_a_fault_that_was_met_often_is_told_once_and_the_worst_first() -> None:
    often = [HELD._replace(finding=finding(Severity.LOW, "audit.often"), how=str(number)) for number in range(3)]
    often[1] = often[1]._replace(finding=finding(Severity.HIGH, "audit.often"))
    found = judged([HELD._replace(finding=finding(Severity.MEDIUM, "audit.once")), *often]).findings
    assert [(one.id, one.severity) for one in found] == [("audit.often", Severity.HIGH), ("audit.once", Severity.MEDIUM)]
    assert "met 2 times" in found[0].message


def test_an_open_relay_names_each_way_and_the_fix_for_the_server() -> None:
    second = TAKEN._replace(vector="B01", token="pl1-002-bb")
    found = judged([TAKEN, second], [ARRIVED, Arrival("pl1-002-bb")], product="postfix")
    relay = found.findings[0]
    assert relay.id == "audit.open-relay"
    assert "A01, B01" in relay.message
    assert "mynetworks" in relay.fix


@pytest.mark.parametrize(
    ("vector", "word"), [("A05", "check_sender_access"), ("B01", "percent"), ("D07", "relay_domains"), ("I01", "xclient")]
)
def test_the_fix_is_that_of_the_way_in_which_it_was_open(vector: str, word: str) -> None:
    relay = judged([TAKEN._replace(vector=vector)], [ARRIVED], product="postfix").findings[0]
    assert word in relay.fix


def test_what_there_was_no_time_for_is_told_and_spoils_the_best_grade() -> None:
    late = Outcome("F01", PLACE, Stand.UNDECIDED, why=TIME_IS_OVER)
    found = judged([HELD, late, late._replace(vector="I01")])
    assert (found.verdict, found.grade) == (AuditVerdict.CLOSED, "B")
    assert "2 question(s) (F01, I01)" in found.unasked


def test_only_what_was_refused_is_counted_as_refused() -> None:
    absent = HELD._replace(vector="D11", stand=Stand.ABSENT)
    assert "refused all 2 ways" in judged([KNOWN, UNKNOWN, HELD, HELD, absent]).summary


OUTCOMES = st.builds(
    Outcome,
    vector=st.sampled_from(["A01", "B07", "C01", "D07", "E02", "F01", "G05", "I01", "J08"]),
    place=st.just(PLACE),
    stand=st.sampled_from(Stand),
    evidence=st.sampled_from([Evidence.E0, Evidence.E1, Evidence.E2, Evidence.E3]),
    token=st.sampled_from(["", "pl1-001-aa", "pl1-002-bb"]),
    finding=st.none() | st.sampled_from(Severity).map(finding),
    foreign=st.booleans(),
)
ARRIVALS = st.builds(Arrival, token=st.sampled_from(["", "pl1-001-aa", "pl1-002-bb", "pl9"]), bounce=st.booleans())
YES_NO = st.sampled_from([True, False, None])
CONTROLS = st.builds(
    Controls, YES_NO, YES_NO, login_first=st.booleans(), why=st.just("seen"), outcomes=st.just((KNOWN, UNKNOWN))
)


@given(st.lists(OUTCOMES, max_size=6), st.lists(ARRIVALS, max_size=4), CONTROLS, st.booleans(), st.sampled_from([25, 587]))
def test_open_is_what_delivered_our_message_and_closed_never_is(
    outcomes: list[Outcome], arrivals: list[Arrival], controls: Controls, canary: bool, port: int
) -> None:
    facts = Facts(controls, outcomes, arrivals, canary=canary, port=port)
    found = judge(facts)
    sent = {outcome.token for outcome in outcomes if outcome.token}
    delivered = {arrival.token for arrival in arrivals if not arrival.bounce} & sent
    assert (found.verdict is AuditVerdict.OPEN) is bool(delivered)
    assert (found.evidence is Evidence.E4) is (found.verdict is AuditVerdict.OPEN)
    assert found == judge(facts)
    if found.verdict is AuditVerdict.CLOSED:
        assert controls.takes_known or controls.login_first
        assert not any(outcome.stand is Stand.TAKEN and outcome.foreign for outcome in outcomes)
    if found.verdict is AuditVerdict.INCONCLUSIVE:
        assert found.decide
