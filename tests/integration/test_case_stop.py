"""A stop at the very moment at which a client has come in."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest
import uvloop
from memory_relay import MemoryRelay

from postlatch.model.envelope import Role
from postlatch.server.connection import ListenerPort
from postlatch.server.listeners import SmtpServer
from postlatch.testing.running import BASE

pytestmark = pytest.mark.soak

GRACE = 20.0


def test_a_client_that_has_just_been_taken_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    """A stop takes a moment, not the half minute that a message on its way in is given."""
    relay = MemoryRelay(tmp_path, BASE)

    async def stop_with_a_fresh_client() -> float:
        loop = asyncio.get_running_loop()
        server = SmtpServer(relay.services, {"mx": ListenerPort("mx", Role.MX, None, False, ())})
        with socket.create_server(("127.0.0.1", 0)) as listening:
            await server.start({"mx": [listening]})
            with socket.create_connection(listening.getsockname()):
                while not server.open_connections()["mx"]:  # noqa: ASYNC110  (the very next turn of the loop matters)
                    await asyncio.sleep(0)
                began = loop.time()
                await server.stop(GRACE)
        assert server.open_connections() == {"mx": 0}
        return loop.time() - began

    assert uvloop.run(stop_with_a_fresh_client()) < GRACE / 2
    relay.services.draining = False
    relay.close()
