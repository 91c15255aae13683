"""Against Postfix's smtp-sink: a server that others wrote, with its ways of refusing and breaking off."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from scripted_peer import Whole, message, pooling, run

from postlatch.delivery.contract import ConnectFailed, Target
from postlatch.testing.peers.ports import end, free_port, listens, wait_until

SINK = shutil.which("smtp-sink", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(SINK is None and "CI" not in os.environ, reason="smtp-sink (Debian's postfix) is not installed"),
]


@contextmanager
def sink(*options: str) -> Iterator[Target]:
    """An smtp-sink on loopback."""
    assert SINK is not None, "smtp-sink is not installed"
    port = free_port()
    process = subprocess.Popen([SINK, "-u", "nobody", *options, f"127.0.0.1:{port}", "64"], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port), 10, "smtp-sink to listen")
        yield Target(address="127.0.0.1", port=port, lmtp="-L" in options)
    finally:
        end(process)


@pytest.mark.parametrize("options", [(), ("-p",), ("-e",), ("-L",), ("-L", "-p"), ("-8", "-E", "-N"), ("-P",)], ids=" ".join)
def test_every_message_arrives_whatever_is_offered(options: tuple[str, ...]) -> None:
    async def main(target: Target) -> None:
        async with pooling() as pool:
            sent = [message("a@example.net", "b@example.net", body=Whole(b".x\r\n" * 1000)) for _ in range(100)]
            for attempts in await asyncio.gather(*(pool.deliver(target, m) for m in sent)):
                assert [a.status for a in attempts] == ["delivered", "delivered"]

    with sink(*options) as target:
        run(main(target))


@pytest.mark.parametrize(
    ("options", "status", "text"),
    [
        (("-f", "RCPT"), "permanent", "500 5.3.0 Error: command failed"),
        (("-r", "RCPT"), "temporary", "450 4.3.0 Error: command failed"),
        (("-f", "MAIL"), "permanent", "500 5.3.0 Error: command failed"),
        (("-r", "DATA"), "temporary", "450 4.3.0 Error: command failed"),
        (("-f", "."), "permanent", "500 5.3.0 Error: command failed"),
        (("-r", "."), "temporary", "450 4.3.0 Error: command failed"),
        (("-q", "."), "temporary", "lost connection after the final dot"),
        (("-q", "RCPT"), "temporary", "lost connection while waiting for the reply to RCPT"),
        (("-q", "DATA"), "temporary", "lost connection while waiting for the reply to DATA"),
        (("-Q", "."), "temporary", "421"),
        (("-Q", "RCPT"), "temporary", "421"),
    ],
    ids=str,
)
def test_every_refusal_and_every_break_is_told_as_it_was(options: tuple[str, ...], status: str, text: str) -> None:
    async def main(target: Target) -> None:
        async with pooling() as pool:
            for _ in range(2):
                attempts = await pool.deliver(target, message())
                assert [(a.status, a.reply[: len(text)]) for a in attempts] == [(status, text)]

    with sink(*options) as target:
        run(main(target))


@pytest.mark.parametrize(
    "options", [("-q", "MAIL"), ("-Q", "MAIL"), ("-q", "EHLO"), ("-r", "CONNECT"), ("-f", "CONNECT")], ids=str
)
def test_a_server_that_takes_no_transaction_fails_the_connection(options: tuple[str, ...]) -> None:
    async def main(target: Target) -> None:
        async with pooling() as pool:
            with pytest.raises(ConnectFailed):
                await pool.deliver(target, message())

    with sink(*options) as target:
        run(main(target))
