"""The documentation cannot drift: everything that an administrator meets is in it, and what it says is so."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from docs_support import DOCS, ROOT, SOURCE, alerts, anchors, blocks, dangers, links, names, page, pages, rows, tracked

from postlatch.app.check import judge_settings
from postlatch.cli.catalogue import CATALOGUE, GROUPS, SECTIONS, Way
from postlatch.model.events import EVENTS
from postlatch.policy import rules_connection, rules_message, rules_recipient, rules_sender
from postlatch.policy.rules import name_of
from postlatch.settings.kinds import Place, of_field
from postlatch.settings.limits import LimitSettings
from postlatch.settings.load import load_text
from postlatch.settings.reference import toml
from postlatch.settings.tree import Settings
from postlatch.testing.source import parse
from postlatch.web.metrics import METRICS

sys.path.append(str(ROOT / "script"))
make_docs: Any = importlib.import_module("make_docs")  # a script, not a package

WRITTEN = pages()
BY_NAME = {str(path.relative_to(ROOT)): path for path in WRITTEN}
UNITS = {name for names in SECTIONS.values() for name in names}


def _section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    rest = text.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"^#{{1,{level}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


# What the program prints


@pytest.mark.parametrize("name", make_docs.pages())
def test_a_page_of_the_program_is_what_the_program_prints(name: str) -> None:
    assert page(name) == make_docs.pages()[name], "run script/make-docs"


def test_the_script_names_what_is_out_of_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "script" / "make_docs.py", "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Settings


def _keys(place: Place) -> Iterator[str]:
    for name, info in place.fields.items():
        yield name
        inner = of_field(info)
        yield from _keys(inner if inner.fields else inner.elements or inner)


def test_every_setting_is_documented() -> None:
    text = page("configuration.md")
    missing = [
        key for key in _keys(Place(Settings)) if f"| `{key}` |" not in text and f"[{key}" not in text and f".{key}" not in text
    ]
    # The two keys of a long route stand in its example.
    assert set(missing) <= {"to"}
    assert "{ to = " in text


def test_the_limits_have_the_defaults_that_their_page_says() -> None:
    written = {names(row[0])[0]: row[1].strip("`") for row in rows(page("limits.md")) if row[0].startswith("`limits.")}
    for scope, info in LimitSettings.model_fields.items():
        for kind, field in of_field(info).fields.items():
            shown = "none" if field.default is None else toml(field.default)
            assert written.pop(f"limits.{scope}.{kind}") == shown
    assert not written


# Commands


@pytest.mark.parametrize("command", CATALOGUE, ids=lambda command: command.name)
def test_every_command_is_documented_with_flags_statuses_and_result(command: Any) -> None:
    section = _section(page("commands.md"), f"### `postlatch {' '.join(command.words)}`")
    flags = [argument.flag or argument.metavar for argument in command.arguments]
    flags += ["--password-stdin"] if command.password else []
    flags += ["--json"] if command.way is not Way.RUN else []
    cells = {names(row[0])[0].split()[0] for row in rows(section) if row[0].startswith("`")}
    assert {flag.split()[0] for flag in flags} == cells
    assert command.help in section
    assert "Exit status: 0 " in section
    fields = [name for line in section.splitlines() if line.startswith("JSON: ") for name in names(line)]
    assert fields == list(make_docs.result_fields(command))


def test_every_command_has_its_statuses_and_a_section_of_the_help() -> None:
    assert make_docs.STATUSES.keys() == {command.name for command in CATALOGUE}
    assert make_docs.NOTES.keys() <= {command.name for command in CATALOGUE}
    assert {command.words[0] for command in CATALOGUE} == UNITS
    assert all(f"**`postlatch {group.replace('.', ' ')}`**: {text}" in page("commands.md") for group, text in GROUPS.items())


def test_every_exit_status_is_documented() -> None:
    statuses = {int(row[0]) for row in rows(page("commands.md")) if row[0].isdigit()}
    used = {status for meanings in make_docs.STATUSES.values() for status in meanings}
    assert used <= statuses == {0, 1, 2, 3, 130}
    assert {row[0] for row in rows(page("operating.md")) if row[0].isdigit() and len(row[0]) == 1} == {"0", "1", "2"}


# The journal, the metrics


def test_every_event_is_documented_in_the_words_of_the_catalogue() -> None:
    found = {names(row[0])[0]: row[1] for row in rows(page("events.md")) if row[0].startswith("`") and "." in row[0]}
    assert found == dict(EVENTS)


def test_every_field_of_an_event_is_explained() -> None:
    tables = rows(page("events.md"))
    used = {name for row in tables if "." in row[0] for name in names(row[2])}
    explained = {name for row in tables if len(row) == 2 for cell in row for name in names(cell)}
    # What the table of events says already, values among them, and numbers of the journal's own.
    assert used - explained <= {
        "right",
        "limit",
        "result",
        "events",
        "first_segment",
        "last_segment",
        "closed",
        "open",
        "failed",
        "trusted",
    }


def test_every_metric_is_documented_in_the_words_of_the_catalogue() -> None:
    found = [row for row in rows(page("metrics.md")) if row[0].startswith("`postlatch_") and len(row) == 4]
    expected = [
        [f"`{name}`", metric.type, ", ".join(f"`{label}`" for label in metric.labels), metric.help]
        for name, metric in METRICS.items()
    ]
    assert found == expected
    labels = {names(row[0])[0] for row in rows(page("metrics.md")) if len(row) == 2 and row[0].startswith("`")}
    assert {label for metric in METRICS.values() for label in metric.labels} <= labels


# The policy


@pytest.mark.parametrize(
    ("title", "module"),
    [
        ("Connection", rules_connection),
        ("MAIL", rules_sender),
        ("RCPT", rules_recipient),
        ("End of the message", rules_message),
    ],
)
def test_the_rules_are_documented_in_their_order(title: str, module: Any) -> None:
    section = _section(page("policy.md"), f"### {title}")
    written = [names(row[0])[0] for row in rows(section) if names(row[0])]
    assert written == [_shown(name_of(rule)) for rule in module.RULES]
    accepting = [names(row[0])[0] for row in rows(section) if row[0].startswith("**")]
    assert accepting == [name_of(rule) for rule in module.RULES if rule not in module.TIGHTENING]


def _shown(rule: str) -> str:
    return "listener" if rule == "known listener" else rule


def test_every_named_danger_is_documented_with_what_to_do() -> None:
    written = {row[1]: row[2] for row in rows(_section(page("policy.md"), "## Named dangers")) if row[0].startswith("`")}
    found = [*dangers("policy", "danger_*.py"), *dangers("settings")]
    assert len(found) > 30, "the dangers are found by reading the code; has its form changed?"
    assert [f"{place}: {sentence}" for place, sentence in found if sentence not in written] == []
    assert written.keys() == {sentence for _, sentence in found}
    assert all(written.values())


def test_every_alert_is_documented_with_what_to_do() -> None:
    written = {names(row[0])[0]: row[1] for row in rows(_section(page("operating.md"), "## Alerts")) if names(row[0])}
    assert [f"{place}: {sentence}" for place, sentence in alerts() if sentence not in written] == []
    assert all(written.values())


# The tree


@pytest.mark.parametrize("name", BY_NAME)
def test_every_link_leads_somewhere(name: str) -> None:
    path = BY_NAME[name]
    for link in links(path.read_text("utf-8")):
        target, _, anchor = link.partition("#")
        file = path.parent / target if target else path
        assert file.exists(), link
        assert file.resolve().is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(file.read_text("utf-8")), link


def test_every_file_that_the_readme_names_exists() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    words = [word for line in text.splitlines() for word in line.replace("`", " ").split()]
    paths = {word for word in words if word.startswith(("script/", "docs/", "packaging/", "src/", "benchmarks/"))}
    assert {"script/server", "script/test"} <= paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop().resolve()
        path = path / "README.md" if path.is_dir() else path
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        pages = (link.partition("#")[0] for link in links(path.read_text("utf-8")))
        waiting += [path.parent / page for page in pages if page]  # without one it leads to its own page
    assert {path.resolve() for path in DOCS.rglob("*.md")} <= reached


def test_the_tree_names_no_folder_of_a_machine_and_no_registry() -> None:
    # Put together, so that this file does not name them.
    hosts = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("crates", "io"))]
    folders = ["/".join(("", *parts)) for parts in (("work", ""), ("root", ""), ("opt", "wheels"), ("opt", "pypi"))]
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace")
        assert [word for word in (*hosts, *folders) if word in text] == [], path


# Examples


@pytest.mark.parametrize("name", BY_NAME)
def test_every_example_of_a_configuration_is_one(name: str, tmp_path: Path) -> None:
    for block in blocks(BY_NAME[name].read_text("utf-8"), "toml"):
        data = tomllib.loads(block)
        if "hostname" in data and "listeners" in data:
            settings = load_text(block, tmp_path / "postlatch.toml")
            assert judge_settings(settings).closed


def test_there_is_a_whole_configuration_in_the_docs() -> None:
    examples = [block for path in WRITTEN for block in blocks(path.read_text("utf-8"), "toml")]
    assert any("hostname" in tomllib.loads(block) for block in examples)


@pytest.mark.parametrize("number", range(len(blocks(page("testing.md"), "python"))))
def test_every_example_of_a_test_works(number: int) -> None:
    code = compile(blocks(page("testing.md"), "python")[number], f"testing.md, example {number + 1}", "exec", dont_inherit=True)
    exec(code, {"__name__": "example"})


def test_every_public_fake_and_peer_is_documented() -> None:
    known = set(re.findall(r"\w+", page("testing.md")))
    public = [
        node.name
        for path in (SOURCE / "testing").rglob("*.py")
        for node in parse(path).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    ]
    assert len(public) > 10
    assert [name for name in public if name not in known] == []


def test_the_readme_keeps_a_place_for_the_benchmark() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert text.count("<!-- benchmark -->") == text.count("<!-- /benchmark -->") == 1
    assert text.index("<!-- benchmark -->") < text.index("<!-- /benchmark -->")
