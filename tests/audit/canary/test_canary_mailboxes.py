"""Maildirs and records: read while others write them, and never changed."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from canary_support import OTHER, RUN, TOKEN, bounce, message
from hypothesis import given
from hypothesis import strategies as st

from postlatch.audit.canary.maildir import MaildirReader
from postlatch.audit.canary.record import RecordReader, as_line, read_line
from postlatch.audit.canary.values import Arrival, CanaryError

SECOND = f"{RUN}-002-00000000"
NOW = 1_767_225_600.0


def put(folder: Path, name: str, octets: bytes, at: float = NOW) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(octets)
    os.utime(path, (at, at))
    return path


def tokens(reader: MaildirReader | RecordReader) -> list[str]:
    return [arrival.token for arrival in asyncio.run(reader.arrivals())]


def test_a_maildir_is_read_in_new_and_cur_and_stays_as_it_is(tmp_path: Path) -> None:
    reader = MaildirReader(tmp_path, run=RUN, since=NOW)
    assert tokens(reader) == []
    first = put(tmp_path, "new/1.a", message(TOKEN, "Received: from a by b"), NOW + 2)
    put(tmp_path, "cur/2.b:2,S", bounce(SECOND), NOW + 1)
    put(tmp_path, "new/3.c", message(OTHER))
    put(tmp_path, "tmp/4.d", message(f"{RUN}-004-00000000"))
    before = {path: path.stat() for path in tmp_path.rglob("*")}
    assert tokens(reader) == [SECOND, TOKEN]
    found = asyncio.run(reader.arrivals())
    assert [(one.bounce, one.received, one.at) for one in found] == [(True, (), NOW + 1), (False, ("from a by b",), NOW + 2)]
    after = {path: path.stat() for path in tmp_path.rglob("*")}
    assert {path: (status.st_mtime_ns, status.st_ino) for path, status in before.items()} == {
        path: (status.st_mtime_ns, status.st_ino) for path, status in after.items()
    }
    first.rename(tmp_path / "cur" / "1.a:2,S")  # its owner reads it
    assert tokens(reader) == [SECOND, TOKEN]


def test_what_was_there_long_before_is_not_looked_at(tmp_path: Path) -> None:
    put(tmp_path, "new/old", message(TOKEN), NOW - 1000)
    assert tokens(MaildirReader(tmp_path, run=RUN, since=NOW)) == []


def test_links_pipes_and_directories_in_a_maildir_are_no_messages(tmp_path: Path) -> None:
    secret = put(tmp_path / "elsewhere", "file", message(TOKEN))
    folder = tmp_path / "mail"
    (folder / "new").mkdir(parents=True)
    (folder / "new" / "link").symlink_to(secret)
    os.mkfifo(folder / "new" / "pipe")
    (folder / "new" / "directory").mkdir()
    assert tokens(MaildirReader(folder, run=RUN, since=0)) == []


def test_a_message_of_any_size_is_read_from_its_beginning(tmp_path: Path) -> None:
    path = put(tmp_path, "new/1", message(TOKEN))
    os.truncate(path, 1 << 36)  # sparse
    os.utime(path, (NOW, NOW))
    assert tokens(MaildirReader(tmp_path, run=RUN, since=NOW)) == [TOKEN]


def test_what_is_no_maildir_is_explained(tmp_path: Path) -> None:
    put(tmp_path / "other", "file", b"")
    for path, text in (
        (tmp_path / "none", "There is no directory"),
        (tmp_path / "other", "is no Maildir"),
        (tmp_path / "other" / "file", "There is no directory"),
    ):
        with pytest.raises(CanaryError, match=text):
            MaildirReader(path, run=RUN, since=NOW)


ARRIVAL = Arrival(TOKEN, "a@b.example", "c@d.example", bounce=True, received=("from a by b",), client="192.0.2.1", at=NOW)


def test_a_line_says_what_it_was_made_of() -> None:
    for arrival in (ARRIVAL, Arrival(TOKEN), ARRIVAL._replace(sender="a\\x00b@c", bounce=False)):
        assert read_line(as_line(arrival).encode()) == arrival


def test_a_record_is_read_while_it_grows(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_text(as_line(ARRIVAL._replace(token=OTHER)))
    reader = RecordReader(path, run=RUN)
    assert tokens(reader) == []
    line = as_line(ARRIVAL)
    with path.open("a") as file:
        file.write(line[:20])
        file.flush()
        assert tokens(reader) == []
        file.write(line[20:] + as_line(ARRIVAL._replace(token=SECOND)))
        file.flush()
        assert tokens(reader) == [TOKEN, SECOND]
    assert tokens(reader) == [TOKEN, SECOND]


def test_a_record_that_is_copied_anew_is_read_anew(tmp_path: Path) -> None:
    path, copy = tmp_path / "record", tmp_path / "copy"
    path.write_text(as_line(ARRIVAL))
    reader = RecordReader(path, run=RUN)
    copy.write_text(as_line(ARRIVAL) + as_line(ARRIVAL._replace(token=SECOND)))
    copy.rename(path)
    assert tokens(reader) == [TOKEN, SECOND]


def test_a_record_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(CanaryError, match="audit canary --record"):
        RecordReader(tmp_path / "none", run=RUN)
    with pytest.raises(CanaryError, match="cannot be read"):
        RecordReader(tmp_path, run=RUN)


def test_lines_that_are_no_arrivals_do_not_hide_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "record"
    deep = "[" * 60_000 + "]" * 60_000
    bad = ["", "{", "[]", "null", '{"token": 5}', deep, '{"token": "\\ud800"}', "x" * 70_000, '{"at": 1e999, "token": ""}']
    path.write_bytes("\n".join(bad).encode() + b"\n\xff\xfe\0\n" + as_line(ARRIVAL).encode())
    assert tokens(RecordReader(path, run=RUN)) == [TOKEN]


def test_what_does_not_say_that_it_is_the_message_is_no_proof() -> None:
    line = json.loads(as_line(ARRIVAL._replace(bounce=False)))
    del line["bounce"]
    found = read_line(json.dumps(line).encode())
    assert found is not None
    assert found.bounce


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=30), lambda inner: st.lists(inner, max_size=4), max_leaves=8
)


@given(st.dictionaries(st.sampled_from(Arrival._fields), JSON))
def test_any_line_gives_printable_bounded_texts_or_nothing(data: dict[str, object]) -> None:
    found = read_line(json.dumps(data).encode())
    if found is not None:
        assert all(len(text) <= 500 and text.isascii() for text in (found.token, found.sender, found.client, *found.received))
        assert as_line(found)


@given(st.binary(max_size=200))
def test_any_octets_are_a_line_that_is_none(octets: bytes) -> None:
    read_line(octets)
