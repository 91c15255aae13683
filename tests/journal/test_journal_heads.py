"""Signed heads: what the chain alone cannot show, a copy of a head and a key that is elsewhere do (RELIABILITY case 45)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from journal_helpers import DAY, Journal

from postlatch.journal.attest import Attested, attest, unsigned
from postlatch.journal.heads import SignedHead, is_signed_by, key_name, parse, sign
from postlatch.journal.keys import (
    HEADS_FILE,
    KEY_FILE,
    KEYS_FILE,
    KeyProblem,
    is_untouched,
    keys_of_pem,
    known_keys,
    load_private,
    make_key,
)
from postlatch.journal.prune import prune
from postlatch.journal.signer import JournalChanged, append, due, last_signed
from postlatch.journal.verify import VerifyReport, verify, verify_recent

HOUR = 3600.0


class Signed:
    """A journal whose heads are signed in a folder, as the relay does it."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal()
        self.folder = folder
        self.key = make_key(folder, self.journal.clock.now())

    def sign(self, reason: str = "hourly") -> list[SignedHead]:
        last, now = last_signed(self.folder), self.journal.clock.now()
        name = key_name(load_private(self.folder).public_key())
        return append(self.folder, last, due(self.journal.db, last, name, now, reason), now)

    def hours(self, count: int) -> None:
        """So many hours of mail, a head after each."""
        for _ in range(count):
            self.journal.clock.advance(HOUR)
            self.journal.write(3, 2)
            self.sign()

    def attested(self) -> Attested:
        return attest((self.folder / HEADS_FILE).read_bytes(), known_keys(self.folder), HEADS_FILE)

    def verify(self) -> VerifyReport:
        found = self.attested()
        report = verify(self.journal.db, heads=[signed.head for signed in found.heads])
        more = [*found.findings, *unsigned(self.journal.db, found.heads, self.journal.clock.now())]
        return report.with_more(more, found.failures)

    def rewrite(self, change: Callable[[list[bytes]], list[bytes]]) -> None:
        path = self.folder / HEADS_FILE
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


@pytest.fixture
def signed(tmp_path: Path) -> Signed:
    return Signed(tmp_path)


def forge(journal: Journal, batches: int) -> None:
    """Write the whole chain anew, as somebody can who has the database and this program: nothing in it is wrong."""
    journal.tamper("DELETE FROM journal_batches")
    journal.tamper("DELETE FROM journal_segments")
    other = Journal(journal.db)
    other.clock.jump(journal.clock.now() - other.clock.now() - 3600)
    for _ in range(batches):
        other.seal(other.event(message="forged", recipient="nobody@example.com"))


def test_heads_that_were_signed_hourly_verify(signed: Signed) -> None:
    signed.hours(30)
    report = signed.verify()
    assert report.ok
    assert report.findings == ()
    heads = signed.attested().heads
    assert [head.number for head in heads] == list(range(1, len(heads) + 1))
    assert {head.reason for head in heads} == {"hourly"}, "the last hour of a day is the end of its segment"
    assert heads[-1].events == heads[-1].seq == 150
    assert heads[-1].hash == report.head.hash if report.head else False


def test_a_head_is_signed_once_an_hour_and_not_without_news(signed: Signed) -> None:
    signed.journal.write(2)
    assert [head.reason for head in signed.sign("start")] == ["start"]
    assert signed.sign("start") == [], "nothing new"
    signed.journal.write(1)
    assert signed.sign("") == [], "the hour has not ended"
    signed.journal.clock.advance(HOUR)
    assert [head.reason for head in signed.sign("")] == ["hourly"]


def test_each_closed_segment_gets_a_head_of_its_own(signed: Signed) -> None:
    signed.journal.days(4)
    assert [(head.reason, head.segment) for head in signed.sign("stop")] == [
        ("segment", 1),
        ("segment", 2),
        ("segment", 3),
        ("stop", 4),
    ]
    assert signed.verify().ok


