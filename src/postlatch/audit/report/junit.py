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
    suite.attrib.update(counts(suite, 0.0))
    return written(suites)


def counts(suite: Element, seconds: float) -> dict[str, str]:
    """The attributes of a suite whose cases are all there."""
    return {
        "tests": str(len(suite.findall("testcase"))),
        "failures": str(len(suite.findall("testcase/failure"))),
        "errors": "0",
        "skipped": str(len(suite.findall("testcase/skipped"))),
        "time": f"{seconds:.3f}",
    }


def written(suites: Element) -> str:
    """The document, with the sums of all suites. In ASCII, so that no pipe and no locale can spoil it."""
    for key in ("tests", "failures", "errors"):
        suites.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    suites.set("time", f"{sum(float(suite.get('time', '0')) for suite in suites):.3f}")
    for element in suites.iter():
        element.attrib.update({key: _legal(value) for key, value in element.attrib.items()})
        element.text = _legal(element.text) if element.text else element.text
    indent(suites)
    document: bytes = tostring(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + document.decode("ascii") + "\n"


def _legal(text: str) -> str:
    """XML 1.0 section 2.2 has no place for control characters, not even escaped, nor for lone surrogates."""
    return "".join(char if char.isprintable() or char == "\n" else f"\\u{ord(char):04x}" for char in text)


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
