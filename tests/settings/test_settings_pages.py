"""The written side of the settings: the reference, the file that init writes, and what a machine must have."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from postlatch.settings.kinds import Place, of_field
from postlatch.settings.load import load, load_text
from postlatch.settings.problem import SettingsError
from postlatch.settings.readiness import unreachable
from postlatch.settings.reference import reference
from postlatch.settings.template import ADDRESSES, render_config
from postlatch.settings.tree import Settings


def _fields(place: Place, path: str = "") -> Iterator[tuple[str, str, list[str], bool]]:
    """(path, description, examples, whether it is a table of its own) of every key."""
    for name, info in place.fields.items():
        inner = of_field(info)
        table = inner if inner.fields else inner.elements if inner.elements is not None and inner.elements.fields else None
        yield f"{path}{name}", info.description or "", list(info.examples or []), table is not None
        if table is not None:
            yield from _fields(table, f"{path}{name}.")


ALL = list(_fields(Place(Settings)))


@pytest.mark.parametrize("field", ALL, ids=[field[0] for field in ALL])
def test_every_key_is_described_and_shown_by_an_example(field: tuple[str, str, list[str], bool]) -> None:
    path, description, examples, table = field
    assert len(description) > 3
    assert description[0].isupper() or description[0] == "`"
    assert description.endswith(".")
    assert examples or table
    assert f"`{path.rpartition('.')[2]}`" in reference() or table


def test_the_reference_is_a_page_of_tables() -> None:
    page = reference()
    assert page.startswith("# Configuration\n")
    for header in ("[[listeners]]", '[domains."example.com"]', "[limits.account]", "[accounts.argon2]", "[[rights]]"):
        assert f"## `{header}`" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 5 for row in rows)
    assert '| `journal` | a length of time, e.g. `"90 days"` | `"90 days"` |' in page


def test_the_reference_is_printed_as_a_module() -> None:
    run = subprocess.run([sys.executable, "-m", "postlatch.settings.reference"], capture_output=True, text=True, check=True)
    assert run.stdout == reference()
    assert run.stderr == ""


def test_every_example_is_accepted_by_its_key() -> None:
    head = {"hostname": '"mx.example.com"', "listeners": '[{ name = "relay", address = "127.0.0.1:0", role = "relay" }]'}
    boxes = '["dmarc-reports", "tls-reports"]'  # the addresses of reports must be ours
    head["domains"] = f'{{ "example.com" = {{ deliver = "maildir:mail", recipients = {boxes} }} }}'
    for path, _, examples, table in ALL:
        # Keys of tables whose other keys are required are covered by the documented example in test_settings_load.
        if (
            table
            or path.split(".")[0]
            in {"listeners", "domains", "relay_domains", "rights", "tls", "hostname", "directories", "oauth"}
            or ".routes." in path
            or ".destinations." in path
            or path.startswith(
                (
                    "outbound.by_",
                    "outbound.resolver_trusted",
                    "dmarc.overrides.",
                    "dmarc.sealers.",
                    "reputation.lists.",
                    "oauth.",
                )
            )
        ):
            continue
        for example in examples:
            extra = (
                "resolver = ['127.0.0.1:53']\nsmarthost = 'smtp://h'\nusername = 'u'\npassword_file = 'p'\ntls = 'verify'\n"
                if path.startswith("outbound.")
                else ""
            )
            section, _, key = path.rpartition(".")
            extra = "".join(line + "\n" for line in extra.splitlines() if not line.startswith(f"{key} "))
            top = "".join(f"{name} = {value}\n" for name, value in head.items() if name != path)
            load_text(top + (f"[{section}]\n{extra}" if section else "") + f"{key} = {example}\n", Path("postlatch.toml"))


def test_what_init_writes_loads_without_a_problem() -> None:
    settings = load_text(render_config("example.com", "mx.example.com"), Path("/etc/postlatch/postlatch.toml"))
    assert [(listener.name, listener.role.value) for listener in settings.listeners] == [
        ("mx", "mx"),
        ("submission", "submission"),
        ("submissions", "submissions"),
    ]
    assert settings.rights == ()
    assert dict(settings.relay_domains) == {}
    assert settings.domains["example.com"].recipients == ("admin",)
    assert dict(settings.domains["example.com"].aliases) == {
        "postmaster": ("admin@example.com",),
        "abuse": ("admin@example.com",),
    }
    assert settings.alerts.to == ("admin@example.com",)


def test_what_init_writes_takes_its_places_as_arguments() -> None:
    text = render_config(
        "xn--bcher-kva.example",
        "relay.example",
        admin="o'neil",
        user="mail",
        addresses=dict.fromkeys(ADDRESSES, ("127.0.0.1:0",)),
        certificate='/etc/a"b.pem',
        http="127.0.0.1:0",
    )
    settings = load_text(text, Path("postlatch.toml"))
    assert settings.user == "mail"
    assert all(listener.address == ("127.0.0.1:0",) for listener in settings.listeners)
    assert settings.tls is not None
    assert settings.tls.certificate == Path('/etc/a"b.pem')


def test_the_commented_parts_of_what_init_writes_are_right_too() -> None:
    text = render_config("example.com", "mx.example.com")
    settings = load_text(re.sub(r"(?m)^# (?=\[|\w+ = )", "", text), Path("postlatch.toml"))
    assert [right.name for right in settings.rights] == ["printers"]
    assert list(settings.relay_domains) == ["branch.example"]
    assert settings.outbound.tls == "verify"
    assert settings.user == "postlatch"


def _ready(directory: Path, **changes: str) -> list[str]:
    path = directory / "postlatch.toml"
    text = render_config("example.com", "mx.example.com")
    for old, new in changes.items():
        text = text.replace(f"{old} =", f"{new} =")
    path.write_text(text)
    return [f"{problem.key}: {problem.message}" for problem in unreachable(load(path))]


def test_missing_and_empty_files_are_found_before_a_start(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("x")
    (tmp_path / "key.pem").write_text("")
    (problem,) = _ready(tmp_path)
    assert problem == f"tls.key: {tmp_path / 'key.pem'} is empty"
    (tmp_path / "cert.pem").unlink()
    (tmp_path / "key.pem").write_text("x")
    (problem,) = _ready(tmp_path)
    assert problem.startswith(f"tls.certificate: there is no file {tmp_path / 'cert.pem'}")


def test_everything_in_place_is_no_problem(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_text("x")
    assert _ready(tmp_path) == []


def test_a_data_directory_that_is_a_file_is_found(tmp_path: Path) -> None:
    for name in ("cert.pem", "key.pem", "data"):
        (tmp_path / name).write_text("x")
    assert _ready(tmp_path) == [f"data_dir: {tmp_path / 'data'} is a file, not a directory"]


def test_logins_without_a_certificate_are_found(tmp_path: Path) -> None:
    text = render_config("example.com", "mx.example.com")
    start, end = text.index("[tls]"), text.index("# Our domains")
    (tmp_path / "postlatch.toml").write_text(text[:start] + text[end:])
    problems = unreachable(load(tmp_path / "postlatch.toml"))
    assert [(problem.key, problem.line is not None) for problem in problems] == [
        ("listeners.submission.role", True),
        ("listeners.submissions.role", True),
    ]


def test_a_smarthost_password_that_is_missing_is_found(tmp_path: Path) -> None:
    (tmp_path / "postlatch.toml").write_text(
        'hostname = "a.example"\n[[listeners]]\nname = "mx"\naddress = "127.0.0.1:0"\nrole = "mx"\n'
        '[outbound]\nsmarthost = "smtp://h"\nusername = "u"\npassword_file = "secret"\ntls = "verify"\n'
    )
    (problem,) = unreachable(load(tmp_path / "postlatch.toml"))
    assert problem.key == "outbound.password_file"
    assert problem.line == 9


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    (tmp_path / "postlatch.toml").write_text("")
    (tmp_path / "postlatch.toml").chmod(0)
    with pytest.raises(SettingsError, match="no permission to read it"):
        load(tmp_path / "postlatch.toml")
