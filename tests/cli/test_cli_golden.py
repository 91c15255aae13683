"""What every command prints, for people and for programs, byte for byte.

``golden/NAME.answer.json`` holds what is typed and what the backend answers; ``NAME.txt`` is standard output, ``NAME.err``
standard error, ``NAME.json`` standard output with ``--json``. ``python tests/cli/test_cli_golden.py`` writes the last three
anew: read the difference before you keep it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from postlatch.cli.backend import Answer
from postlatch.cli.build import build_cli
from postlatch.cli.catalogue import CATALOGUE, ROWS, Way
from postlatch.cli.render import RENDERERS

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.name.removesuffix(".answer.json") for path in GOLDEN.glob("*.answer.json"))


class _Fixed:
    """A backend with one answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.commands: list[str] = []

    def call(self, command: str, _arguments: dict[str, Any], _config: Path | None) -> Answer:
        self.commands.append(command)
        return self.answer

    def stream(self, _command: str, _arguments: dict[str, Any], _config: Path | None) -> Iterator[dict[str, Any]]:
        raise AssertionError

    def run(self, _command: str, _arguments: dict[str, Any], _config: Path | None) -> int:
        raise AssertionError


def _case(name: str) -> tuple[list[str], Answer]:
    case = json.loads((GOLDEN / f"{name}.answer.json").read_text())
    return case["argv"], Answer(case["status"], case["data"], case["message"])


def _typed(name: str, *more: str) -> Result:
    argv, answer = _case(name)
    return CliRunner().invoke(build_cli(_Fixed(answer)), [*argv, *more])


def _expected(name: str, suffix: str) -> str:
    path = GOLDEN / f"{name}.{suffix}"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("name", NAMES)
def test_people_read_what_is_on_record(name: str) -> None:
    result = _typed(name)
    assert result.stdout == _expected(name, "txt")
    assert result.stderr == _expected(name, "err")
    assert result.exit_code == _case(name)[1].status


@pytest.mark.parametrize("name", NAMES)
def test_programs_read_what_is_on_record(name: str) -> None:
    result = _typed(name, "--json")
    assert result.stdout == _expected(name, "json")
    assert result.exit_code == _case(name)[1].status


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_is_printed_commands_a_terminal(name: str) -> None:
    for result in (_typed(name), _typed(name, "--json")):
        assert all(line.isprintable() for line in result.output.split("\n"))


@pytest.mark.parametrize("name", NAMES)
def test_json_is_the_object_of_the_backend(name: str) -> None:
    _, answer = _case(name)
    lines = [json.loads(line) for line in _typed(name, "--json").stdout.splitlines()]
    if name == "journal-tail":
        assert lines == answer.data["events"]  # NDJSON
    elif answer.data:
        assert lines == [answer.data]
    else:
        assert lines == [{"schema": "postlatch.error/1", "status": answer.status, "message": answer.message}]


def test_every_command_with_a_result_has_a_rendering() -> None:
    assert {command.name for command in CATALOGUE if command.way is Way.CALL} == set(RENDERERS)


def test_the_documented_fields_are_those_of_the_golden_files() -> None:
    results = {command.name: set(command.result) for command in CATALOGUE}
    for name in NAMES:
        argv, answer = _case(name)
        backend = _Fixed(answer)
        CliRunner().invoke(build_cli(backend), argv)
        assert set(answer.data) - {"schema", "errors"} <= results[backend.commands[0]]


def test_the_documented_members_are_those_of_the_golden_files() -> None:
    def check(data: dict[str, Any]) -> None:
        for field, members in data.items():
            for member in members if field in ROWS and isinstance(members, list) else []:
                if isinstance(member, dict):  # a right's recipients are plain texts
                    assert set(member) <= set(ROWS[field])
                    check(member)

    for name in NAMES:
        check(_case(name)[1].data)


def _write() -> None:
    for name in NAMES:
        people, programs = _typed(name), _typed(name, "--json")
        for suffix, text in (("txt", people.stdout), ("err", people.stderr), ("json", programs.stdout)):
            path = GOLDEN / f"{name}.{suffix}"
            path.unlink(missing_ok=True)
            if text:
                path.write_text(text)


if __name__ == "__main__":
    _write()
