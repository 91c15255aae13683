"""JUnit XML of audits: a suite for each target, with a case for the verdict, for each finding and for each question."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

# Only written here, never parsed: nothing that a stranger made is read as XML.
from xml.etree.ElementTree import Element, SubElement

from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.report.junit import FAILS, counts, written
from postlatch.audit.report.words import VERDICTS
from postlatch.audit.result import TargetResult
from postlatch.audit.values import AuditVerdict, Evidence, Finding


def audit_junit(results: Sequence[TargetResult]) -> str:
    """What was taken fails the verdict and has a finding that fails; of the questions only a delivered message does."""
    suites = Element("testsuites", name="postlatch audit")
    for result in results:
        _suite(suites, result)
    return written(suites)


def _suite(suites: Element, result: TargetResult) -> None:
    suite = SubElement(suites, "testsuite", name=result.target)
    if result.at:
        suite.set("timestamp", datetime.fromtimestamp(result.at, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    _verdict(suite, result)
    for finding in result.findings:
        _finding(suite, result, finding)
    for outcome in result.outcomes:
        _question(suite, result, outcome)
    suite.attrib.update(counts(suite, result.seconds))


def _verdict(suite: Element, result: TargetResult) -> None:
    case = SubElement(suite, "testcase", classname=result.target, name="strangers cannot relay", time=f"{result.seconds:.3f}")
    text = "\n".join(filter(None, (result.summary, result.decide)))
    name = VERDICTS[result.verdict].name
    if result.verdict is AuditVerdict.INCONCLUSIVE:
        SubElement(case, "skipped", message=f"{name}: {result.summary}")
    elif result.verdict is AuditVerdict.CLOSED:
        SubElement(case, "system-out").text = text
    else:
        SubElement(case, "failure", type=result.verdict.value, message=name).text = text


def _finding(suite: Element, result: TargetResult, finding: Finding) -> None:
    case = SubElement(suite, "testcase", classname=f"{result.target}.{finding.id}", name=finding.message, time="0")
    text = "\n".join(filter(None, (finding.why, finding.fix, *finding.transcript)))
    if finding.severity in FAILS:
        SubElement(case, "failure", type=finding.severity.value, message=finding.message).text = text
    else:
        SubElement(case, "system-out").text = f"{finding.severity.value}: {text}"


def _question(suite: Element, result: TargetResult, outcome: Outcome) -> None:
    name = f"{outcome.vector} at {outcome.place}: {outcome.how}"
    case = SubElement(suite, "testcase", classname=f"{result.target}.{outcome.vector}", name=name, time="0")
    text = f"{outcome.stand.value}, {outcome.evidence.value}: {outcome.why}"
    if outcome.evidence >= Evidence.E4:
        SubElement(case, "failure", type=outcome.evidence.value, message=text).text = "\n".join(outcome.transcript)
    elif outcome.stand in {Stand.UNDECIDED, Stand.ABSENT}:
        SubElement(case, "skipped", message=text)
    else:
        SubElement(case, "system-out").text = text
