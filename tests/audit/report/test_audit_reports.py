"""Reports of audits, in all their forms."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from importlib import import_module, resources
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest
from audit_report_samples import AT, NOW, PLACES, all_three, closed, hostile, inconclusive, open_relay

from postlatch.audit.history.seen import read
from postlatch.audit.posture.values import Check, State
from postlatch.audit.probes.values import Stand
from postlatch.audit.report import table
from postlatch.audit.report.audit_sarif import audit_sarif
from postlatch.audit.report.csv import COLUMNS, safe
from postlatch.audit.report.formats import render
from postlatch.audit.report.html import POLICY, html
from postlatch.audit.report.junit import junit
from postlatch.audit.report.sections import lint_section, posture_section
from postlatch.audit.result import TargetResult, as_data
from postlatch.audit.values import AuditVerdict, Evidence, Finding, LintResult, Severity, Verdict
from postlatch.cli.auditing import FORMATS
from postlatch.cli.render.audit import audit as in_colours
from postlatch.cli.text import BAD_STYLE, Line

VERSION = "0.1.0"


def rendered(form: str, *results: TargetResult) -> str:
    """A report of these, or of all three samples."""
    return render(form, results or all_three(), VERSION, NOW)


@pytest.mark.parametrize("form", FORMATS)
def test_every_form_of_the_command_line_is_printable_and_ends_with_a_line_end(form: str) -> None:
    for text in (rendered(form), rendered(form, hostile()), render(form, [], VERSION, NOW)):
        assert text.endswith("\n")
        assert all(char.isprintable() or char in "\r\n" for char in text)


@pytest.mark.parametrize("form", ["json", "html", "sarif", "junit"])
def test_reports_for_programs_are_ascii_so_that_no_locale_spoils_them(form: str) -> None:
    assert rendered(form).isascii()
    assert rendered(form, hostile()).isascii()


# Text


def test_the_verdict_is_the_first_line_and_needs_no_colour() -> None:
    lines = rendered("text").splitlines()
    assert lines[0] == "[x] mail.example.com: OPEN RELAY (grade F)"
    assert "[+] mx2.example.com:25: CLOSED (grade A)" in lines
    assert "[?] backup.example.com: INCONCLUSIVE (no grade)" in lines


def test_the_text_fits_in_80_columns() -> None:
    assert max(map(len, rendered("text").splitlines())) <= 80


def test_the_parts_come_in_the_order_of_need() -> None:
    text = rendered("text", open_relay())
    order = [
        "OPEN RELAY",
        "What to fix, in this order",
        " 1. CRITICAL",
        " 2. MEDIUM",
        "Evidence",
        "| C: RCPT TO",
        "What was asked",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_what_would_decide_an_inconclusive_audit_is_said() -> None:
    assert "To decide it: If it greylists, ask again in ten minutes" in rendered("text", inconclusive())


def test_the_table_counts_the_worst_answer_of_a_family_at_a_place() -> None:
    (line,) = (said for said in rendered("text", open_relay()).splitlines() if said.startswith("  Addresses inside"))
    assert line.split()[-4:] == ["!2/38", "!2", "!2", "!2"]


def test_many_places_go_into_several_tables() -> None:
    first = open_relay().outcomes[5]
    places = [PLACES[0]._replace(port=port) for port in range(1, 12)]
    many = closed()._replace(outcomes=tuple(first._replace(place=place) for place in places))
    lines = rendered("text", many).splitlines()
    assert sum(line.startswith("  Senders of many kinds") for line in lines) == 3
    assert max(map(len, lines)) <= 80


def test_a_transcript_cannot_pretend_to_be_another_line() -> None:
    spoken = "250 Ok\nC: I never said that"
    forged = open_relay().findings[0]._replace(transcript=(f"S: {spoken}",))
    lines = [said.text for said in table.lines(as_data(closed()._replace(findings=(forged,))))]
    assert "    | S: 250 Ok" in lines
    assert "    |    C: I never said that" in lines


def test_the_command_line_gives_the_same_words_colours() -> None:
    data = {"targets": [as_data(result) for result in all_three()]}
    blocks = [block for block in in_colours(data) if isinstance(block, Line)]
    assert "\n".join(block.text for block in blocks) + "\n" == rendered("text")
    assert blocks[0].style == BAD_STYLE


# JSON


def test_json_is_what_is_read_back() -> None:
    result = read(rendered("json").encode())
    assert list(result.targets) == ["mail.example.com", "mx2.example.com:25", "backup.example.com"]
    assert result.targets["mail.example.com"].verdict is AuditVerdict.OPEN
    assert read(rendered("json", hostile()).encode()).targets


def _schema(name: str) -> dict[str, Any]:
    text = resources.files("postlatch.audit.report").joinpath("schemas", f"{name}.schema.json").read_text("ascii")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def test_the_schema_names_every_field_and_no_other() -> None:
    data = json.loads(rendered("json", open_relay()))
    schema = _schema("audit-1")
    parts = schema["$defs"]
    target = data["targets"][0]
    assert set(data) <= set(schema["properties"])
    for part, row in (("target", target), ("finding", target["findings"][0]), ("vector", target["vectors"][0])):
        assert set(row) == set(parts[part]["properties"]) == set(parts[part]["required"])


@pytest.mark.parametrize(
    ("values", "path"),
    [
        (AuditVerdict, ("target", "verdict")),
        (Evidence, ("target", "evidence")),
        (Severity, ("finding", "severity")),
    ],
)
def test_the_schema_knows_all_words(values: Any, path: tuple[str, str]) -> None:
    part, name = path
    assert set(_schema("audit-1")["$defs"][part]["properties"][name]["enum"]) == {value.value for value in values}


def test_json_is_valid_by_its_schema() -> None:
    validator: Any = import_module("jsonschema").Draft202012Validator
    validator.check_schema(_schema("audit-1"))
    whole = validator(_schema("audit-1"))
    for results in (all_three(), [hostile()], []):
        whole.validate(json.loads(render("json", results, VERSION, NOW)))
    spoiled = json.loads(rendered("json"))
    spoiled["targets"][0]["verdict"] = "fine"
    assert not whole.is_valid(spoiled)


# HTML


class _Page(HTMLParser):
    """Elements and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "wbr"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("results", [all_three(), [hostile()]], ids=["samples", "hostile"])
