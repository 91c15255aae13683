"""Clients that wish a server ill: thousands that are slow, and some that ask for relaying as fast as they can.

Each comes from a loopback address of its own (127.0.0.0/8 needs no setting up), and comes back when it is put out. Run it as a
program, so that it does not share an interpreter with what it tests:

    python -m postlatch.testing.peers.fire slow --port 2525 --count 5000
    python -m postlatch.testing.peers.fire flood --port 2525 --count 50

It ends when its standard input does or says anything, and prints what it counted as one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast

import uvloop

from postlatch.app.privileges import raise_file_limit

_AGAIN = 1.0  # seconds until a slow client that was put out comes back
_STEP = 10.0  # seconds between two octets of a slow client
_OPENED_A_STEP = 100  # slow clients opened in each twentieth of a second
_GROUP = 20  # recipients in one pipelined group of the flood
_FLOOD = b"".join(
    [b"MAIL FROM:<x@world.example>\r\n", *(b"RCPT TO:<victim%d@elsewhere.example>\r\n" % n for n in range(_GROUP)), b"RSET\r\n"]
)


class Attackers:
    """What one program does. ``counts``: replies by code, and ``opened``, ``closed``, ``failed`` connections."""

    def __init__(self, host: str, port: int, network: int) -> None:
        self.host = host
        self.port = port
        self.counts: Counter[str] = Counter()
        self.open = 0
        self._network = network
        self._number = 0

    def address(self) -> str:
        """The next source address, of some 15,000: a /24 for every 60 of them, so that no network is very full."""
        self._number += 1
        host, net = self._number % 60, self._number // 60 % 250
        return f"127.{self._network}.{net + 1}.{host + 1}"

    async def connect(self, make: Callable[[Attackers], Attacker]) -> None:
        """One client more; counted as failed if it cannot be."""
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: make(self), self.host, self.port, local_addr=(self.address(), 0))
        except OSError as error:
            self.counts[f"failed {error.errno or 0}"] += 1
            loop.call_later(_AGAIN, self.again, make)

    def again(self, make: Callable[[Attackers], Attacker]) -> None:
        """Come back."""
        task = asyncio.get_running_loop().create_task(self.connect(make))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())


class Attacker(asyncio.Protocol):
    """One connection."""

    def __init__(self, owner: Attackers) -> None:
        self.owner = owner
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.Transport", transport)
        self.owner.counts["opened"] += 1
        self.owner.open += 1

    def data_received(self, data: bytes) -> None:
        """Count the replies."""
        for line in data.split(b"\r\n"):
            if len(line) > 3 and line[3:4] == b" ":
                self.owner.counts[line[:3].decode("ascii", "replace")] += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (the protocol's signature)
        """Come back later."""
        self.owner.counts["closed"] += 1
        self.owner.open -= 1
        self.transport = None

    def say(self, data: bytes) -> None:
        """Send, if there is anybody."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)


class Slow(Attacker):
    """Every third is silent, every third sends a command octet by octet, every third a body at 400 octets a second."""

    def __init__(self, owner: Attackers) -> None:
        super().__init__(owner)
        self._kind = owner.counts["opened"] % 3
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to be slow."""
        super().connection_made(transport)
        self._timer = asyncio.get_running_loop().call_later(_STEP, self._drip)

    def data_received(self, data: bytes) -> None:
        """Those with a body get as far as its beginning."""
        super().data_received(data)
        if self._kind == 2 and data.startswith(b"220 "):
            self.say(b"EHLO slow.example\r\n")
        elif self._kind == 2 and data.startswith(b"250-"):
            self.say(b"MAIL FROM:<x@world.example>\r\nRCPT TO:<alice@example.com>\r\nDATA\r\n")

    def _drip(self) -> None:
        if self._kind:
            self.say(b"x" if self._kind == 1 else b"y" * 3998 + b"\r\n")
        self._timer = asyncio.get_running_loop().call_later(_STEP, self._drip)

    def connection_lost(self, exc: Exception | None) -> None:
        """Come back later."""
        super().connection_lost(exc)
        if self._timer is not None:
            self._timer.cancel()
        asyncio.get_running_loop().call_later(_AGAIN, self.owner.again, Slow)


class Flood(Attacker):
    """Asks for relaying, group after group, and comes back at once when it is put out."""

    def __init__(self, owner: Attackers) -> None:
        super().__init__(owner)
        self._greeted = False

    def data_received(self, data: bytes) -> None:
        """The next group as soon as the last one is answered."""
        super().data_received(data)
        if not self._greeted:
            self._greeted = True
            self.say(b"EHLO flood.example\r\n")
        elif data.endswith(b"\r\n") and (b"250 " in data[-200:]):
            self.say(_FLOOD)

    def connection_lost(self, exc: Exception | None) -> None:
        """Come back at once."""
        super().connection_lost(exc)
        self.owner.again(Flood)


async def _run(options: argparse.Namespace) -> None:
    owner = Attackers(options.host, options.port, 11 if options.what == "slow" else 12)
    make = Slow if options.what == "slow" else Flood
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(0, ended.set)
    for number in range(options.count):
        owner.again(make)
        if number % _OPENED_A_STEP == _OPENED_A_STEP - 1:
            await asyncio.sleep(0.05)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await ended.wait()
    sys.stdout.write(json.dumps({"open": owner.open, **owner.counts}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # thousands of connections need no farewell


class Fire:
    """``with Fire("flood", port, 50) as fire: …``; ``fire.stop()`` gives what was counted."""

    def __init__(self, what: str, port: int, count: int) -> None:
        command = [sys.executable, "-m", __name__, what, "--port", str(port), "--count", str(count)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.counts: dict[str, Any] = {}

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line != "ready\n":
            raise RuntimeError(f"the attackers did not start: {line}")
        return self

    def stop(self) -> dict[str, Any]:
        """End them; the counts."""
        if self._process.returncode is None:
            output, _ = self._process.communicate(timeout=60)
            self.counts = json.loads(output)
        return self.counts

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None) -> None:
        if error is not None:
            self._process.kill()
            self._process.wait()
        else:
            self.stop()


def _main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("slow", "flood"))
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    raise_file_limit()
    uvloop.run(_run(parser.parse_args()))


if __name__ == "__main__":
    _main()
