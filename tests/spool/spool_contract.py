"""What every queue must do, whatever database it is on: its own tests give the fixture ``make`` and inherit the class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from spool_tools import BODY, CLIENT, Parcel, Relay, bounced, deferred, delivered, held, in_loop, with_params

from postlatch.model.address import parse_address
from postlatch.model.envelope import Destination, GrantReason, RecipientParams, Role, SenderParams
from postlatch.spool import claims
from postlatch.spool.bodies import INLINE_LIMIT
from postlatch.spool.contract import Claim, SpoolError
from postlatch.spool.fastpath import RECIPIENT_WEIGHT

Make = Callable[..., Relay]
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * (INLINE_LIMIT // 16 + 3 * 65536 // 16)


async def read_all(relay: Relay, claim: Claim) -> bytes:
    """A claim's body by way of its pieces."""
    return b"".join([piece async for piece in (await relay.spool.body(claim)).chunks()])


class SpoolContract:
    """Inherit and give a fixture ``make(**options) -> Relay``."""

    def test_fresh_mail_goes_to_delivery_by_way_of_memory(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            async with make() as relay:
                ids = [await relay.accept("bob@example.com", "x@elsewhere.example") for _ in range(3)]
                assert relay.spool.pending() == 3
                claims_ = relay.spool.take(2)
                assert [c.message.message_id for c in claims_] == ids[:2]
                assert all(c.body == BODY and c.epoch == relay.run.epoch for c in claims_)
                assert [r.number for r in claims_[0].recipients] == [0, 1]
                assert [r.address.text for r in claims_[0].recipients] == ["bob@example.com", "x@elsewhere.example"]
                assert relay.spool.pending() == 1
                assert await relay.due() == [], "what memory has is not due"
                assert len(relay.spool.take(10)) == 1
                assert relay.spool.take(10) == []

        scenario()

    @pytest.mark.parametrize(
        "options", [{"waiting_messages": 2}, {"waiting_octets": 2 * (len(BODY) + RECIPIENT_WEIGHT)}], ids=str
    )
    def test_mail_beyond_the_bounds_of_memory_comes_up_from_the_database(self, make: Make, options: dict[str, int]) -> None:
        @in_loop
        async def scenario() -> None:
            async with make(**options) as relay:
                ids = [await relay.accept() for _ in range(4)]
                claims_ = await relay.due()
                assert [c.message.message_id for c in claims_] == ids[2:]
                assert [c.body for c in claims_] == [None, None]
                assert await read_all(relay, claims_[0]) == BODY
                assert len(relay.spool.take(10)) == 2
                await relay.accept()
                assert relay.spool.pending() == 1, "room again once it was taken"

        scenario()

    def test_everything_about_a_message_comes_back_from_the_database(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            async with make(waiting_messages=1) as relay:
                await relay.accept()
                parcel = Parcel(['"o d d"@elsewhere.example', "bob@example.com", "jörg@exämple.net"], relay.clock.now())
                params = [
                    RecipientParams(frozenset({"SUCCESS", "DELAY"}), "rfc822;odd"),
                    RecipientParams(frozenset({"NEVER"})),
                    RecipientParams(),
                ]
                rows = list(with_params(parcel.envelope, *params))
                rows[1] = replace(rows[1], original=parse_address("info@example.com"))
                parcel.originals[1] = parcel.envelope.recipients[1].address
                mail = SenderParams(5000, "8BITMIME", smtputf8=True, ret="HDRS", envid="a+2Bb")
                parcel.envelope = replace(parcel.envelope, recipients=tuple(rows), params=mail)
                draft = relay.spool.open(relay.clock.now())
                draft.utf8_headers = True
                draft.write(body := b"Subject: gr\xc3\xbc\xc3\x9fe\r\n\r\n")
                await relay.do(parcel.commit(draft))
                relay.spool.committed(draft)
                assert relay.spool.pending() == 1, "only the first"
                [claim] = await relay.due()
                message = claim.message
                assert message.message_id == draft.message_id
                assert (message.sender, message.received_at) == (parcel.envelope.sender, relay.clock.now())
                assert message.size == len(body)
                assert (message.params, message.listener, message.role) == (mail, "submission", Role.SUBMISSION)
                assert (message.client, message.helo, message.account) == (CLIENT, "client.example", "alice@example.com")
                assert (message.header_message_id, message.kind) == ("<1@example.com>", "")
                assert (message.eight_bit, message.utf8_headers) == (True, True)
                assert [r.address for r in claim.recipients] == [r.address for r in rows]
                assert [r.params for r in claim.recipients] == params
                assert [r.original for r in claim.recipients] == [None, parse_address("info@example.com"), None]
                foreign = Destination.FOREIGN
                assert [r.destination for r in claim.recipients] == [foreign, Destination.LOCAL, foreign]
                assert {r.grant_reason for r in claim.recipients} == {GrantReason.ACCOUNT}
                assert {r.grant_ref for r in claim.recipients} == {"alice@example.com"}
                assert not any(r.attempts or r.last_reply or r.possible_duplicate or r.warned for r in claim.recipients)

        scenario()

    def test_the_null_sender_and_a_stranger_come_back_as_what_they_are(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            async with make(waiting_messages=0) as relay:
                await relay.accept("bob@example.com", account=None, sender=None, client=None, role=None)
                [claim] = await relay.due()
                assert (claim.message.sender, claim.message.client, claim.message.role) == (None, None, None)
                assert (claim.recipients[0].grant_reason, claim.recipients[0].grant_ref) == (None, "")

        scenario()

    def test_a_message_is_claimed_once_with_all_that_is_due_of_it_longest_waiting_first(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            async with make(waiting_messages=0) as relay:
                later, first = [await relay.accept("bob@example.com", "carol@example.com") for _ in range(2)]
                for claim, delay in zip(await relay.due(), (20.0, 10.0), strict=True):
                    until = relay.clock.now() + delay
                    await relay.finish(claim, deferred(0, until), deferred(1, until))
                third = await relay.accept()
                assert [c.message.message_id for c in await relay.due(10)] == [third]
                assert await relay.read(claims.next_due) == relay.clock.now() + 10
                relay.clock.advance(30)
                [claim] = await relay.due(1)
                assert claim.message.message_id == first
                assert [r.number for r in claim.recipients] == [0, 1]
                assert [c.message.message_id for c in await relay.due(10)] == [later]
                assert await relay.due(10) == []
                assert await relay.read(claims.next_due) is None

        scenario()

    def test_recipients_of_one_message_come_due_each_at_its_own_time(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            async with make() as relay:
                await relay.accept("bob@example.com", "x@a.example")
                now = relay.clock.now()
                await relay.finish(relay.spool.take(1)[0], deferred(0, now + 20), deferred(1, now + 10))
                for number in (1, 0):
                    relay.clock.advance(10)
                    [claim] = await relay.due()
                    assert [r.number for r in claim.recipients] == [number]
                    assert await relay.due() == []

        scenario()

    def test_each_outcome_leaves_its_mark(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            async with make() as relay:
                await relay.accept("bob@example.com", "x@a.example", "y@b.example", "z@c.example")
                [claim] = relay.spool.take(1)
                until = relay.clock.now() + 60
                await relay.finish(claim, delivered(0), deferred(1, until, warned=True))
                await relay.finish(claim, bounced(2), held(3))
                rows = relay.sql("SELECT state, attempts, due, last_reply, finished_at, warned FROM recipients ORDER BY number")
                now = relay.clock.now()
                assert rows == [
                    ("delivered", 1, None, "250 2.0.0 ok", now, 0),
                    ("deferred", 1, until, "451 4.3.0 later", None, 1),
                    ("bounced", 1, None, "550 5.1.1 no such user", now, 0),
                    ("held", 1, None, "held: the account is suspended", None, 0),
                ]
                relay.clock.advance(61)
                [again] = await relay.due()
                [recipient] = again.recipients
                assert (recipient.number, recipient.attempts, recipient.warned) == (1, 1, True)
                assert recipient.last_reply == "451 4.3.0 later"
                await relay.finish(again, deferred(1, relay.clock.now() + 60))
                assert relay.sql("SELECT attempts, warned FROM recipients WHERE number = 1") == [(2, 1)]

        scenario()

    def test_a_body_is_kept_until_the_last_recipient_is_final_and_no_longer(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            async with make() as relay:
                for body in (BODY, LARGE):
                    await relay.accept("bob@example.com", "x@a.example", body=body)
                    [claim] = relay.spool.take(1)
                    until = relay.clock.now()
                    await relay.finish(claim, delivered(0), deferred(1, until))
                    [again] = await relay.due()
                    assert await read_all(relay, again) == body
                    paths = await relay.finish(again, bounced(1))
                    assert len(paths) == (1 if body is LARGE else 0)
                    with pytest.raises(SpoolError, match="body"):
                        await read_all(relay, again)
                assert relay.sql("SELECT count(*) FROM bodies") == [(0,)]
                assert relay.sql("SELECT count(*) FROM messages WHERE finished_at IS NULL") == [(0,)]

        scenario()

    def test_a_large_body_comes_back_from_its_file_in_pieces(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            async with make() as relay:
                await relay.accept(body=LARGE)
                [claim] = relay.spool.take(1)
                assert claim.body is None
                body = await relay.spool.body(claim)
                assert (body.size, body.data) == (len(LARGE), None)
                for _ in range(2):
                    pieces = [piece async for piece in body.chunks()]
                    assert b"".join(pieces) == LARGE
                    assert max(map(len, pieces)) <= 256 * 1024

        scenario()

    def test_a_body_of_exactly_the_limit_is_inline_and_one_octet_more_is_not(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            async with make(waiting_messages=0) as relay:
                for size, kind in ((0, "inline"), (INLINE_LIMIT, "inline"), (INLINE_LIMIT + 1, "file")):
                    message = await relay.accept(body=b"x" * size)
                    assert relay.sql("SELECT body_kind, size FROM messages WHERE id = ?", message) == [(kind, size)]
                    [claim] = await relay.due()
                    assert await read_all(relay, claim) == b"x" * size

        scenario()

    def test_an_outcome_is_recorded_once_however_often_it_is_told(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            async with make() as relay:
                await relay.accept("bob@example.com", "x@a.example")
                [claim] = relay.spool.take(1)
                for _ in range(2):
                    await relay.finish(claim, delivered(0), deferred(1, relay.clock.now() + 60))
                await relay.finish(claim, bounced(0), bounced(1))
                rows = relay.sql("SELECT state, attempts FROM recipients ORDER BY number")
                assert rows == [("delivered", 1), ("deferred", 1)]

        scenario()

    @pytest.mark.parametrize("wrong", [deferred(0, 1.0), delivered(0)], ids=lambda o: str(o.kind))
    def test_only_a_deferred_recipient_has_a_next_attempt(self, make: Make, wrong: Any) -> None:
        @in_loop
        async def scenario() -> None:
            async with make() as relay:
                await relay.accept()
                [claim] = relay.spool.take(1)
                outcome = replace(wrong, next_attempt=None if wrong.next_attempt else 1.0)
                with pytest.raises(SpoolError, match="next attempt"):
                    relay.spool.finish(claim, [outcome])

        scenario()

    def test_a_restart_brings_back_what_was_claimed_and_leaves_the_rest(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            async with make() as relay:
                in_memory, in_hand, waiting, on_hold = [await relay.accept() for _ in range(4)]
                claimed = {c.message.message_id: c for c in relay.spool.take(4)[1:]}
                until = relay.clock.now() + 600
                await relay.finish(claimed[waiting], deferred(0, until))
                await relay.finish(claimed[on_hold], held(0))
                assert set(claimed) == {in_hand, waiting, on_hold}
            async with make() as relay:
                assert relay.run.clean
                assert relay.swept.returned == 2
                back = await relay.due()
                assert sorted(c.message.message_id for c in back) == [in_memory, in_hand]
                assert not any(r.possible_duplicate for c in back for r in c.recipients)
                assert await relay.read(claims.next_due) == until
            relay = make()
            async with relay:
                assert relay.sql("SELECT state FROM recipients WHERE message = ?", on_hold) == [("held",)]

        scenario()

    def test_after_a_kill_exactly_what_was_in_somebodys_hands_may_be_a_duplicate(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            relay = await make().__aenter__()
            in_memory, in_hand, waiting, on_hold = [await relay.accept() for _ in range(4)]
            claimed = relay.spool.take(4)
            await relay.finish(claimed[2], deferred(0, relay.clock.now()))
            await relay.finish(claimed[3], held(0))
            await relay.kill()
            async with make() as relay:
                assert not relay.run.clean
                flags = dict(relay.sql("SELECT message, possible_duplicate FROM recipients"))
                assert flags == {in_memory: 1, in_hand: 1, waiting: 0, on_hold: 0}
                back = await relay.due()
                assert {c.message.message_id: c.recipients[0].possible_duplicate for c in back} == {
                    in_memory: True,
                    in_hand: True,
                    waiting: False,
                }

        scenario()

    def test_once_a_possible_duplicate_always_one(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            relay = await make().__aenter__()
            await relay.accept()
            await relay.kill()
            for _ in range(2):
                async with make() as relay:
                    [claim] = await relay.due()
                    assert claim.recipients[0].possible_duplicate

        scenario()

    def test_purging_forgets_old_finished_messages_only(self, make: Make) -> None:
        @in_loop
        async def scenario() -> None:
            async with make() as relay:
                for _ in range(3):
                    await relay.accept()
                    relay.clock.advance(10)
                for claim in relay.spool.take(2):
                    await relay.finish(claim)
                    relay.clock.advance(10)
                assert await relay.do(claims.purge(relay.clock.now() - 10, 10)) == 1
                assert relay.sql("SELECT count(*) FROM messages") == [(2,)]
                assert relay.sql("SELECT count(*) FROM recipients") == [(2,)]
                assert await relay.do(claims.purge(relay.clock.now() + 1000, 10)) == 1
                assert await relay.do(claims.purge(relay.clock.now() + 1000, 10)) == 0
                assert len(relay.spool.take(10)) == 1

        scenario()
