"""Ban lists of others: read line by line, bounded, every bad line named."""

from __future__ import annotations

import contextlib
import io
import json
from datetime import datetime
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.app.answer import Answer
from postlatch.app.ban_files import FORMATS, LONGEST_LINE, export_lines, parse_line
from postlatch.app.ban_import import import_bans, pieces
from postlatch.cli.guarding import GUARDING

NOW = 1_800_000_000.0
LOCAL = datetime.fromtimestamp(NOW).astimezone().strftime("%Y-%m-%d %H:%M:%S")
BANS: list[dict[str, Any]] = [
    {"network": "192.0.2.7/32", "until": NOW + 90, "since": NOW - 10, "why": "w", "kind": "passwords"},
    {"network": "198.51.100.0/24", "until": None, "since": NOW - 10, "why": "", "kind": "operator"},
    {"network": "2001:db8::/64", "until": NOW + 7200, "since": NOW - 10, "why": "", "kind": "imported"},
]


@pytest.mark.parametrize(
    ("line", "network", "until"),
    [
        ("192.0.2.7", "192.0.2.7/32", None),
        ("  192.0.2.99/24   # spam", "192.0.2.0/24", None),
        ("192.0.2.7 90", "192.0.2.7/32", NOW + 90),
        ("192.0.2.7\t30m", "192.0.2.7/32", NOW + 1800),
        ("2001:db8::/64, 7d", "2001:db8::/64", NOW + 604_800),
        ("192.0.2.7 2027-01-15T08:00:30Z", "192.0.2.7/32", NOW + 30),
        (f"192.0.2.7 \t{LOCAL} + 600 = 2027-01-15 08:10:00", "192.0.2.7/32", NOW + 600),
        (f"192.0.2.7 \t{LOCAL} + -1 = 9999-12-31 23:59:59", "192.0.2.7/32", None),
    ],
)
def test_a_line_is_an_address_or_network_with_or_without_a_time(line: str, network: str, until: float | None) -> None:
    entry = parse_line(line, NOW)
    assert entry is not None
    assert (entry.network, entry.until) == (ip_network(network), until)


@pytest.mark.parametrize("line", ["", "   ", "# all of them", "\t#"])
def test_empty_lines_and_comments_are_nothing(line: str) -> None:
    assert parse_line(line, NOW) is None


@pytest.mark.parametrize(
    "line",
    ["spam", "192.0.2.7 soon", "192.0.2.7 0", "192.0.2.7 2020-01-01", "192.0.2.7 1h 2h", "1" * (LONGEST_LINE + 1), "::1%lo x"],
)
def test_a_line_that_is_no_ban_says_why(line: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_line(line, NOW)


@given(st.text(max_size=600))
def test_any_line_is_a_ban_nothing_or_a_reason(line: str) -> None:
    entry = None
    with contextlib.suppress(ValueError):
        entry = parse_line(line, NOW)
    assert entry is None or entry.until is None or entry.until > NOW


@pytest.mark.parametrize("name", ["plain", "fail2ban"])
def test_what_is_exported_can_be_imported(name: str) -> None:
    entries = [parse_line(line, NOW) for line in export_lines(name, BANS, NOW)]
    assert [(str(entry.network), entry.until) for entry in entries if entry] == [(ban["network"], ban["until"]) for ban in BANS]


def test_the_other_formats_are_theirs() -> None:
    assert list(export_lines("nft", BANS, NOW)) == [
        "add element inet postlatch banned4 {",
        "  192.0.2.7/32 timeout 90s,",
        "  198.51.100.0/24,",
        "}",
        "add element inet postlatch banned6 {",
        "  2001:db8::/64 timeout 7200s,",
        "}",
    ]
    assert [json.loads(line)["seconds"] for line in export_lines("json", BANS, NOW)] == [90, None, 7200]
    [command] = [command for command in GUARDING if command.name == "ban.export"]
    assert command.arguments[0].choices == FORMATS


def test_a_long_file_goes_in_pieces_that_a_request_can_hold_and_long_lines_are_cut() -> None:
    text = b"10.0.0.1\n" * 12_000 + b"x" * 5_000_000 + b"\n10.0.0.2"
    found = list(pieces(io.BytesIO(text)))
    assert sum(map(len, found)) == 12_002
    assert all(len(json.dumps(piece)) < 1_000_000 for piece in found)
    assert len(found[-1][-2][1]) <= LONGEST_LINE + 2
    assert found[-1][-1] == (12_002, "10.0.0.2")


def test_a_file_that_is_not_there_is_said_and_what_was_taken_before_a_failure_too(tmp_path: Any) -> None:
    answer = import_bans(lambda *_: Answer(0, {}, ""), {"file": str(tmp_path / "none")})
    assert (answer.status, "No such file" in answer.message) == (2, True)
    (tmp_path / "list").write_bytes(b"10.0.0.1\n" * 6000)
    answers = iter([Answer(0, {"imported": 5000, "refused": 0, "not_taken": []}, ""), Answer(3, {}, "not done")])
    answer = import_bans(lambda *_: next(answers), {"file": str(tmp_path / "list")})
    assert answer == Answer(3, {}, "not done (5000 bans of the lines before are in force)")
