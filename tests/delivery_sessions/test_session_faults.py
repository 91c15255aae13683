"""Connections that break, servers that stop or lie: nothing is lost, nothing counts as delivered, little is sent twice."""

from __future__ import annotations

import asyncio

import pytest
from scripted_peer import DROP, HANG, RESET, Conn, Peer, Script, message, pooling, run, serving, target, until

from postlatch.delivery.contract import Attempt, AttemptStatus, ConnectFailed, Target
from postlatch.delivery.pool import SessionPool
from postlatch.testing.clock import FakeClock

DELIVERED, TEMPORARY, PERMANENT = AttemptStatus.DELIVERED, AttemptStatus.TEMPORARY, AttemptStatus.PERMANENT


def at(number: int, verb: str, reply: str, *, nth: int = 1) -> Script:
    """``reply`` to the nth ``verb`` of connection ``number``."""

    def script(conn: Conn, said: str, _line: str) -> str | None:
        if (conn.number, said) != (number, verb):
            return None
        seen = len(conn.peer.messages) if verb == "DOT" else conn.count(verb)
        return reply if seen == nth or verb in {"GREETING", "EHLO"} else None

    return script


async def failure(pool: SessionPool, to: Target) -> str:
    """The reply with which no transaction took place."""
    with pytest.raises(ConnectFailed) as caught:
        await pool.deliver(to, message())
    assert not caught.value.tls
    return caught.value.reply


def test_a_kept_connection_that_the_peer_closed_is_remade_in_silence() -> None:
    async def main() -> None:
        async with serving(Peer()) as peer, pooling() as pool:
            await pool.deliver(target(peer), message())
            peer.connections[0].drop()
            await until(lambda: peer.open == 0)
            assert (await pool.deliver(target(peer), message()))[0].status is DELIVERED
            assert len(peer.connections) == 2

    run(main())


@pytest.mark.parametrize("end", [DROP, RESET, "421 4.4.2 idle too long", "garbage"])
def test_a_kept_connection_that_breaks_at_the_next_mail_is_remade_in_silence(end: str) -> None:
    async def main() -> None:
        async with serving(Peer(script=at(0, "MAIL", end, nth=2))) as peer, pooling() as pool:
            for _ in range(2):
                assert (await pool.deliver(target(peer), message()))[0].status is DELIVERED
            assert len(peer.connections) == 2
            assert len(peer.messages) == 2

    run(main())


def test_a_421_on_an_idle_connection_ends_it_and_nobody_notices() -> None:
    async def main() -> None:
        async with serving(Peer()) as peer, pooling() as pool:
            await pool.deliver(target(peer), message())
            peer.connections[0].send("421 4.3.2 restarting")
            await until(lambda: peer.open == 0)
            assert (await pool.deliver(target(peer), message()))[0].status is DELIVERED

    run(main())


def test_it_is_remade_only_once() -> None:
    def script(conn: Conn, verb: str, _line: str) -> str | None:
        return DROP if verb == "MAIL" and (conn.number or conn.count("MAIL") == 2) else None

    async def main() -> None:
        async with serving(Peer(script=script)) as peer, pooling() as pool:
            await pool.deliver(target(peer), message())
            assert await failure(pool, target(peer)) == "lost connection while waiting for the reply to MAIL"
            assert len(peer.connections) == 2

    run(main())


@pytest.mark.parametrize("end", [DROP, RESET, "421 4.3.2 no"])
def test_a_new_connection_that_breaks_before_any_reply_lets_the_caller_try_another_host(end: str) -> None:
    async def main() -> None:
        async with serving(Peer(script=at(0, "MAIL", end))) as peer, pooling() as pool:
            reply = await failure(pool, target(peer))
            assert reply in {"lost connection while waiting for the reply to MAIL", "421 4.3.2 no"}
            assert len(peer.connections) == 1

    run(main())


def test_a_drop_after_the_reply_to_mail_defers_those_who_had_no_answer() -> None:
    def script(_conn: Conn, verb: str, line: str) -> str | None:
        if verb == "RCPT":
            return "550 5.1.1 unknown" if "<a@" in line else DROP if "<c@" in line else None
        return None

    async def main() -> None:
        async with serving(Peer(script=script)) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message("a@example.net", "b@example.net", "c@example.net"))
            lost = "lost connection while waiting for the reply to RCPT"
            assert [(a.status, a.reply) for a in attempts] == [
                (PERMANENT, "550 5.1.1 unknown"),
                (TEMPORARY, lost),
                (TEMPORARY, lost),
            ]
            assert len(peer.connections) == 1

    run(main())


