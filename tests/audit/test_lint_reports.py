"""SARIF and JUnit of a linter's result, against the structure that their schemas ask for."""

from __future__ import annotations

import json
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from postlatch.audit.report.junit import junit
from postlatch.audit.report.sarif import sarif
from postlatch.audit.values import Finding, LintResult, Severity, Verdict

FINDINGS = (
    Finding("postfix.access-permit", Severity.CRITICAL, 'says "OK" & <more>', "anybody", "say DUNNO", "senders", 3),
    Finding("postfix.access-permit", Severity.CRITICAL, "another", "anybody", "say DUNNO", "/etc/a b", 4),
    Finding("postfix.small", Severity.INFO, "a habit"),
)
RESULT = LintResult(Verdict.OPEN, ("198.51.100.7, not logged in, could send to elsewhere.example because …",), FINDINGS)
LEVELS = {"none", "note", "warning", "error"}


def _check_rule(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"id", "name", "shortDescription", "defaultConfiguration", "properties"}
    assert rule["shortDescription"]["text"]
    assert rule["defaultConfiguration"]["level"] in LEVELS


def _check_result(result: dict[str, Any], rules: list[dict[str, Any]]) -> None:
    assert set(result) <= {"ruleId", "ruleIndex", "level", "message", "locations", "properties"}
    assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert result["level"] in LEVELS
    assert isinstance(result["message"]["text"], str)
    for location in result.get("locations", []):
        place = location["physicalLocation"]
        assert set(place) <= {"artifactLocation", "region"}
        assert " " not in place["artifactLocation"]["uri"]
        assert place.get("region", {"startLine": 1})["startLine"] >= 1


def test_sarif_has_the_structure_of_2_1_0() -> None:
    log = json.loads(json.dumps(sarif(FINDINGS, "1.0", RESULT.can_relay)))
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "Postlatch"
    assert [rule["id"] for rule in driver["rules"]] == ["postfix.access-permit", "postfix.small"]
    for rule in driver["rules"]:
        _check_rule(rule)
    assert len(run["results"]) == 3
    for result in run["results"]:
        _check_result(result, driver["rules"])
    assert run["results"][0]["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "senders"},
        "region": {"startLine": 3},
    }
    assert run["results"][1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "file:///etc/a%20b"
    assert run["invocations"][0]["executionSuccessful"] is True


def test_junit_counts_what_failed() -> None:
    text = junit("postlatch.lint.postfix", RESULT)
    suites = fromstring(text)  # our own text
    (suite,) = suites
    assert suites.tag == "testsuites"
    assert suite.tag == "testsuite"
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped"), suite.get("errors")) == ("4", "3", "0", "0")
    cases = suite.findall("testcase")
    assert all(case.get("name") and case.get("classname") and case.get("time") for case in cases)
    failure = cases[1].find("failure")
    assert failure is not None
    assert failure.get("message") == 'says "OK" & <more>'
    assert "senders:3" in (failure.text or "")


@pytest.mark.parametrize(
    ("verdict", "failures", "skipped"), [(Verdict.CLOSED, "0", "0"), (Verdict.UNKNOWN, "0", "1"), (Verdict.OPEN, "1", "0")]
)
def test_the_verdict_is_a_case_of_its_own(verdict: Verdict, failures: str, skipped: str) -> None:
    (suite,) = fromstring(junit("x", LintResult(verdict, (), ())))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("1", failures, skipped)
