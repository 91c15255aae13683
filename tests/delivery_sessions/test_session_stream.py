"""Bodies that are not in memory: streamed piece by piece, never ended by a dot unless they are whole."""

from __future__ import annotations

import asyncio

import pytest
from scripted_peer import DROP, HANG, Conn, Peer, Pieces, message, pooling, run, serving, target, until

from postlatch.delivery.contract import AttemptStatus, ConnectFailed
from postlatch.testing.clock import FakeClock

MEGABYTE = b"".join(b".%07d dot at the start of the line\r\n..\r\n.\r\n" % n for n in range(24_000))


def stuffed(data: bytes) -> bytes:
    """What must be on the wire."""
    return b"\r\n".join(b"." + line if line.startswith(b".") else line for line in data.split(b"\r\n"))


@pytest.mark.parametrize("size", [65536, 262_144, 997])
def test_a_megabyte_arrives_with_its_dots_stuffed_wherever_the_pieces_are_cut(size: int) -> None:
    async def main() -> None:
        body = Pieces([MEGABYTE[at : at + size] for at in range(0, len(MEGABYTE), size)])
        async with serving(Peer()) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message(body=body))
            assert attempts[0].status is AttemptStatus.DELIVERED
            assert peer.messages[0].raw == stuffed(MEGABYTE)
            assert body.closed

    assert len(MEGABYTE) > 1_000_000
    run(main())


def test_every_cut_through_a_stuffed_line_is_the_same_on_the_wire() -> None:
    data = b"a\r\n.\r\n..b\r\n\r\n.c\r\n"

    async def main() -> None:
        async with serving(Peer()) as peer, pooling() as pool:
            for cut in range(len(data) + 1):
                await pool.deliver(target(peer), message(body=Pieces([data[:cut], data[cut:]])))
            assert {m.raw for m in peer.messages} == {stuffed(data)}

    run(main())


def test_a_peer_that_does_not_read_is_waited_for_in_bounded_memory() -> None:
    async def main() -> None:
        piece = b"x" * 65534 + b"\r\n"
        body = Pieces([piece] * 400)  # 26 MB
        async with serving(Peer(script=stop_reading)) as peer, pooling() as pool:
            delivery = asyncio.ensure_future(pool.deliver(target(peer), message(body=body)))
            await until(lambda: body.read > 0)
            await asyncio.sleep(0.3)
            assert body.read < 12_000_000  # what the kernel holds for loopback, and one buffer of ours
            assert not delivery.done()
            transport = peer.connections[0].transport
            assert transport is not None
            transport.resume_reading()
            assert (await delivery)[0].status is AttemptStatus.DELIVERED
            assert len(peer.messages[0].raw) == 400 * 65536

    run(main())


def stop_reading(conn: Conn, verb: str, _line: str) -> str | None:
    if verb == "DATA" and conn.transport is not None:
        conn.transport.pause_reading()
    return None


def test_a_peer_that_takes_no_data_for_three_minutes_is_given_up() -> None:
    async def main() -> None:
        clock = FakeClock()
        body = Pieces([b"x" * 65534 + b"\r\n"] * 600)
        async with serving(Peer(script=stop_reading)) as peer, pooling(clock) as pool:
            delivery = asyncio.ensure_future(pool.deliver(target(peer), message(body=body)))
            await until(lambda: body.read > 0)
            await asyncio.sleep(0.2)
            clock.advance(181)
            pool.sweep()
            attempts = await delivery
            assert [a.status for a in attempts] == [AttemptStatus.TEMPORARY]
            assert attempts[0].reply == "timed out while waiting for the message to be sent"
            assert body.closed

    run(main())


def test_a_body_that_cannot_be_read_to_its_end_is_never_ended_by_a_dot() -> None:
    async def main() -> None:
        body = Pieces([b"first half\r\n"], OSError("disk"))
        async with serving(Peer()) as peer, pooling() as pool:
            with pytest.raises(OSError, match="disk"):
                await pool.deliver(target(peer), message(body=body))
            await until(lambda: peer.open == 0)
            assert peer.messages == []
            assert not b"".join(peer.connections[0].segments).endswith(b".\r\n")
            assert (await pool.deliver(target(peer), message()))[0].status is AttemptStatus.DELIVERED

    run(main())