@pytest.mark.parametrize("end", [DROP, RESET])
def test_after_the_final_dot_nothing_is_sent_again(end: str) -> None:
    async def main() -> None:
        async with serving(Peer(script=at(0, "DOT", end))) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message())
            assert [(a.status, a.reply, a.enhanced) for a in attempts] == [
                (TEMPORARY, "lost connection after the final dot", "4.4.2"),
            ]
            assert len(peer.messages) == 1
            assert len(peer.connections) == 1

    run(main())


@pytest.mark.parametrize("end", [DROP, RESET, "421 4.3.2 bye"])
def test_what_rode_behind_a_dot_that_got_no_answer_is_done_on_a_new_connection(end: str) -> None:
    async def main() -> None:
        async with serving(Peer(script=at(0, "DOT", end))) as peer, pooling() as pool:
            deliveries = [pool.deliver(target(peer), message(sender=f"{n}@example.org")) for n in ("first", "second")]
            first, second = await asyncio.gather(*deliveries)
            assert first[0].status is TEMPORARY
            assert second[0].status is DELIVERED
            assert [m.sender for m in peer.messages] == ["first@example.org", "second@example.org"]
            assert b"second" in b"".join(peer.connections[0].segments)

    run(main())


def test_a_server_that_takes_one_message_a_connection_gets_each_exactly_once() -> None:
    def script(conn: Conn, verb: str, _line: str) -> str | None:
        return DROP if verb == "MAIL" and conn.count("MAIL") == 2 else None

    async def main() -> None:
        async with serving(Peer(script=script)) as peer, pooling() as pool:
            senders = [f"{n}@example.org" for n in range(30)]
            attempts = await asyncio.gather(*(pool.deliver(target(peer), message(sender=sender)) for sender in senders))
            assert {a[0].status for a in attempts} == {DELIVERED}
            assert sorted(m.sender for m in peer.messages) == sorted(senders)

    run(main())


@pytest.mark.parametrize(
    ("verb", "status", "reply"),
    [
        ("RCPT", TEMPORARY, "421 4.3.2 going down"),
        ("DATA", TEMPORARY, "421 4.3.2 going down"),
        ("DOT", TEMPORARY, "421 4.3.2 going down"),
    ],
)
def test_a_421_in_the_middle_is_the_outcome_and_closes(verb: str, status: AttemptStatus, reply: str) -> None:
    async def main() -> None:
        async with serving(Peer(script=at(0, verb, reply))) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message())
            assert [(a.status, a.reply) for a in attempts] == [(status, reply)]
            assert (await pool.deliver(target(peer), message()))[0].status is DELIVERED
            assert len(peer.connections) == 2

    run(main())


@pytest.mark.parametrize(
    ("verb", "reply", "told"),
    [
        ("GREETING", "554 5.7.1 go away", "554 5.7.1 go away"),
        ("GREETING", "421 too busy", "421 too busy"),
        ("GREETING", DROP, "lost connection while waiting for the greeting"),
        ("GREETING", "hello", "protocol error (a line is no SMTP reply) while waiting for the greeting"),
        ("EHLO", "450 4.3.2 later", "450 4.3.2 later"),
        ("EHLO", DROP, "lost connection while waiting for the reply to EHLO"),
    ],
)
def test_a_server_that_does_not_let_us_in_fails_the_connection_and_not_the_message(verb: str, reply: str, told: str) -> None:
    async def main() -> None:
        async with serving(Peer(script=at(0, verb, reply))) as peer, pooling() as pool:
            assert await failure(pool, target(peer)) == told

    run(main())


def test_a_port_where_nobody_listens_fails_all_that_wait_each_with_its_own_exception() -> None:
    async def main() -> None:
        async with serving(Peer()) as peer:
            pass
        async with pooling() as pool:
            deliveries = [pool.deliver(target(peer), message()) for _ in range(20)]
            results = await asyncio.gather(*deliveries, return_exceptions=True)
            assert all(isinstance(result, ConnectFailed) and "connect failed" in result.reply for result in results)
            assert len({id(result) for result in results}) == 20

    run(main())


def test_a_limit_on_connections_is_the_servers_right_and_fails_nobody() -> None:
    def script(conn: Conn, verb: str, _line: str) -> str | None:
        return "421 4.7.0 too many connections from you" if verb == "GREETING" and conn.number >= 2 else None

    async def main() -> None:
        async with serving(Peer(script=script)) as peer, pooling() as pool:
            attempts = await asyncio.gather(*(pool.deliver(target(peer), message()) for _ in range(50)))
            assert {a[0].status for a in attempts} == {DELIVERED}
            assert len(peer.messages) == 50

    run(main())