def test_a_page_loads_and_runs_nothing(results: list[TargetResult]) -> None:
    page = rendered("html", *results)
    parsed = _Page(page)
    assert not parsed.open
    assert {tag for tag, _ in parsed.elements}.isdisjoint({"script", "img", "link", "iframe", "object", "form", "base", "svg"})
    for _, attributes in parsed.elements:
        assert not any(name.startswith("on") or name in {"src", "style", "srcset"} for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    policies = [attributes for _, attributes in parsed.elements if attributes.get("http-equiv") == "Content-Security-Policy"]
    assert [attributes["content"] for attributes in policies] == [POLICY]
    assert POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert "url(" not in page
    assert "@import" not in page


def test_a_page_survives_being_printed_line_by_line() -> None:
    page = rendered("html")
    assert "\n".join(page.splitlines()) + "\n" == page


def test_what_a_server_says_is_text() -> None:
    page = rendered("html", hostile())
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\\u202e" in page


def test_a_page_says_what_it_means_and_what_to_do() -> None:
    texts = " ".join(_Page(rendered("html")).texts)
    for words in (
        "1 of 3 servers needs action now",
        "Anybody on the internet can send mail to anybody",
        "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination",
        "C: RCPT TO:<canary%canary.example@mail.example.com>",
        "What would decide it",
        "Every question to mx2.example.com:25",
    ):
        assert words in texts


def test_every_region_of_a_page_has_a_name_of_its_own() -> None:
    parsed = _Page(rendered("html"))
    names = {attributes["id"] for _, attributes in parsed.elements if "id" in attributes}
    regions = [attributes for _, attributes in parsed.elements if attributes.get("role") == "region"]
    labels = [region.get("aria-labelledby") or region.get("aria-label") or "" for region in regions]
    assert len(set(labels)) == len(labels)
    assert {name for region in regions for name in (region.get("aria-labelledby") or "").split()} <= names


@pytest.mark.parametrize(
    ("results", "words"),
    [
        ([closed(), closed()], "All 2 servers are as they should be"),
        ([closed(), inconclusive()], "1 of 2 servers could not be judged"),
        ([open_relay(), open_relay()], "2 of 2 servers need action now"),
        ([closed()], "mx2.example.com:25: closed"),
        ([], "Nothing was judged"),
    ],
)
def test_the_headline_is_the_news(results: list[TargetResult], words: str) -> None:
    assert f"<h1>{words}</h1>" in render("html", results, VERSION, NOW)


def test_linted_configurations_and_posture_are_shown_by_the_same_page() -> None:
    finding = Finding(
        "postfix.mynetworks", Severity.CRITICAL, "too <wide>", "anybody", "mynetworks = 127.0.0.0/8", "main.cf", 7
    )
    linted = LintResult(Verdict.OPEN, ("198.51.100.7, not logged in, could send to elsewhere.example",), (finding,))
    checks = [
        Check("spf.record", "SPF", State.GOOD, "One record."),
        Check("dmarc.policy", "DMARC", State.BAD, "p=none", (finding._replace(id="dmarc.none", file="", line=None),)),
        Check("bimi", "BIMI", State.ABSENT, "No record."),
    ]
    sections = [lint_section("main.cf", linted), posture_section("example.com", checks)]
    page = html("Mail checks", sections, version=VERSION, now=NOW, things="things")
    texts = " ".join(_Page(page).texts)
    assert "main.cf:7" in texts
    assert "198.51.100.7, not logged in" in texts
    assert "1 of 3 checks found something that is wrong." in texts
    assert "2 of 2 things need action now" in texts
    good = posture_section("example.com", checks[:1])
    assert (good.verdict, good.tone) == ("Good", "good")
    assert posture_section("x", [checks[0]._replace(state=State.UNKNOWN)]).tone == "unsure"


# SARIF


def test_sarif_puts_findings_at_their_target() -> None:
    (run,) = audit_sarif(all_three(), VERSION, NOW)["runs"]
    assert [place["fullyQualifiedName"] for place in run["logicalLocations"]] == [one.target for one in all_three()]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [
        "audit.accepts-unknown",
        "audit.open-relay",
        "audit.vrfy",
    ]
    first = run["results"][0]
    assert (first["ruleId"], first["ruleIndex"], first["level"]) == ("audit.open-relay", 1, "error")
    (place,) = first["locations"][0]["logicalLocations"]
    assert place == {**run["logicalLocations"][0], "index": 0}
    assert "S: 354 End data with <CR><LF>.<CR><LF>" in first["properties"]["transcript"]
    assert first["message"]["text"].startswith("mail.example.com: An open relay at 192.0.2.25:25")


def test_sarif_tells_what_could_not_be_judged() -> None:
    (run,) = audit_sarif(all_three(), VERSION, NOW)["runs"]
    (invocation,) = run["invocations"]
    assert [one["level"] for one in invocation["toolExecutionNotifications"]] == ["note", "note", "warning"]
    assert (invocation["startTimeUtc"], invocation["endTimeUtc"]) == ("2026-11-25T06:53:37Z", "2026-11-25T06:54:37Z")


def test_a_finding_has_the_same_fingerprint_in_every_run() -> None:
    def prints(result: TargetResult) -> list[str]:
        (run,) = audit_sarif([result], VERSION, NOW)["runs"]
        return [one["partialFingerprints"]["findingOfTarget/v1"] for one in run["results"]]

    assert prints(open_relay()) == prints(open_relay()._replace(at=AT + 1000, messages=1))
    assert set(prints(open_relay())).isdisjoint(prints(open_relay()._replace(target="other.example")))


# JUnit


def test_junit_has_a_suite_for_each_target() -> None:
    suites = fromstring(rendered("junit"))  # our own text
    told = {suite.get("name"): (suite.get("failures"), int(suite.get("skipped") or 0)) for suite in suites}
    # Verdict, two findings, and the messages that arrived at four places.
    assert told["mail.example.com"] == ("7", 2)
    assert told["mx2.example.com:25"] == ("0", 2)
    assert told["backup.example.com"] == ("0", 1 + len(inconclusive().outcomes))
    assert suites.get("failures") == "7"
    assert suites.get("tests") == str(len(suites.findall("testsuite/testcase")))


def test_junit_has_no_character_that_xml_forbids() -> None:
    for text in (rendered("junit", hostile()), junit("x", LintResult(Verdict.CLOSED, ("\x00\ud800\x1b",), ()))):
        assert "\\u0000" in text
        fromstring(text)


# CSV


def _rows(*results: TargetResult) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(rendered("csv", *results), newline="")))


