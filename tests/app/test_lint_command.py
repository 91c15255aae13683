"""``postlatch lint``: its statuses, its formats, and a patch that is a new file."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from click.testing import CliRunner, Result

from postlatch.app.backend import LocalBackend
from postlatch.app.lint import kinds
from postlatch.cli.build import build_cli
from postlatch.cli.linting import KINDS

SAFE = "compatibility_level = 3.6\nmynetworks = 127.0.0.0/8\n"
OPEN = SAFE + "smtpd_relay_restrictions = check_sender_access static:OK, reject\n"
UNKNOWN = SAFE + "smtpd_relay_restrictions = check_policy_service inet:127.0.0.1:1, reject\n"
MASTER = "smtp inet n - n - - smtpd\n"


def _lint(folder: Path, main: str, *more: str) -> Result:
    (folder / "main.cf").write_text(main)
    (folder / "master.cf").write_text(MASTER)
    return CliRunner().invoke(build_cli(LocalBackend()), ["lint", "postfix", str(folder), *more])


@pytest.mark.parametrize(
    ("main", "status"), [(SAFE, 0), (OPEN, 1), (SAFE + "soft_bounce = yes\n", 0), (UNKNOWN, 3), ("x\n", 2)]
)
def test_the_exit_status_says_how_it_stands(tmp_path: Path, main: str, status: int) -> None:
    assert _lint(tmp_path, main).exit_code == status


def test_a_medium_finding_is_bad_news_though_it_is_closed(tmp_path: Path) -> None:
    result = _lint(tmp_path, SAFE + "smtpd_forbid_bare_newline = no\n", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["verdict"] == "closed"


def test_json_has_the_shape_of_the_contract(tmp_path: Path) -> None:
    data = json.loads(_lint(tmp_path, OPEN, "--json").stdout)
    assert set(data) == {"schema", "verdict", "can_relay", "findings"}
    assert data["schema"] == "postlatch.lint/1"
    assert {"id", "severity", "file", "line", "message", "fix"} <= set(data["findings"][0])
    assert json.loads(_lint(tmp_path, OPEN, "--format", "json").stdout) == data


def test_one_client_is_asked_for_alone(tmp_path: Path) -> None:
    assert _lint(tmp_path, SAFE, "--client", "127.0.0.1").exit_code == 1
    assert _lint(tmp_path, SAFE, "--client", "198.51.100.7").exit_code == 0


def test_other_programs_read_sarif_and_junit(tmp_path: Path) -> None:
    assert json.loads(_lint(tmp_path, OPEN, "--format", "sarif").stdout)["version"] == "2.1.0"
    assert _lint(tmp_path, OPEN, "--format", "html").stdout.startswith("<!DOCTYPE html>")
    assert fromstring(_lint(tmp_path, OPEN, "--format", "junit").stdout).tag == "testsuites"


def test_the_patch_is_a_new_file_and_the_configuration_stays(tmp_path: Path) -> None:
    target = tmp_path / "fix.patch"
    assert f"The changes are in {target}." in _lint(tmp_path, OPEN, "--fix", str(target)).stdout
    assert "+smtpd_relay_restrictions = permit_mynetworks" in target.read_text()
    assert (tmp_path / "main.cf").read_text() == OPEN
    again = _lint(tmp_path, OPEN, "--fix", str(target))
    assert (again.exit_code, "exists already" in again.stderr) == (2, True)


def test_what_has_no_patches_says_so(tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text("services: {}\n")
    arguments = ["lint", "compose", str(tmp_path / "docker-compose.yml"), "--fix", str(tmp_path / "x")]
    result = CliRunner().invoke(build_cli(LocalBackend()), arguments)
    assert (result.exit_code, "there are no patches for compose" in result.stderr) == (2, True)


def test_every_kind_that_is_offered_has_its_linter() -> None:
    assert kinds() == KINDS