def test_a_chain_that_was_forged_from_the_start_verifies_and_its_heads_do_not(signed: Signed) -> None:
    signed.hours(3)
    forge(signed.journal, 40)
    assert verify(signed.journal.db).ok, "the chain alone shows nothing"
    report = signed.verify()
    assert not report.ok
    assert any("head" in failure for failure in report.failures)
    with pytest.raises(JournalChanged):
        signed.sign()


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("DELETE FROM journal_batches WHERE first_seq > 7", "its end was cut off"),
        ("DELETE FROM journal_batches WHERE first_seq = 4", "Events 4 to 5 are missing"),
        ("UPDATE journal_batches SET payload = replace(payload, 'b1@', 'bX@') WHERE first_seq = 1", "its hash does not match"),
        ("UPDATE journal_batches SET first_at = first_at - 86400 WHERE first_seq = 6", "its hash does not match"),
    ],
)
def test_a_row_that_was_edited_or_deleted_is_a_failure(signed: Signed, sql: str, says: str) -> None:
    signed.hours(3)
    signed.journal.tamper(sql.replace("replace(payload, 'b1@', 'bX@')", "CAST(replace(payload, 'b1@', 'bX@') AS BLOB)"))
    assert any(says in failure for failure in signed.verify().failures)
    recent = verify_recent(signed.journal.db, heads=[head.head for head in signed.attested().heads])
    assert any(says in failure for failure in recent.failures)


def test_an_end_that_was_cut_off_is_noticed_when_the_next_head_is_due(signed: Signed) -> None:
    signed.hours(2)
    signed.journal.tamper("DELETE FROM journal_batches WHERE first_seq >= 9")
    with pytest.raises(JournalChanged, match="does not hold event 10"):
        signed.sign()


def test_a_pruned_head_is_compared_with_what_is_kept_of_its_segment(signed: Signed) -> None:
    signed.journal.days(3)
    signed.sign()
    now = signed.journal.clock.now()
    while (step := prune(signed.journal.db, now - DAY / 2, now)) is not None:
        signed.journal.db.execute("BEGIN")
        step.operation(signed.journal.db)
        signed.journal.sealer.seal(signed.journal.db, step.events)
        signed.journal.db.execute("COMMIT")
    assert signed.verify().ok
    signed.sign()
    signed.journal.tamper("UPDATE journal_segments SET head = zeroblob(32) WHERE segment = 1")
    assert any("exported at event 6" in failure for failure in signed.verify().failures)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda lines: lines[:1] + lines[2:], "head 3 follows head 1"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "follows head"),
        (lambda lines: [lines[0].replace(b'"seq":5', b'"seq":6'), *lines[1:]], "line 1: its signature is not that of the key"),
        (lambda lines: [b"{}\n", *lines], "line 1: it is no head"),
        (lambda lines: [b"\xff\x00\n", *lines], "line 1: it is no head"),
        (lambda lines: [b"[" * 100_000 + b"\n", *lines], "line 1: it is no head"),
    ],
)
def test_heads_that_were_changed_are_failures(signed: Signed, change: Callable[[list[bytes]], list[bytes]], says: str) -> None:
    signed.hours(4)
    signed.rewrite(change)
    assert any(says in failure for failure in signed.verify().failures)


def test_a_head_of_somebody_elses_key_is_a_failure(signed: Signed, tmp_path: Path) -> None:
    signed.hours(2)
    forger = Ed25519PrivateKey.generate()
    [*_, last] = signed.attested().heads
    forged = sign(forger, last.head, last.number + 1, last.signed_at, "hourly")
    signed.rewrite(lambda lines: [*lines, forged.line(), forged._replace(key=last.key).line()])
    failures = signed.verify().failures
    assert any("signed with a key that is not known" in failure for failure in failures)
    assert any("its signature is not that of the key" in failure for failure in failures)


def test_a_line_that_the_power_failure_cut_short_is_written_anew(signed: Signed) -> None:
    signed.hours(2)
    path = signed.folder / HEADS_FILE
    path.write_bytes(path.read_bytes() + b'{"schema":"postlatch.jou')
    assert [finding for finding in signed.verify().findings if "cut short" in finding]
    assert signed.verify().ok
    signed.hours(1)
    assert signed.verify() == verify(signed.journal.db)
    assert [head.number for head in signed.attested().heads] == [1, 2, 3]