@pytest.mark.parametrize(
    ("verb", "seconds", "reply"),
    [
        ("RCPT", 300, "timed out while waiting for the reply to RCPT"),
        ("DATA", 120, "timed out while waiting for the reply to DATA"),
        ("DOT", 600, "timed out after the final dot"),
    ],
)
def test_a_server_that_falls_silent_times_out_by_rfc_5321(verb: str, seconds: float, reply: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        async with serving(Peer(script=at(0, verb, HANG))) as peer, pooling(clock) as pool:
            delivery = asyncio.ensure_future(pool.deliver(target(peer), message()))
            last = "DATA" if verb == "DOT" else verb
            await until(lambda: peer.connections != [] and peer.connections[0].count(last) == 1)
            await until(lambda: verb != "DOT" or peer.messages != [])
            await asyncio.sleep(0.02)
            clock.advance(seconds - 1)
            pool.sweep()
            await asyncio.sleep(0.02)
            assert not delivery.done()
            clock.advance(2)
            pool.sweep()
            assert [(a.status, a.reply) for a in await delivery] == [(TEMPORARY, reply)]

    run(main())


@pytest.mark.parametrize(("verb", "seconds"), [("GREETING", 60), ("EHLO", 120), ("MAIL", 300)])
def test_a_silent_beginning_times_out_as_a_failed_connection(verb: str, seconds: float) -> None:
    async def main() -> None:
        clock = FakeClock()
        async with serving(Peer(script=at(0, verb, HANG))) as peer, pooling(clock) as pool:
            delivery = asyncio.ensure_future(pool.deliver(target(peer), message()))
            await until(lambda: peer.connections != [] and (verb == "GREETING" or peer.connections[0].count(verb) == 1))
            await asyncio.sleep(0.02)
            clock.advance(seconds + 1)
            pool.sweep()
            with pytest.raises(ConnectFailed, match="timed out"):
                await delivery

    run(main())


def test_a_slow_server_that_answers_in_time_is_waited_for() -> None:
    async def main() -> None:
        clock = FakeClock()
        async with serving(Peer(script=lambda _c, verb, _l: HANG if verb == "MAIL" else None)) as peer, pooling(clock) as pool:
            delivery = asyncio.ensure_future(pool.deliver(target(peer), message()))
            await until(lambda: peer.connections != [] and peer.connections[0].count("MAIL") == 1)
            for reply in ("250 ok", "250 ok", "354 go", "250 2.0.0 at last"):
                clock.advance(119)
                pool.sweep()
                peer.connections[0].send(reply)
                await asyncio.sleep(0.02)
            assert [a.reply for a in await delivery] == ["250 2.0.0 at last"]

    run(main())


def test_a_reply_that_drips_in_octet_by_octet_does_not_hold_the_clock() -> None:
    async def main() -> None:
        clock = FakeClock()
        async with serving(Peer(script=at(0, "RCPT", HANG))) as peer, pooling(clock) as pool:
            delivery = asyncio.ensure_future(pool.deliver(target(peer), message()))
            await until(lambda: peer.connections != [] and peer.connections[0].count("RCPT") == 1)
            for octet in "250 a reply that":
                clock.advance(30)
                pool.sweep()
                transport = peer.connections[0].transport
                if transport is None:
                    break
                transport.write(octet.encode())
                await asyncio.sleep(0.01)
            assert [a.reply for a in await delivery] == ["timed out while waiting for the reply to RCPT"]

    run(main())


@pytest.mark.parametrize(
    "reply",
    [
        "354 go on",
        "250-never\r\n251 the same",
        "250 " + "x" * 5000,
        "250-x\r\n" * 101 + "250 x",
        "99 x",
        "\xff\xfe",
        "250 a\rb",
    ],
)
def test_a_final_reply_that_is_none_is_no_delivery(reply: str) -> None:
    async def main() -> None:
        async with serving(Peer(script=at(0, "DOT", reply))) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message())
            assert [a.status for a in attempts] == [TEMPORARY]
            assert "protocol error" in attempts[0].reply
            assert attempts[0].reply.endswith("after the final dot")

    run(main())


def test_a_later_transaction_that_finds_no_connection_leaves_the_earlier_outcomes() -> None:
    def script(conn: Conn, verb: str, _line: str) -> str | None:
        if verb == "GREETING" and conn.number:
            return "554 5.7.1 go away"
        return DROP if verb == "MAIL" and conn.count("MAIL") == 2 else None

    async def main() -> None:
        peer = Peer(extensions=("PIPELINING", "LIMITS RCPTMAX=1"), script=script)
        async with serving(peer), pooling() as pool:
            attempts: list[Attempt] = await pool.deliver(target(peer), message("a@example.net", "b@example.net"))
            assert [(a.number, a.status, a.reply) for a in attempts] == [
                (0, DELIVERED, "250 2.0.0 queued"),
                (1, TEMPORARY, "554 5.7.1 go away"),
            ]

    run(main())
