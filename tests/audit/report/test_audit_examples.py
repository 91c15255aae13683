"""The examples for build servers: they are YAML, and every command in them is one that there is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from postlatch.cli.backend import Answer
from postlatch.cli.build import build_cli

ROOT = Path(__file__).resolve().parents[3]
ACTION = ROOT / "docs" / "examples" / "github-action.yml"
CONFIG = ROOT / "docs" / "examples" / "pre-commit-config.yaml"
HOOKS = ROOT / ".pre-commit-hooks.yaml"


class _Recorder:
    """A backend that notes which command it is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any], Path | None]] = []

    def call(self, command: str, arguments: dict[str, Any], config: Path | None) -> Answer:
        self.calls.append((command, arguments, config))
        return Answer(0, {})

    def stream(self, command: str, arguments: dict[str, Any], config: Path | None) -> Iterator[dict[str, Any]]:
        self.calls.append((command, arguments, config))
        yield from ()

    def run(self, command: str, arguments: dict[str, Any], config: Path | None) -> int:
        self.calls.append((command, arguments, config))
        return 0


def _loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def _understood(words: list[str]) -> str:
    """The command that the command line takes these words for."""
    backend = _Recorder()
    result = CliRunner().invoke(build_cli(backend), words)
    assert result.exit_code == 0, result.output
    ((command, _, _),) = backend.calls
    return command


def _typed() -> Iterator[list[str]]:
    """The commands of the workflow, without what the shell makes of the end of the line."""
    workflow = _loaded(ACTION)
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            for line in step.get("run", "").splitlines():
                if line.startswith("postlatch "):
                    text = Template(line.partition(" > ")[0].partition(" || ")[0]).substitute(workflow["env"])
                    yield shlex.split(text)[1:]


def test_the_workflow_types_commands_that_there_are() -> None:
    assert [_understood(words) for words in _typed()] == ["lint", "audit"]


def test_the_workflow_needs_few_rights_and_names_its_actions_by_version() -> None:
    workflow = _loaded(ACTION)
    assert workflow["permissions"] == {"contents": "read"}
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w/-]+@v\d+", name) for name in used)


@pytest.mark.parametrize("hook", _loaded(HOOKS), ids=lambda hook: str(hook["id"]))
def test_a_hook_types_a_command_that_there_is(hook: dict[str, Any]) -> None:
    assert {"id", "name", "entry", "language", "files"} <= set(hook)
    program, *words = shlex.split(hook["entry"])
    assert program == "postlatch"
    assert _understood([*words, *hook["args"]]) == "lint"
    assert hook["pass_filenames"] is False  # PATH is one argument


@pytest.mark.parametrize(
    ("hook", "wanted", "others"),
    [
        ("postlatch-lint-postfix", ["main.cf", "deploy/postfix/master.cf"], ["domain.cf", "main.cf.bak"]),
        (
            "postlatch-lint-compose",
            ["compose.yml", "docker-compose.prod.yaml", "x/compose.yaml"],
            ["decompose.yml", "compose.txt"],
        ),
    ],
)
def test_a_hook_looks_at_the_files_of_its_server(hook: str, wanted: list[str], others: list[str]) -> None:
    (pattern,) = (re.compile(one["files"]) for one in _loaded(HOOKS) if one["id"] == hook)
    assert all(pattern.search(name) for name in wanted)
    assert not any(pattern.search(name) for name in others)


def test_the_sample_configuration_names_hooks_that_there_are() -> None:
    known = {hook["id"] for hook in _loaded(HOOKS)}
    (repo,) = _loaded(CONFIG)["repos"]
    assert {hook["id"] for hook in repo["hooks"]} == known
    assert {"repo", "rev"} <= set(repo)
