"""Configurations that no person wrote: still a SettingsError with words for people, never a traceback."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from postlatch.settings.load import load_text
from postlatch.settings.problem import SettingsError
from postlatch.settings.values import parse_day

PATH = Path("/etc/postlatch.toml")


def said(text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load_text(text, PATH)
    return str(caught.value)


def test_a_number_of_more_digits_than_python_reads_is_explained() -> None:
    assert "thousands of digits" in said(f"[session]\nerrors = {'9' * 5000}\n")


@pytest.mark.parametrize("number", ["0x" + "F" * 5000, "9" * 4000])
def test_a_number_of_more_digits_than_python_writes_is_not_written_out(number: str) -> None:
    for key in ("errors", "idle", "x"):
        message = said(f"[session]\n{key} = {number}\n")
        assert f"session.{key}" in message
        assert len(message) < 1500


def test_a_last_day_that_has_no_day_after_it_is_explained() -> None:
    for value in (date.max, "9999-12-31"):
        with pytest.raises(ValueError, match="no day after it"):
            parse_day(value)
    assert parse_day("9999-12-30") == date(9999, 12, 30)
