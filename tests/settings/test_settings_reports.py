"""The addresses for reports are ones that get mail here."""

from __future__ import annotations

from pathlib import Path

import pytest

from postlatch.settings.load import load_text
from postlatch.settings.problem import SettingsError

HEAD = """hostname = "mx.example.com"
[[listeners]]
name = "mx"
address = "127.0.0.1:0"
role = "mx"
[domains."example.com"]
deliver = "maildir:m"
recipients = ["alice", "Reports"]
aliases = { dmarc = ["alice"] }
[domains."asked.example"]
deliver = "lmtp://127.0.0.1:24"
recipients = "callout"
[domains."all.example"]
deliver = "maildir:m"
recipients = ["alice"]
aliases = { "*" = ["alice"] }
"""


def problems(reports: str) -> list[str]:
    try:
        load_text(f"{HEAD}[reports]\n{reports}\n", Path("postlatch.toml"))
    except SettingsError as error:
        return [f"{problem.key}: {problem.message}" for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "address",
    [
        "reports@example.com",
        "DMARC@Example.com",
        "reports+d@example.com",
        "postmaster@example.com",
        "any@asked.example",
        "any@all.example",
    ],
)
def test_an_address_that_gets_mail_is_fine(address: str) -> None:
    assert problems(f'dmarc = "{address}"\ntls = "{address}"') == []


@pytest.mark.parametrize("key", ["dmarc", "tls"])
def test_an_address_elsewhere_is_refused(key: str) -> None:
    [problem] = problems(f'{key} = "reports@elsewhere.example"')
    assert problem.startswith(f"reports.{key}: ")
    assert "not in a domain of ours" in problem


def test_an_address_that_nobody_has_is_refused_with_what_may_be_meant() -> None:
    [problem] = problems('dmarc = "dmark@example.com"')
    assert '"dmark" is neither a recipient nor an alias of example.com' in problem
    assert '"dmarc"' in problem
    assert "its mail is refused" in problem


def test_what_is_no_address_at_all_is_told_once() -> None:
    assert len(problems('dmarc = "nobody"')) == 1