def test_a_body_with_a_bare_line_feed_is_broken_off_and_refused_for_good() -> None:
    async def main() -> None:
        body = Pieces([b"first\r\n", b"\n.\nMAIL FROM:<evil@example.org>\r\n"])
        async with serving(Peer()) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message(body=body))
            assert [(a.status, a.enhanced) for a in attempts] == [(AttemptStatus.PERMANENT, "5.6.0")]
            await until(lambda: peer.open == 0)
            assert peer.messages == []
            assert b"evil" not in b"".join(peer.connections[0].segments)

    run(main())


def test_a_connection_that_breaks_in_the_body_defers_and_closes_the_body() -> None:
    def script(conn: Conn, verb: str, _line: str) -> str | None:
        if verb == "DATA":
            asyncio.get_running_loop().call_later(0.05, conn.reset)
            return stop_reading(conn, verb, "")
        return None

    async def main() -> None:
        body = Pieces([b"x" * 65534 + b"\r\n"] * 600)
        async with serving(Peer(script=script)) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message(body=body))
            assert [a.status for a in attempts] == [AttemptStatus.TEMPORARY]
            assert attempts[0].reply == "lost connection while waiting for the message to be sent"
            assert body.closed
            assert body.read < body.size

    run(main())


def test_a_refused_recipient_never_costs_a_body() -> None:
    async def main() -> None:
        body = Pieces([b"x\r\n"])
        peer = Peer(script=lambda _conn, verb, _line: "550 5.1.1 no" if verb == "RCPT" else None)
        async with serving(peer), pooling() as pool:
            attempts = await pool.deliver(target(peer), message(body=body))
            assert [a.status for a in attempts] == [AttemptStatus.PERMANENT]
            assert body.read == 0

    run(main())


def test_a_streamed_body_is_read_again_for_each_transaction() -> None:
    async def main() -> None:
        body = Pieces([b"one\r\n", b"two\r\n"])
        async with serving(Peer(extensions=("PIPELINING", "LIMITS RCPTMAX=1"))) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message("a@example.net", "b@example.net", body=body))
            assert [a.status for a in attempts] == [AttemptStatus.DELIVERED] * 2
            assert [m.raw for m in peer.messages] == [b"one\r\ntwo\r\n"] * 2

    run(main())


def test_a_streamed_message_without_a_connection_fails_like_any_other() -> None:
    async def main() -> None:
        peer = Peer(script=lambda _conn, verb, _line: DROP if verb == "GREETING" else None)
        async with serving(peer), pooling() as pool:
            with pytest.raises(ConnectFailed):
                await pool.deliver(target(peer), message(body=Pieces([b"x\r\n"])))

    run(main())


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("verb", ["GREETING", "MAIL", "DATA"])
def test_a_cancelled_delivery_never_sends_its_final_dot(verb: str, streamed: bool) -> None:
    async def main() -> None:
        peer = Peer(script=lambda conn, said, _line: HANG if said == verb and not conn.number else None)
        async with serving(peer), pooling() as pool:
            sent = message(body=Pieces([b"x\r\n"])) if streamed else message()
            delivery = asyncio.ensure_future(pool.deliver(target(peer), sent))
            await until(lambda: peer.connections != [] and (verb == "GREETING" or peer.connections[0].count(verb) == 1))
            delivery.cancel()
            await asyncio.sleep(0)
            conn = peer.connections[0]
            for reply in {"GREETING": ["220 hi", "250-x\r\n250 PIPELINING"], "MAIL": ["250 ok", "250 ok", "354 go"]}.get(
                verb, ["354 go"]
            ):
                if conn.transport is not None:
                    conn.send(reply)
                await asyncio.sleep(0.01)
            await asyncio.gather(delivery, return_exceptions=True)
            await asyncio.sleep(0.02)
            assert b".\r\n" not in b"".join(conn.segments)
            assert peer.messages == []
            assert delivery.cancelled()

    run(main())
