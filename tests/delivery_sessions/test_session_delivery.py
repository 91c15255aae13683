"""Messages arrive, over few connections, and each recipient gets the server's own word."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from scripted_peer import FULL, Conn, Peer, Script, Whole, message, pooling, run, serving, target

from postlatch.delivery.contract import Attempt, AttemptStatus
from postlatch.model.envelope import RecipientParams, SenderParams

DELIVERED, TEMPORARY, PERMANENT = AttemptStatus.DELIVERED, AttemptStatus.TEMPORARY, AttemptStatus.PERMANENT


def by_address(replies: dict[str, str]) -> Script:
    def script(_conn: Conn, verb: str, line: str) -> str | None:
        return next((reply for name, reply in replies.items() if verb == "RCPT" and f"<{name}@" in line), None)

    return script


def test_a_message_arrives_and_the_attempt_carries_the_reply() -> None:
    async def main() -> None:
        async with serving(Peer()) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message("bob@example.net", body=Whole(b"A: b\r\n\r\n.dot\r\n")))
            assert attempts == [
                Attempt(0, DELIVERED, "250 2.0.0 queued", "2.0.0", f"peer.example.net[127.0.0.1]:{peer.port}"),
            ]
            assert peer.messages[0].raw == b"A: b\r\n\r\n..dot\r\n"
            assert peer.messages[0].sender == "alice@example.org"
            assert peer.messages[0].recipients == ["bob@example.net"]

    run(main())


def test_the_envelope_is_one_segment_and_the_next_one_rides_behind_the_dot() -> None:
    async def main() -> None:
        async with serving(Peer()) as peer, pooling() as pool:
            senders = ("alice@example.org", "eve@example.org")
            await asyncio.gather(*(pool.deliver(target(peer), message(sender=sender)) for sender in senders))
            ehlo, first, second, body = peer.connections[0].segments
            assert ehlo.startswith(b"EHLO")
            assert first.startswith(b"MAIL FROM:<alice@example.org>")
            assert first.endswith(b"DATA\r\n")
            assert b"\r\n.\r\nMAIL FROM:<eve@example.org>" in second
            assert second.endswith(b"DATA\r\n")
            assert body.endswith(b"\r\n.\r\n")

    run(main())


def test_each_recipient_gets_its_own_outcome_in_order() -> None:
    async def main() -> None:
        script = by_address({"b": "550 5.1.1 unknown", "c": "450 4.2.0 busy"})
        async with serving(Peer(script=script)) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message("a@example.net", "b@example.net", "c@example.net"))
            assert [(a.number, a.status, a.enhanced) for a in attempts] == [
                (0, DELIVERED, "2.0.0"),
                (1, PERMANENT, "5.1.1"),
                (2, TEMPORARY, "4.2.0"),
            ]
            assert peer.messages[0].recipients == ["a@example.net"]

    run(main())


def test_all_refused_with_354_gets_an_empty_message_and_the_connection_goes_on() -> None:
    def script(conn: Conn, verb: str, line: str) -> str | None:
        if verb == "RCPT" and "nobody" in line:
            return "550 5.1.1 unknown"
        if verb == "DATA":
            return "354 go"
        return "554 5.1.1 no valid recipients" if verb == "DOT" and not conn.peer.messages[-1].recipients else None

    async def main() -> None:
        async with serving(Peer(script=script)) as peer, pooling() as pool:
            refused = await pool.deliver(target(peer), message("nobody@example.net"))
            taken = await pool.deliver(target(peer), message())
            assert [a.status for a in refused + taken] == [PERMANENT, DELIVERED]
            assert [m.raw for m in peer.messages] == [b"", b"Subject: x\r\n\r\nhello\r\n"]
            assert len(peer.connections) == 1

    run(main())


@pytest.mark.parametrize("extensions", [(), ("SIZE 1000",)])
def test_without_pipelining_every_command_waits_for_its_reply(extensions: tuple[str, ...]) -> None:
    async def main() -> None:
        async with serving(Peer(extensions=extensions)) as peer, pooling() as pool:
            attempts = await asyncio.gather(*(pool.deliver(target(peer), message()) for _ in range(3)))
            assert [a[0].status for a in attempts] == [DELIVERED] * 3
            assert all(segment.count(b"\r\n") == 1 or segment.endswith(b".\r\n") for segment in peer.connections[0].segments)

    run(main())


def test_a_server_that_knows_only_helo_gets_its_mail() -> None:
    async def main() -> None:
        peer = Peer(script=lambda _conn, verb, _line: "500 what?" if verb == "EHLO" else None)
        async with serving(peer), pooling() as pool:
            assert (await pool.deliver(target(peer), message()))[0].status is DELIVERED
            assert peer.verbs[:2] == ["EHLO", "HELO"]

    run(main())


def test_fifty_at_once_go_over_a_few_connections_that_are_kept() -> None:
    async def main() -> None:
        async with serving(Peer()) as peer, pooling() as pool:
            for _ in range(3):
                attempts = await asyncio.gather(*(pool.deliver(target(peer), message()) for _ in range(50)))
                assert all(a[0].status is DELIVERED for a in attempts)
            assert len(peer.messages) == 150
            assert len(peer.connections) <= 13

    run(main())


def test_one_after_the_other_all_go_over_one_connection() -> None:
    async def main() -> None:
        async with serving(Peer()) as peer, pooling() as pool:
            for _ in range(20):
                await pool.deliver(target(peer), message())
            assert len(peer.connections) == 1
            assert peer.verbs.count("EHLO") == 1

    run(main())


def test_a_message_too_big_for_the_server_is_refused_without_a_word() -> None:
    async def main() -> None:
        async with serving(Peer(extensions=("PIPELINING", "SIZE 100"))) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message(body=Whole(b"x" * 99 + b"\r\n")))
            assert (attempts[0].status, attempts[0].enhanced) == (PERMANENT, "5.3.4")
            assert peer.verbs == ["EHLO"]
            assert (await pool.deliver(target(peer), message()))[0].status is DELIVERED
            assert len(peer.connections) == 1

    run(main())


def test_an_eight_bit_body_is_sent_as_it_is_where_8bitmime_is_not_offered() -> None:
    async def main() -> None:
        body = Whole("caf\xe9\r\n".encode())
        async with serving(Peer(extensions=())) as old, serving(Peer()) as new, pooling() as pool:
            for peer in (old, new):
                assert (await pool.deliver(target(peer), message(body=body, eight_bit=True)))[0].status is DELIVERED
                assert peer.messages[0].raw == body.data
            assert "BODY" not in old.connections[0].lines[1]
            assert old.connections[0].lines[1] == "MAIL FROM:<alice@example.org>"
            assert new.connections[0].lines[1] == "MAIL FROM:<alice@example.org> SIZE=7 BODY=8BITMIME"

    run(main())


def test_an_internationalised_recipient_fails_alone_where_smtputf8_is_not_offered() -> None:
    async def main() -> None:
        async with serving(Peer()) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message("jos\xe9@example.net", "bob@example.net"))
            assert [(a.status, a.enhanced) for a in attempts] == [(PERMANENT, "5.6.7"), (DELIVERED, "2.0.0")]

    run(main())


def test_dsn_parameters_pass_only_where_dsn_is_offered_and_the_attempt_says_so() -> None:
    async def main() -> None:
        notify = RecipientParams(frozenset({"SUCCESS"}), "rfc822;bob@example.net")
        sent = message("bob@example.net", "no@example.net", params=notify, sender_params=SenderParams(ret="FULL", envid="x"))
        script = by_address({"no": "550 no"})
        async with serving(Peer(script=script)) as new, serving(Peer(extensions=FULL[:4])) as old, pooling() as pool:
            assert [a.dsn_passed for a in await pool.deliver(target(new), sent)] == [True, False]
            assert [a.dsn_passed for a in await pool.deliver(target(old), sent)] == [False, False]
            assert [a.dsn_passed for a in await pool.deliver(target(new), message())] == [False]
            assert new.connections[0].lines[1:3] == [
                "MAIL FROM:<alice@example.org> SIZE=21 RET=FULL ENVID=x",
                "RCPT TO:<bob@example.net> NOTIFY=SUCCESS ORCPT=rfc822;bob@example.net",
            ]
            assert "NOTIFY" not in "".join(old.connections[0].lines)

    run(main())


def test_more_recipients_than_the_server_takes_at_a_time_go_in_several_transactions() -> None:
    async def main() -> None:
        async with serving(Peer(extensions=("PIPELINING", "LIMITS RCPTMAX=2"))) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message(*(f"r{n}@example.net" for n in range(5))))
            assert [a.number for a in attempts] == [0, 1, 2, 3, 4]
            assert all(a.status is DELIVERED for a in attempts)
            assert [len(m.recipients) for m in peer.messages] == [2, 2, 1]
            assert len(peer.connections) == 1

    run(main())


def test_recipients_that_were_too_many_follow_at_once_in_another_transaction() -> None:
    def script(conn: Conn, verb: str, _line: str) -> str | None:
        return "452 4.5.3 too many recipients" if verb == "RCPT" and len(conn.recipients) == 3 else None

    async def main() -> None:
        async with serving(Peer(script=script)) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message(*(f"r{n}@example.net" for n in range(7))))
            assert sorted(a.number for a in attempts) == list(range(7))
            assert all(a.status is DELIVERED for a in attempts)
            assert [len(m.recipients) for m in peer.messages] == [3, 3, 1]

    run(main())


def test_a_connection_is_left_when_the_server_takes_no_more_messages_on_it() -> None:
    async def main() -> None:
        async with serving(Peer(extensions=("PIPELINING", "LIMITS MAILMAX=2"))) as peer, pooling() as pool:
            attempts = await asyncio.gather(*(pool.deliver(target(peer), message()) for _ in range(5)))
            assert all(a[0].status is DELIVERED for a in attempts)
            assert max(conn.count("MAIL") for conn in peer.connections) == 2
            assert len(peer.connections) >= 3

    run(main())


def test_a_message_without_recipients_needs_no_connection() -> None:
    async def main() -> None:
        async with serving(Peer()) as peer, pooling() as pool:
            assert await pool.deliver(target(peer), replace(message(), recipients=())) == []
            assert peer.connections == []

    run(main())