def test_a_last_line_that_is_damaged_is_said_and_nothing_is_signed(signed: Signed) -> None:
    signed.hours(2)
    signed.rewrite(lambda lines: [*lines[:-1], b"nonsense\n"])
    with pytest.raises(KeyProblem, match=r"the last line of .*journal\.heads is damaged"):
        signed.sign()


def test_events_that_nobody_signed_for_two_hours_are_a_finding(signed: Signed) -> None:
    signed.journal.write(3)
    signed.journal.clock.advance(1.5 * HOUR)
    assert unsigned(signed.journal.db, (), signed.journal.clock.now()) == []
    signed.journal.clock.advance(HOUR)
    assert unsigned(signed.journal.db, (), signed.journal.clock.now()) == [
        "No head is signed, and the journal begins at 2026-01-01T00:00:01Z."
    ]
    signed.sign()
    assert [finding[:17] for finding in signed.verify().findings] == ["The events before"]
    signed.journal.write(1)
    signed.journal.clock.advance(3 * HOUR)
    assert [finding[:18] for finding in signed.verify().findings] == ["The events before ", "No head was signed"]
    signed.sign()
    assert len(signed.verify().findings) == 2, "a later head does not hide it"


def test_a_quiet_night_is_no_finding(signed: Signed) -> None:
    signed.hours(1)
    signed.journal.clock.advance(10 * HOUR)
    signed.hours(1)
    assert signed.verify().findings == ()


def test_a_clock_that_went_back_between_two_heads_is_told(signed: Signed) -> None:
    signed.hours(2)
    signed.journal.clock.jump(-1.5 * HOUR)
    signed.journal.seal(signed.journal.event("clock.jumped", seconds=-5400))
    signed.sign()
    report = signed.verify()
    assert report.ok
    assert any("the clock went back" in finding for finding in report.findings)


# The key


def test_the_key_is_the_relays_alone_and_is_made_once(tmp_path: Path) -> None:
    assert is_untouched(tmp_path)
    made = make_key(tmp_path, 5.0)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert not is_untouched(tmp_path)
    assert known_keys(tmp_path) == {made.name: known_keys(tmp_path)[made.name]}
    assert key_name(load_private(tmp_path).public_key()) == made.name
    (tmp_path / KEY_FILE).unlink()
    assert not is_untouched(tmp_path), "a key that went missing is not a first start"
    with pytest.raises(KeyProblem, match=r"journal\.key is missing: put it back, or make a new one"):
        load_private(tmp_path)


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (b"nonsense", 0o600, "is not an Ed25519 key"),
        (b"", 0o600, "is not an Ed25519 key"),
        (None, 0o640, "may be read by others"),
    ],
)
def test_a_key_that_cannot_be_used_says_why(tmp_path: Path, content: bytes | None, mode: int, says: str) -> None:
    make_key(tmp_path, 5.0)
    if content is not None:
        (tmp_path / KEY_FILE).write_bytes(content)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(KeyProblem, match=says):
        load_private(tmp_path)


@pytest.mark.parametrize(
    "content", [b"{}\n", b"nonsense\n", b'{"schema": "postlatch.journal-key/1", "key": "a", "public": "00", "since": 1}\n']
)
def test_a_damaged_list_of_keys_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / KEYS_FILE).write_bytes(content)
    with pytest.raises(KeyProblem, match=r"journal\.keys is damaged"):
        known_keys(tmp_path)


def test_after_a_new_key_old_heads_still_verify_and_the_numbers_go_on(signed: Signed) -> None:
    signed.hours(3)
    made = make_key(signed.folder, signed.journal.clock.now())
    signed.journal.seal(signed.journal.event("journal.keyed", key=made.name, why="test"))
    signed.hours(2)
    report = signed.verify()
    assert report.ok
    assert made.name in report.keyed
    assert [head.number for head in signed.attested().heads] == [1, 2, 3, 4, 5]
    assert len({head.key for head in signed.attested().heads}) == 2