def test_csv_has_a_row_for_each_verdict_finding_and_question() -> None:
    rows = _rows()
    kinds = [row["kind"] for row in rows]
    assert kinds.count("verdict") == 3
    assert kinds.count("finding") == 3
    assert kinds.count("question") == sum(len(result.outcomes) for result in all_three())
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["at"] == "2026-11-25T06:53:37Z"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_no_cell_is_a_formula(text: str) -> None:
    assert safe(text).startswith("'")


def test_no_cell_of_a_hostile_server_is_a_formula() -> None:
    for row in _rows(hostile()):
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row.values())


def test_a_row_is_a_line() -> None:
    text = rendered("csv", open_relay(), hostile())
    assert len(text.splitlines()) == 1 + 2 + 4 + len(open_relay().outcomes) + 1
    assert text.count("\r\n") == len(text.splitlines())


def test_ordinary_cells_are_left_as_they_are() -> None:
    assert safe("MAIL FROM:<a@b>") == "MAIL FROM:<a@b>"
    assert safe("one\ntwo") == "one | two"


def test_places_that_got_one_question_and_held_share_a_line() -> None:
    result = closed()
    first = result.outcomes[0]
    ports = [first._replace(place=first.place._replace(port=port), stand=Stand.HELD) for port in (10024, 10025)]
    shown = [said.text for said in table.lines(as_data(result._replace(outcomes=(*result.outcomes, *ports))))]
    line = next(text for text in shown if "One question each" in text)
    assert str(ports[0].place) in " ".join(shown[shown.index(line) :])
    assert not any(text.strip().endswith(str(ports[1].place)) and text.startswith("  ") for text in shown if "One" not in text)
