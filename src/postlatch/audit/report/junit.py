"""JUnit XML, for build servers: a finding of medium or worse is a test that failed."""

from __future__ import annotations

from typing import Final

# Only written here, never parsed: nothing that a stranger made is read as XML.
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from postlatch.audit.values import Finding, LintResult, Severity, Verdict

FAILS: Final = frozenset({Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM})


def junit(name: str, result: LintResult) -> str:
    """One suite: a case for the verdict, and one for each finding."""
    suites = Element("testsuites", name="postlatch")
    suite = SubElement(suites, "testsuite", name=name)
    _verdict(suite, name, result)
    for finding in result.findings:
        _finding(suite, name, finding)
    counts = {
        "tests": str(len(suite)),
        "failures": str(len(suite.findall("testcase/failure"))),
        "errors": "0",
        "skipped": str(len(suite.findall("testcase/skipped"))),
        "time": "0",
    }
    suite.attrib.update(counts)
    suites.attrib.update({key: counts[key] for key in ("tests", "failures", "errors", "time")})
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, "unicode") + "\n"


def _verdict(suite: Element, name: str, result: LintResult) -> None:
    case = SubElement(suite, "testcase", classname=name, name="strangers cannot relay", time="0")
    text = "\n".join(result.can_relay)
    if result.verdict is Verdict.OPEN:
        SubElement(case, "failure", type="open", message="strangers can relay").text = text
    elif result.verdict is Verdict.UNKNOWN:
        SubElement(case, "skipped", message="whether strangers can relay cannot be decided from here")
    elif text:
        SubElement(case, "system-out").text = text


def _finding(suite: Element, name: str, finding: Finding) -> None:
    place = f"{finding.file}:{finding.line}" if finding.line else finding.file
    case = SubElement(suite, "testcase", classname=f"{name}.{finding.id}", name=f"{finding.message} ({place})", time="0")
    text = "\n".join(filter(None, (place, finding.why, finding.fix)))
    if finding.severity in FAILS:
        SubElement(case, "failure", type=finding.severity.value, message=finding.message).text = text
    else:
        SubElement(case, "system-out").text = f"{finding.severity.value}: {text}"
