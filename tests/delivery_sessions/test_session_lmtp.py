"""LMTP: each recipient its own final reply, over TCP and over a Unix socket (RFC 2033)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from scripted_peer import DROP, Conn, Peer, message, pooling, run, serving, target

from postlatch.delivery.contract import AttemptStatus, ConnectFailed, Target

DELIVERED, TEMPORARY, PERMANENT = AttemptStatus.DELIVERED, AttemptStatus.TEMPORARY, AttemptStatus.PERMANENT
LMTP = ("PIPELINING", "ENHANCEDSTATUSCODES", "8BITMIME")


def mixed(conn: Conn, verb: str, line: str) -> str | None:
    if verb == "RCPT" and "<nobody@" in line:
        return "550 5.1.1 unknown"
    if verb == "DOT":
        return {"full@example.net": "452 4.2.2 over quota", "picky@example.net": "554 5.7.1 not this"}.get(line)
    return "500 use LHLO" if verb == "EHLO" else None


def test_mixed_outcomes_come_back_to_their_recipients() -> None:
    names = ("a", "full", "nobody", "picky", "b")

    async def main() -> None:
        async with serving(Peer(extensions=LMTP, lmtp=True, script=mixed)) as peer, pooling() as pool:
            for _ in range(2):
                attempts = await pool.deliver(target(peer), message(*(f"{name}@example.net" for name in names)))
                assert [(a.number, a.status, a.reply) for a in attempts] == [
                    (0, DELIVERED, "250 2.0.0 queued"),
                    (1, TEMPORARY, "452 4.2.2 over quota"),
                    (2, PERMANENT, "550 5.1.1 unknown"),
                    (3, PERMANENT, "554 5.7.1 not this"),
                    (4, DELIVERED, "250 2.0.0 queued"),
                ]
            assert len(peer.connections) == 1
            assert peer.verbs[0] == "LHLO"

    run(main())


def test_many_at_once_keep_their_replies_apart() -> None:
    async def main() -> None:
        async with serving(Peer(extensions=LMTP, lmtp=True, script=mixed)) as peer, pooling() as pool:
            sent = [message("a@example.net", "full@example.net") for _ in range(30)]
            for attempts in await asyncio.gather(*(pool.deliver(target(peer), m) for m in sent)):
                assert [a.status for a in attempts] == [DELIVERED, TEMPORARY]

    run(main())


def test_a_drop_between_the_final_replies_leaves_the_rest_in_doubt() -> None:
    def script(_conn: Conn, verb: str, line: str) -> str | None:
        return DROP if verb == "DOT" and line == "b@example.net" else None

    async def main() -> None:
        async with serving(Peer(extensions=LMTP, lmtp=True, script=script)) as peer, pooling() as pool:
            attempts = await pool.deliver(target(peer), message(*(f"{name}@example.net" for name in "abc")))
            assert [(a.status, a.reply) for a in attempts] == [
                (DELIVERED, "250 2.0.0 queued"),
                (TEMPORARY, "lost connection after the final dot"),
                (TEMPORARY, "lost connection after the final dot"),
            ]

    run(main())


def test_a_unix_socket_serves_as_well_and_names_itself() -> None:
    async def main() -> None:
        with TemporaryDirectory() as folder:
            path = str(Path(folder) / "lmtp")
            async with serving(Peer(extensions=LMTP, lmtp=True), path) as peer, pooling() as pool:
                attempts = await pool.deliver(Target(path=path, lmtp=True), message())
                assert [(a.status, a.remote) for a in attempts] == [(DELIVERED, path)]
                assert len(peer.messages) == 1

    run(main())


def test_a_unix_socket_that_is_not_there_fails_the_connection() -> None:
    async def main() -> None:
        async with pooling() as pool:
            try:
                await pool.deliver(Target(path="/nonexistent/lmtp", lmtp=True), message())
            except ConnectFailed as error:
                assert error.reply == "connect failed: No such file or directory"  # noqa: PT017  the text matters

    run(main())
