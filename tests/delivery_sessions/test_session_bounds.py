"""What a connection may carry, and what is known when it ends at the wrong moment."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

import pytest
from scripted_peer import DROP, HANG, Conn, Peer, message, pooling, run, serving, target, until

from postlatch.delivery.contract import AttemptStatus, ConnectFailed, CutOff, Target


def hang_at(verb: str) -> Callable[[Conn, str, str], str | None]:
    return lambda _conn, said, _line: HANG if said == verb else None


@pytest.mark.parametrize("most", [1, 3])
def test_a_connection_is_given_up_when_it_has_carried_what_it_may(most: int) -> None:
    async def main() -> None:
        async with serving(Peer()) as peer, pooling() as pool:
            to = target(peer, per_connection=most, connections=1)
            sent = [asyncio.ensure_future(pool.deliver(to, message())) for _ in range(9)]
            for attempts in await asyncio.gather(*sent):
                assert [attempt.status for attempt in attempts] == [AttemptStatus.DELIVERED]
            assert len(peer.connections) == 9 // most
            assert {conn.count("MAIL") for conn in peer.connections} == {most}
            await until(lambda: peer.open == 0)
            assert {conn.count("QUIT") for conn in peer.connections} == {1}

    run(main())


def test_a_target_has_no_more_connections_than_it_may() -> None:
    async def main() -> None:
        async with serving(Peer(script=hang_at("DOT"))) as peer, pooling() as pool:
            to = target(peer, connections=2)
            sent = [asyncio.ensure_future(pool.deliver(to, message())) for _ in range(60)]
            await asyncio.sleep(0.2)
            assert len(peer.connections) == 2
            for one in sent:
                one.cancel()

    run(main())


@pytest.mark.parametrize(("verb", "behind"), [("DOT", True), ("DATA", False), ("RCPT", False), ("EHLO", False)])
def test_who_is_cancelled_behind_the_dot_knows_that_the_message_may_have_arrived(verb: str, behind: bool) -> None:
    async def main() -> None:
        async with serving(Peer(script=hang_at(verb))) as peer, pooling() as pool:
            delivery = asyncio.ensure_future(pool.deliver(target(peer), message()))
            await until(lambda: any(conn.count(verb) for conn in peer.connections) or bool(peer.messages))
            await asyncio.sleep(0.02)
            delivery.cancel()
            with pytest.raises(asyncio.CancelledError) as cut:
                await delivery
            assert isinstance(cut.value, CutOff) is behind

    run(main())


def test_a_connection_lost_behind_the_dot_leaves_a_doubt_and_one_lost_before_it_none() -> None:
    for verb, doubtful in (("DOT", True), ("DATA", False)):

        async def main(verb: str = verb, doubtful: bool = doubtful) -> None:
            async with (
                serving(Peer(script=lambda _conn, said, _line: DROP if said == verb else None)) as peer,
                pooling() as pool,
            ):
                [attempt] = await pool.deliver(target(peer), message())
                assert (attempt.status, attempt.doubtful) == (AttemptStatus.TEMPORARY, doubtful)

        run(main())


def test_a_refusal_behind_the_dot_leaves_no_doubt() -> None:
    async def main() -> None:
        reply = "451 4.3.0 not now"
        async with serving(Peer(script=lambda _conn, said, _line: reply if said == "DOT" else None)) as peer, pooling() as pool:
            [attempt] = await pool.deliver(target(peer), message())
            assert (attempt.reply, attempt.doubtful) == (reply, False)

    run(main())


@pytest.mark.parametrize(
    ("error", "silent"),
    [
        (OSError(errno.ENETUNREACH, "Network is unreachable"), True),
        (OSError(errno.EHOSTUNREACH, "No route to host"), True),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), True),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), False),
        (OSError(errno.EMFILE, "Too many open files"), False),
    ],
)
def test_a_refused_connection_is_an_answer_and_an_unreachable_host_is_none(error: OSError, silent: bool) -> None:
    async def fails(_target: Target, _factory: Callable[[], asyncio.Protocol]) -> object:
        raise error

    async def main() -> None:
        async with pooling(connect=fails) as pool:
            with pytest.raises(ConnectFailed) as failed:
                await pool.deliver(Target("192.0.2.1"), message())
            assert failed.value.silent is silent

    run(main())
