"""Who is served first when all are due together, and that nobody waits for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spool_tools import BODY, Parcel, Relay, in_loop

from postlatch.model.address import parse_address
from postlatch.model.envelope import Destination, EnvelopeRecipient, GrantReason
from postlatch.model.headers import split_headers
from postlatch.spool.priority import (
    BULK,
    MANY,
    NO_MARKS,
    NORMAL,
    SHARES,
    SMALL,
    URGENT,
    HeaderMarks,
    Shares,
    decide,
    read_marks,
)

ALERT = HeaderMarks(automatic="auto-generated")
LISTED = HeaderMarks(bulk=True)


def recipients(count: int = 1, reason: GrantReason | None = GrantReason.ACCOUNT, **more: object) -> list[EnvelopeRecipient]:
    return [
        EnvelopeRecipient(parse_address(f"r{n}@c.example"), Destination.FOREIGN, reason, "x", **more)  # type: ignore[arg-type]
        for n in range(count)
    ]


def marks(*lines: str) -> HeaderMarks:
    fields = split_headers("".join(f"{line}\r\n" for line in lines).encode("latin-1"))
    return read_marks(fields, {field.name for field in fields})


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["From: a@b.example", "Subject: bulk list"], NO_MARKS),
        (["List-Id: <news.example>"], LISTED),
        (["LIST-UNSUBSCRIBE: <mailto:x@b.example>"], LISTED),
        (["Precedence: Bulk"], LISTED),
        (["Precedence: first-class"], NO_MARKS),
        (["Auto-Submitted: no"], NO_MARKS),
        (["Auto-Submitted: auto-generated; why=login"], ALERT),
        (["Auto-Submitted: AUTO-REPLIED"], HeaderMarks(automatic="auto-replied")),
        (["Auto-Submitted: auto-generated", "Precedence: junk"], HeaderMarks(bulk=True, automatic="auto-generated")),
        (["Auto-Submitted: " + "x" * 500], HeaderMarks(automatic="x" * 32)),
        (["Auto-Submitted: \xff"], HeaderMarks(automatic="\ufffd")),
        (["X-Priority: 1", "Importance: high", "MT-Priority: 9"], NO_MARKS),
    ],
    ids=str,
)
def test_a_header_is_read_for_how_its_mail_came_to_be(lines: list[str], expected: HeaderMarks) -> None:
    assert marks(*lines) == expected


@pytest.mark.parametrize(
    ("why", "kind", "found", "to", "size", "expected"),
    [
        ("a letter", "", NO_MARKS, recipients(), 4000, NORMAL),
        ("a letter to a team", "", NO_MARKS, recipients(MANY), 4000, NORMAL),
        ("more than any letter", "", NO_MARKS, recipients(MANY + 1), 4000, BULK),
        ("a list", "", LISTED, recipients(), 4000, BULK),
        ("a login code", "", ALERT, recipients(), 4000, URGENT),
        ("a program's report", "", ALERT, recipients(), SMALL, NORMAL),
        ("an alert to two", "", ALERT, recipients(2), 4000, NORMAL),
        ("a program's mailing", "", ALERT, recipients(11), 4000, BULK),
        ("a list's alert", "", HeaderMarks(bulk=True, automatic="auto-generated"), recipients(), 4000, BULK),
        ("out of office", "", HeaderMarks(automatic="auto-replied"), recipients(), 4000, NORMAL),
        ("an application", "", NO_MARKS, recipients(1, GrantReason.NETWORK), 4000, URGENT),
        ("an application's large file", "", NO_MARKS, recipients(1, GrantReason.NETWORK), SMALL, NORMAL),
        ("an application to two", "", NO_MARKS, recipients(2, GrantReason.NETWORK), 4000, NORMAL),
        ("an application's newsletter", "", LISTED, recipients(1, GrantReason.NETWORK), 4000, BULK),
        ("a stranger who claims to hurry", "", ALERT, recipients(1, None), 4000, NORMAL),
        ("a stranger's list", "", LISTED, recipients(1, None), 4000, BULK),
        ("our alert", "alert", NO_MARKS, recipients(1, GrantReason.NOTIFICATION), 4000, URGENT),
        ("our alert to many", "alert", LISTED, recipients(60, GrantReason.NOTIFICATION), 4000, URGENT),
        ("a report to a sender", "dsn", NO_MARKS, recipients(1, GrantReason.NOTIFICATION), 4000, URGENT),
        ("our bulletin", "bulletin", NO_MARKS, recipients(1, GrantReason.NOTIFICATION), 4000, BULK),
        ("our receipt", "report_receipt", NO_MARKS, recipients(1, GrantReason.NOTIFICATION), 4000, NORMAL),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_the_class_of_a_message(
    why: str, kind: str, found: HeaderMarks, to: list[EnvelopeRecipient], size: int, expected: int
) -> None:
    assert decide(kind, found, to, size) == expected, why


def test_an_alias_for_several_counts_as_the_one_address_that_was_named() -> None:
    team = parse_address("ops@example.com")
    assert decide("", ALERT, recipients(3, original=team), 4000) == URGENT


lines = st.lists(st.integers(0, 500), min_size=3, max_size=3)


@given(limit=st.integers(1, 256), waiting=lines)
def test_a_batch_is_full_while_anything_waits_and_each_class_has_its_share(limit: int, waiting: list[int]) -> None:
    taken = Shares().split(limit, waiting)
    assert sum(taken) == min(limit, sum(waiting))
    for got, there, share in zip(taken, waiting, SHARES, strict=True):
        assert min(there, int(limit * share)) <= got <= there


@pytest.mark.soak
@given(limits=st.lists(st.integers(1, 9), min_size=200, max_size=300))
def test_small_batches_keep_the_shares_too(limits: list[int]) -> None:
    shares, total = Shares(), [0, 0, 0]
    for limit in limits:
        taken = shares.split(limit, [1000, 1000, 1000])
        assert sum(taken) == limit
        total = [a + b for a, b in zip(total, taken, strict=True)]
    for got, share in zip(total, SHARES, strict=True):
        assert abs(got - sum(limits) * share) <= 3


@given(batches=st.lists(st.tuples(st.integers(1, 256), lines), max_size=30), limit=st.integers(10, 256))
def test_what_was_owed_long_ago_starves_nobody_now(batches: list[tuple[int, list[int]]], limit: int) -> None:
    shares = Shares()
    for earlier, waiting in batches:
        shares.split(earlier, waiting)
    taken = shares.split(limit, [1000, 1000, 1000])
    assert sum(taken) == limit
    for got, share in zip(taken, SHARES, strict=True):
        assert abs(got - limit * share) <= 3


NEWSLETTER = HeaderMarks(bulk=True)


async def accept(relay: Relay, found: HeaderMarks) -> int:
    """One message whose header has these marks."""
    parcel = Parcel(["x@elsewhere.example"], relay.clock.now())
    draft = relay.spool.open(relay.clock.now())
    draft.write(BODY)
    draft.marks = found
    await relay.do(parcel.commit(draft))
    relay.spool.committed(draft)
    return draft.message_id


@pytest.mark.parametrize("way", ["the database", "memory"])
def test_a_login_code_is_claimed_before_the_newsletters_that_came_first(tmp_path: Path, way: str) -> None:
    @in_loop
    async def scenario() -> None:
        memory = 0 if way == "the database" else 1000
        async with Relay(tmp_path / "data", waiting_messages=memory) as relay:
            news = [await accept(relay, NEWSLETTER) for _ in range(30)]
            letters = [await accept(relay, NO_MARKS) for _ in range(5)]
            code = await accept(relay, ALERT)
            relay.clock.advance(1)
            claims = await relay.due(10) if way == "the database" else relay.spool.take(10)
            assert [c.message.message_id for c in claims] == [code, *letters, *news[:4]]
            assert [c.message.priority for c in claims] == [URGENT, *[NORMAL] * 5, *[BULK] * 4]
            rest = await relay.due(100) if way == "the database" else relay.spool.take(100)
            assert [c.message.message_id for c in rest] == news[4:]
            assert relay.sql("SELECT priority, count(*) FROM messages GROUP BY 1") == [(0, 1), (1, 5), (2, 30)]
            assert relay.sql("SELECT DISTINCT m.priority - r.priority FROM messages m JOIN recipients r ON message = id") == [
                (0,)
            ]

    scenario()
