"""Takes clients from a listening socket: a few a turn, each with a ticket or with a 421 and the reason.

Not ``loop.create_server``: that takes all that wait at once, counts a client of a TLS listener only after its handshake, and
closes without a word when there is no file descriptor left.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from ipaddress import ip_address

from postlatch.model.envelope import Client, Role
from postlatch.model.reply import Reply
from postlatch.model.verdict import Defer
from postlatch.policy.networks import unmapped
from postlatch.server.admission import FULL, NO_DESCRIPTOR, Shed, Ticket
from postlatch.server.connection import Connection, ListenerPort
from postlatch.server.proxy_arrival import Arrival
from postlatch.server.proxy_entry import MOST, ProxyEntry, header_before_tls
from postlatch.server.refusals import tell
from postlatch.server.services import Services
from postlatch.server.turns import STRANGER
from postlatch.server.upgrade import HANDSHAKE_SECONDS, TLS_GOODBYE

_A_TURN = 16  # clients taken in one turn of the loop…
_A_BUSY_TURN = 2  # …and strangers while others wait for their turn
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE = 0.5  # seconds, when nothing else helps
_TOO_MANY_HANDSHAKES = Reply(421, "4.3.2", "too many TLS handshakes, try again later")


class Spare:
    """A file descriptor kept for the moment when there is none: given up to say 421 to one client, then taken back."""

    def __init__(self) -> None:
        self._descriptor = -1
        self.refill()

    def refill(self) -> None:
        """Take it, if there is one to be had."""
        if self._descriptor < 0:
            with contextlib.suppress(OSError):
                self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def give(self) -> bool:
        """Give it up; False if there was none."""
        if self._descriptor < 0:
            return False
        os.close(self._descriptor)
        self._descriptor = -1
        return True


class Acceptor:
    """One listening socket, which it closes at the end. ``registry`` holds the live connections of the listener."""

    def __init__(
        self, services: Services, port: ListenerPort, registry: set[Connection], sock: socket.socket, spare: Spare
    ) -> None:
        self._services = services
        self._port = port
        self._registry = registry
        self._socket = sock
        self._spare = spare
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._entry = ProxyEntry(services, port)
        self._entering = 0  # that wait for their PROXY header
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to accept."""
        self._timer = None
        self._loop.add_reader(self._socket, self._ready)

    def stop(self) -> None:
        """Accept nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        for task in tuple(self._opening):
            task.cancel()

    def _ready(self) -> None:
        stranger = self._port.role is Role.MX
        busy = stranger and self._services.load.turns.waiting(STRANGER) > 0
        for _ in range(_A_BUSY_TURN if busy else _A_TURN):
            try:
                client, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                self._refuse_without_descriptor(error)
                return
            self._take(client, Client(unmapped(ip_address(peer[0].partition("%")[0])), peer[1]))

    def _take(self, client: socket.socket, peer: Client) -> None:
        if not self._port.proxies:
            ticket = self._admit(client, Arrival(peer))
            if ticket is not None:
                self._begin(self._open(client, ticket, Arrival(peer)))
        elif not self._entry.lists(peer):
            client.close()
        elif self._entering >= MOST:
            self._refuse(client, str(peer.address), Shed("entering", FULL, f"{MOST} connections wait for their PROXY header"))
        else:
            self._entering += 1
            self._begin(self._enter(client, peer))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    def _admit(self, client: socket.socket, came: Arrival) -> Ticket | None:
        services, port, rules = self._services, self._port, self._services.rules
        network = rules.network_connections or 4 * rules.connections
        answer = services.load.admission.admit(
            port.name, port.role, came.client.address, client=rules.connections, network=network
        )
        if isinstance(answer, Ticket):
            return answer
        self._refuse(client, str(came.client.address), answer, came.proxy)
        return None

    async def _enter(self, client: socket.socket, peer: Client) -> None:
        """Behind a proxy: caps, bans and limits are for the client that its header names."""
        client.setblocking(False)
        try:
            came = await self._entry.read(client, peer)
        except asyncio.CancelledError:
            client.close()
            raise
        finally:
            self._entering -= 1
        if came is None:
            client.close()
            return
        ticket = self._admit(client, came)
        if ticket is not None:
            await self._open(client, ticket, came)

    async def _open(self, client: socket.socket, ticket: Ticket, came: Arrival) -> None:
        connection = Connection(self._services, self._port, self._registry, ticket)
        connection.arrival = came
        made: Callable[[], Connection] = lambda: connection  # noqa: E731  (a factory is what asyncio wants)
        try:
            if self._port.implicit_tls:
                await self._open_secured(client, ticket, came, made)
            else:
                await self._loop.connect_accepted_socket(made, client)
        except OSError:  # it went away, or its handshake failed (ssl.SSLError is one)
            client.close()
        except asyncio.CancelledError:
            client.close()
            if connection in self._registry:  # cancelled right behind connection_made(), uvloop tells nobody of the end
                connection.connection_lost(None)
            raise
        finally:
            if not connection.made:
                self._services.load.admission.release(ticket)

    async def _open_secured(self, client: socket.socket, ticket: Ticket, came: Arrival, made: Callable[[], Connection]) -> None:
        load = self._services.load
        gate = load.gate(stranger=ticket.stranger)
        shed = load.admission.take_tls(ticket)
        if shed is None and gate.full:
            shed = Shed("handshake", _TOO_MANY_HANDSHAKES, f"{gate.slots} TLS handshakes are under way, and more wait")
        if shed is not None:
            self._refuse(client, str(came.client.address), shed, came.proxy)
            return
        task = asyncio.current_task()
        assert task is not None
        slot = await gate.enter(ticket.prefix, self._loop.time, partial(self._give_up, task))
        try:
            client.setblocking(False)
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                unwanted = await header_before_tls(self._services, self._port, client, came)
            if unwanted:
                client.close()
                return
            await self._loop.connect_accepted_socket(
                made,
                client,
                ssl=self._port.tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=TLS_GOODBYE,
            )
        finally:
            gate.leave(slot)

    def _give_up(self, task: asyncio.Task[None]) -> None:
        self._count("handshake")
        task.cancel()

    # Turning away

    def _refuse(self, client: socket.socket, peer: str, shed: Shed, proxy: str = "") -> None:
        with contextlib.suppress(OSError):
            client.send(shed.reply.encode(), socket.MSG_DONTWAIT)  # a fresh socket has room for a line
        client.close()
        self._count(shed.reason)
        if not self._services.load.stalled:
            where = {"listener": self._port.name, "client": peer, "helo": "", "account": ""}
            if proxy:
                where["proxy"] = proxy
            tell(self._services, "connection.refused", Defer(shed.reply, shed.rule, shed.why, close=True), {**where})

    def _refuse_without_descriptor(self, error: OSError) -> None:
        """The caps keep descriptors free; this is for when somebody else on the machine has taken them all."""
        if self._spare.give():
            try:
                client, peer = self._socket.accept()
            except OSError:
                pass
            else:
                self._refuse(client, str(peer[0]), Shed("descriptors", NO_DESCRIPTOR, f"no file descriptor: {error.strerror}"))
            self._spare.refill()
            return
        self._loop.remove_reader(self._socket)  # else the loop would spin; clients wait in the backlog
        self._spare.refill()
        self._timer = self._loop.call_later(_PAUSE, self.start)

    def _count(self, reason: str) -> None:
        self._services.count.inc("postlatch_shed_total", (self._port.name, reason))
