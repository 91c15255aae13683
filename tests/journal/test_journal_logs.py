from __future__ import annotations

import errno
import io
import json
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from journal_helpers import HOSTILE

from postlatch.journal.logs import LEVELS, Style, configure, log_event
from postlatch.model.events import EVENTS, Event
from postlatch.testing.clock import FakeClock


@pytest.fixture(autouse=True)
def _silent_again() -> Iterator[None]:
    yield
    configure("console", io.StringIO(), FakeClock())
    structlog.reset_defaults()


def lines(style: Style, *events: Event) -> list[str]:
    stream = io.StringIO()
    configure(style, stream, FakeClock())
    for event in events:
        log_event(event)
    text = stream.getvalue()
    assert text.endswith("\n")
    return text[:-1].split("\n")


REFUSED = Event(
    "recipient.refused",
    1_767_225_600.25,
    {
        "client": "203.0.113.9",
        "helo": "a b",
        "recipient": "x@far.example",
        "rule": "relay",
        "size": 5,
        "tls": False,
        "account": "",
    },
)


def test_a_json_line_has_the_journals_names() -> None:
    (line,) = lines("json", REFUSED)
    assert json.loads(line) == {
        "at": "2026-01-01T00:00:00.250Z",
        "level": "info",
        "event": "recipient.refused",
        **REFUSED.fields,
    }


def test_a_console_line_reads_well_and_quotes_what_is_not_one_word() -> None:
    (line,) = lines("console", REFUSED)
    assert line == (
        '2026-01-01T00:00:00.250Z info    recipient.refused client=203.0.113.9 helo="a b" '
        "recipient=x@far.example rule=relay size=5 tls=false"
    )


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_newline_or_escape_in_helo_is_one_escaped_record(style: Style) -> None:
    found = lines(style, Event("session.ended", 5.0, {"helo": HOSTILE, "why": "x rule=relay", "account": 'a" rule="relay'}))
    assert len(found) == 1
    assert found[0].isascii()
    assert found[0].isprintable()
    assert "\\r\\n250 OK\\u001b[31m\\u007f\\u0000\\u202e" in found[0]


@given(style=st.sampled_from(["console", "json"]), helo=st.text(), field=st.sampled_from(["helo", "level", "at", "event"]))
def test_no_text_whatever_makes_a_second_line_or_an_unprintable_one(style: Style, helo: str, field: str) -> None:
    (line,) = lines(style, Event("session.ended", 5.0, {field: helo}))
    assert line.isascii()
    assert line.isprintable()
    if style == "json":
        record = json.loads(line)
        assert (record["event"], record["level"], record["at"]) == ("session.ended", "info", "1970-01-01T00:00:05.000Z")


def test_what_needs_a_person_is_louder_and_every_loud_event_exists() -> None:
    assert set(LEVELS) <= set(EVENTS)
    assert " error " in lines("console", Event("store.failed", 0.0, {}))[0]
    assert " warning " in lines("console", Event("alert.raised", 0.0, {}))[0]
    assert '"level":"info"' in lines("json", Event("message.accepted", 0.0, {}))[0]


@pytest.mark.parametrize("style", ["console", "json"])
def test_lines_of_other_rooms_come_out_in_the_same_way(style: Style) -> None:
    stream = io.StringIO()
    configure(style, stream, FakeClock())
    log = structlog.get_logger()
    log.debug("not wanted")
    log.warning("certificate.unreadable", path="/etc/x\n")
    try:
        int(HOSTILE)
    except ValueError:
        log.exception("failed")
    first, second = stream.getvalue().splitlines()
    assert "2026-01-01T00:00:00.000Z" in first
    assert "/etc/x\\n" in first
    assert "Traceback" in second
    assert second.isprintable()


def test_a_stream_that_fails_loses_the_line_and_nothing_else() -> None:
    stream = io.StringIO()
    configure("json", stream, FakeClock())
    stream.close()
    log_event(REFUSED)
    configure("json", _FullDisk(), FakeClock())
    log_event(REFUSED)


class _FullDisk(io.StringIO):
    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_time_without_a_date_is_shown_as_its_number() -> None:
    assert lines("console", Event("relay.started", 1e300, {}))[0].startswith("1e+300 ")
