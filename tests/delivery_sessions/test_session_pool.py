"""The pool's rule: few connections, no needless waiting, an orderly end; and the call-out's question."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from scripted_peer import DROP, HANG, Conn, Peer, mailbox, message, pooling, run, serving, target, until

from postlatch.delivery.contract import AttemptStatus, ConnectFailed, Target
from postlatch.delivery.pool_lane import QUEUE, RESPITE
from postlatch.delivery.session import Timeouts
from postlatch.delivery.session_setup import connect_directly
from postlatch.testing.clock import FakeClock

BOB = mailbox("bob@example.net")


def hang_at_dot(_conn: Conn, verb: str, _line: str) -> str | None:
    return HANG if verb == "DOT" else None


def test_a_short_queue_waits_for_the_open_connection_and_a_long_one_gets_another() -> None:
    async def main() -> None:
        async with serving(Peer(script=hang_at_dot)) as peer, pooling() as pool:
            deliveries = [asyncio.ensure_future(pool.deliver(target(peer), message())) for _ in range(1)]
            await until(lambda: len(peer.messages) == 1)
            # One rides behind the dot, QUEUE wait, and the next one opens a connection.
            deliveries += [asyncio.ensure_future(pool.deliver(target(peer), message())) for _ in range(1 + QUEUE)]
            await asyncio.sleep(0.05)
            assert len(peer.connections) == 1
            deliveries.append(asyncio.ensure_future(pool.deliver(target(peer), message())))
            await until(lambda: len(peer.connections) == 2)
            for delivery in deliveries:
                delivery.cancel()

    run(main())


def test_a_queue_that_does_not_move_gets_one_connection_after_the_other_up_to_the_limit() -> None:
    async def main() -> None:
        clock = FakeClock()
        async with serving(Peer(script=hang_at_dot)) as peer, pooling(clock, max_per_target=3) as pool:
            deliveries = [asyncio.ensure_future(pool.deliver(target(peer), message())) for _ in range(8)]
            seen = []
            for _ in range(6):
                await asyncio.sleep(0.05)
                seen.append(len(peer.connections))
                clock.advance(1)
                pool.sweep()
            assert seen == [2, 3, 3, 3, 3, 3]
            for delivery in deliveries:
                delivery.cancel()

    run(main())


def test_a_server_that_limits_connections_is_left_in_peace_for_a_minute() -> None:
    def script(conn: Conn, verb: str, _line: str) -> str | None:
        if verb == "GREETING" and conn.number == 1:
            return "421 4.7.0 one is enough"
        return HANG if verb == "DOT" else None

    async def main() -> None:
        clock = FakeClock()
        async with serving(Peer(script=script)) as peer, pooling(clock) as pool:
            deliveries = [asyncio.ensure_future(pool.deliver(target(peer), message())) for _ in range(3)]
            await until(lambda: len(peer.messages) == 1)
            for seconds, count in [(1.0, 2), (RESPITE - 1, 2), (2.0, 3)]:
                clock.advance(seconds)
                pool.sweep()
                await asyncio.sleep(0.05)
                assert len(peer.connections) == count
            assert not any(delivery.done() for delivery in deliveries)
            for delivery in deliveries:
                delivery.cancel()

    run(main())


def test_an_idle_connection_takes_leave_after_its_time() -> None:
    async def main() -> None:
        clock = FakeClock()
        async with serving(Peer()) as peer, pooling(clock, idle_seconds=30) as pool:
            await pool.deliver(target(peer), message())
            clock.advance(29)
            pool.sweep()
            await asyncio.sleep(0.02)
            assert peer.open == 1
            clock.advance(2)
            pool.sweep()
            await until(lambda: peer.open == 0)
            assert peer.verbs[-1] == "QUIT"

    run(main())


def test_targets_that_differ_in_anything_share_no_connection() -> None:
    async def main() -> None:
        async with serving(Peer()) as peer, pooling() as pool:
            for host in ("a.example", "b.example", "a.example"):
                await pool.deliver(target(peer, host=host), message())
            assert len(peer.connections) == 2

    run(main())


def test_connect_may_forbid_an_address() -> None:
    async def forbidding(to: Target, factory: Callable[[], asyncio.Protocol]) -> object:
        if to.host == "bad.example":
            raise ConnectFailed("this address is forbidden")
        return await connect_directly(to, factory)

    async def main() -> None:
        async with serving(Peer()) as peer, pooling(connect=forbidding) as pool:
            with pytest.raises(ConnectFailed, match="forbidden"):
                await pool.deliver(target(peer, host="bad.example"), message())
            assert peer.connections == []
            await pool.deliver(target(peer), message())

    run(main())


def test_a_connect_that_never_comes_back_times_out() -> None:
    async def stuck(_to: Target, _factory: Callable[[], asyncio.Protocol]) -> object:
        return await asyncio.get_running_loop().create_future()

    async def main() -> None:
        async with pooling(connect=stuck, timeouts=Timeouts(connect=0.05)) as pool:
            with pytest.raises(ConnectFailed, match="connect timed out"):
                await pool.deliver(Target(address="127.0.0.1"), message())

    run(main())


def test_a_fault_in_connect_is_told_to_the_loop_and_defers_the_mail() -> None:
    async def faulty(_to: Target, _factory: Callable[[], asyncio.Protocol]) -> object:
        raise KeyError("a fault of the program")

    async def main() -> None:
        problems: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: problems.append(context["exception"]))
        async with pooling(connect=faulty) as pool:
            with pytest.raises(ConnectFailed, match="internal error"):
                await pool.deliver(Target(address="127.0.0.1"), message())
        assert [type(problem) for problem in problems] == [KeyError]

    run(main())


def test_closing_takes_leave_of_idle_connections_and_breaks_off_the_rest() -> None:
    async def main() -> None:
        async with serving(Peer()) as idle, serving(Peer(script=hang_at_dot)) as busy, pooling() as pool:
            await pool.deliver(target(idle), message())
            deliveries = [asyncio.ensure_future(pool.deliver(target(busy), message())) for _ in range(3)]
            await until(lambda: len(busy.messages) == 1 and busy.connections[0].count("MAIL") == 1)
            await asyncio.sleep(0.02)
            await pool.close()
            await until(lambda: idle.open == 0 and busy.open == 0)
            assert idle.verbs[-1] == "QUIT"
            sent, *others = await asyncio.gather(*deliveries, return_exceptions=True)
            assert isinstance(sent, list)
            assert [(a.status, a.reply) for a in sent] == [(AttemptStatus.TEMPORARY, "shutting down after the final dot")]
            assert all(isinstance(other, ConnectFailed) for other in others)
            with pytest.raises(ConnectFailed, match="shutting down"):
                await pool.deliver(target(idle), message())

    run(main())


def test_closing_leaves_no_delivery_waiting_for_its_second_transaction() -> None:
    async def main() -> None:
        peer = Peer(extensions=("PIPELINING", "LIMITS RCPTMAX=1"), script=hang_at_dot)
        async with serving(peer), pooling() as pool:
            delivery = asyncio.ensure_future(pool.deliver(target(peer), message("a@example.net", "b@example.net")))
            await until(lambda: len(peer.messages) == 1)
            await pool.close()
            attempts = await delivery
            assert [a.reply for a in attempts] == ["shutting down after the final dot", "shutting down"]

    run(main())


def test_nothing_is_put_behind_a_message_that_the_server_broods_over() -> None:
    async def main() -> None:
        clock = FakeClock()
        peer = Peer(script=lambda conn, verb, _line: HANG if verb == "DOT" and not conn.number else None)
        async with serving(peer), pooling(clock) as pool:
            stuck = asyncio.ensure_future(pool.deliver(target(peer), message()))
            await until(lambda: len(peer.messages) == 1)
            clock.advance(1)
            pool.sweep()
            delivery = asyncio.ensure_future(pool.deliver(target(peer), message()))
            await asyncio.sleep(0)
            clock.advance(1)
            pool.sweep()
            assert (await delivery)[0].status is AttemptStatus.DELIVERED
            assert peer.connections[0].count("MAIL") == 1
            stuck.cancel()

    run(main())


def test_closing_waits_for_no_server_that_ignores_quit_and_for_no_connect() -> None:
    async def main() -> None:
        deaf = Peer(
            script=lambda _conn, verb, _line: (
                HANG if verb in {"QUIT", "EHLO"} and _conn.number else HANG if verb == "QUIT" else None
            )
        )
        async with serving(deaf), pooling() as pool:
            await pool.deliver(target(deaf), message())
            delivery = asyncio.ensure_future(pool.deliver(target(deaf, host="second.example"), message()))
            await until(lambda: len(deaf.connections) == 2)
            await pool.close()
            with pytest.raises(ConnectFailed):
                await delivery
            await until(lambda: deaf.open == 0)

    run(main())


def test_the_call_out_asks_with_the_null_sender_and_leaves_nothing_open() -> None:
    def script(_conn: Conn, verb: str, line: str) -> str | None:
        return "550 5.1.1 unknown" if verb == "RCPT" and "nobody" in line else None

    async def main() -> None:
        async with serving(Peer(script=script)) as peer, pooling() as pool:
            assert (await pool.probe(target(peer), BOB)).code == 250
            reply = await pool.probe(target(peer), mailbox("nobody@example.net"))
            assert (reply.code, reply.enhanced, reply.text) == (550, "5.1.1", "unknown")
            assert (await pool.deliver(target(peer), message()))[0].status is AttemptStatus.DELIVERED
            assert peer.verbs == ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA"]
            assert peer.connections[0].lines[1] == "MAIL FROM:<> SIZE=0"
            assert len(peer.messages) == 1

    run(main())


@pytest.mark.parametrize(
    ("verb", "reply"), [("MAIL", "550 5.7.1 no null sender"), ("RCPT", DROP), ("RCPT", "421 bye"), ("EHLO", DROP)]
)
def test_a_call_out_without_a_reply_to_rcpt_is_no_answer(verb: str, reply: str) -> None:
    async def main() -> None:
        peer = Peer(script=lambda _conn, said, _line: reply if said == verb else None)
        async with serving(peer), pooling() as pool:
            with pytest.raises(ConnectFailed):
                await pool.probe(target(peer), BOB)

    run(main())


def test_call_outs_and_deliveries_mix_on_the_same_connections() -> None:
    async def main() -> None:
        async with serving(Peer()) as peer, pooling() as pool:
            jobs = [pool.deliver(target(peer), message()) if n % 2 else pool.probe(target(peer), BOB) for n in range(60)]
            await asyncio.gather(*jobs)
            assert len(peer.messages) == 30
            assert len(peer.connections) < 20

    run(main())


def test_a_cancelled_delivery_that_waits_is_never_sent() -> None:
    async def main() -> None:
        async with (
            serving(Peer(script=lambda c, verb, _l: HANG if verb == "DOT" and not c.number else None)) as peer,
            pooling() as pool,
        ):
            first = asyncio.ensure_future(pool.deliver(target(peer), message()))
            await until(lambda: len(peer.messages) == 1)
            behind, waiting = (
                asyncio.ensure_future(pool.deliver(target(peer), message(sender=f"{n}@example.org"))) for n in ("b", "w")
            )
            await asyncio.sleep(0.02)
            waiting.cancel()
            peer.connections[0].drop()
            results = await asyncio.gather(first, behind, waiting, return_exceptions=True)
            assert isinstance(results[2], asyncio.CancelledError)
            assert b"w@example.org" not in b"".join(b"".join(conn.segments) for conn in peer.connections)

    run(main())