def test_a_new_key_goes_on_where_the_journal_was_lost_and_the_loss_stays_visible(signed: Signed) -> None:
    signed.hours(3)
    signed.journal.tamper("DELETE FROM journal_batches WHERE first_seq > 5")
    make_key(signed.folder, signed.journal.clock.now())
    assert [head.seq for head in signed.sign()] == [5]
    assert any("the journal went back" in failure for failure in signed.verify().failures)


def test_public_keys_are_read_from_pem(tmp_path: Path) -> None:
    keys = [make_key(tmp_path, 1.0), make_key(tmp_path, 2.0)]
    assert keys_of_pem("".join(key.pem() for key in keys).encode()).keys() == {key.name for key in keys}
    other = X25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for content, says in ((b"", "no public key"), (b"nonsense", "no public key"), (other, "not an Ed25519 key")):
        with pytest.raises(ValueError, match=says):
            keys_of_pem(content)
    with pytest.raises(ValueError, match="damaged"):
        keys_of_pem(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")


# A line


def test_a_line_is_what_its_description_says(signed: Signed) -> None:
    signed.hours(1)
    line = (signed.folder / HEADS_FILE).read_bytes()
    head = parse(line)
    fields = json.loads(line)
    signature = bytes.fromhex(fields.pop("signature"))
    assert fields.pop("schema") == "postlatch.journal-head/1"
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    signed.key.key.verify(signature, b"postlatch.journal-head/1\0" + text.encode())
    assert head.line() == line


@pytest.mark.parametrize("field", [field for field in SignedHead._fields if field not in {"key", "signature"}])
def test_every_field_is_covered_by_the_signature(signed: Signed, field: str) -> None:
    signed.hours(1)
    head = parse((signed.folder / HEADS_FILE).read_bytes())
    assert is_signed_by(head, signed.key.key)
    value = getattr(head, field)
    other: dict[str, Any] = {field: f"{value}x" if isinstance(value, str) else value + 1}
    changed = head._replace(**other)
    assert not is_signed_by(changed, signed.key.key)
    assert not is_signed_by(head._replace(signature="zz"), signed.key.key)


@pytest.mark.parametrize("field", SignedHead._fields)
def test_a_line_with_another_type_or_without_a_field_is_none(signed: Signed, field: str) -> None:
    signed.hours(1)
    fields = json.loads((signed.folder / HEADS_FILE).read_bytes())
    for changed in ({**fields, field: None}, {**fields, field: True}, {n: v for n, v in fields.items() if n != field}):
        with pytest.raises(ValueError, match=r"not a signed head|another type"):
            parse(json.dumps(changed).encode())


# Beside the relay's work


def test_signing_reads_a_few_rows_whatever_the_size(signed: Signed) -> None:
    steps: dict[int, int] = {}
    for size in (50, 5000):
        signed.journal.write(*[1] * size)
        signed.sign()
        signed.journal.write(1)
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        signed.journal.db.set_progress_handler(step, 1)
        signed.sign()
        signed.journal.db.set_progress_handler(None, 1)
        steps[size] = count
    assert steps[5000] < steps[50] + 50


def test_the_newest_part_is_checked_within_its_bounds(signed: Signed) -> None:
    signed.journal.days(3, [2] * 30)
    heads = [head.head for head in (*signed.sign(), *signed.sign())]
    report = verify_recent(signed.journal.db, heads=heads, batches=10)
    assert (report.ok, report.batches, report.events) == (True, 10, 20)
    report = verify_recent(signed.journal.db, heads=heads, events=50)
    assert (report.ok, report.batches) == (True, 25)
    report = verify_recent(signed.journal.db, heads=heads, batches=45)
    assert (report.ok, report.batches) == (True, 45), "over the end of a segment"
    report = verify_recent(signed.journal.db, heads=heads)
    assert (report.ok, report.batches) == (True, 90)
    signed.journal.on_payload(1, lambda _: b"damaged")
    assert verify_recent(signed.journal.db, batches=10).ok
    assert not verify_recent(signed.journal.db).ok


def test_the_newest_part_of_nothing_is_intact() -> None:
    assert verify_recent(Journal().db).ok
    other = sqlite3.connect(":memory:")
    assert not verify_recent(other).ok
