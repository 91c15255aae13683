"""The Unix socket of the ``sendmail`` command: the kernel says which user speaks, a table which account that is.

A session here is one of submission that has logged in already: it has that account's limits, ties and suspension, and nothing
else. Nobody needs to trust loopback for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from typing import Final

from postlatch.model.envelope import Client, Role
from postlatch.model.reply import Reply
from postlatch.model.verdict import Defer, Refuse
from postlatch.policy.credentials import LOCAL
from postlatch.server.admission import Shed, Ticket
from postlatch.server.connection import Connection, ListenerPort
from postlatch.server.engine import engine_config
from postlatch.server.local_rules import CLIENT, LocalNames, LocalUser
from postlatch.server.mail import MailHandler
from postlatch.server.proxy_arrival import Arrival
from postlatch.server.refusals import tell
from postlatch.server.services import Services
from postlatch.server.turns import TRUSTED
from postlatch.smtp import events as ev

_HERE: Final = ip_address("127.0.0.1")  # what rules that ask for an address see; no right names this listener
_A_TURN: Final = 8  # clients taken in one turn of the loop
_MANY: Final = 1_000_000  # connections: the caps of [limits.client] are for addresses, and ours is for each user
_NOBODY: Final = Reply(554, "5.7.1", "this user of the machine may not send: it is not in sendmail.users")
_BUSY: Final = Reply(421, "4.7.0", "too many connections of this user, try again later")


class LocalMail(MailHandler):
    """As everywhere, but that the name of the user stands for its account."""

    def __init__(self, connection: LocalConnection, user: LocalUser) -> None:
        super().__init__(connection)
        self._user = user

    def names(self) -> LocalNames:
        """How this user's program writes addresses, under the policy of now."""
        services = self._services
        return LocalNames(self._user, services.local.domain, services.snapshot, services.clock.now())

    def on_mail(self, event: ev.Mail) -> None:
        """Decide on the sender."""
        if event.sender is not None:
            event = replace(event, sender=self.names().as_account(event.sender))
        super().on_mail(event)


class LocalConnection(Connection):
    """A session of one user of this machine."""

    def __init__(
        self, services: Services, port: ListenerPort, registry: set[Connection], ticket: Ticket, user: LocalUser
    ) -> None:
        super().__init__(services, port, registry, ticket)
        self.user = user
        self.arrival = Arrival(Client(_HERE, 0))
        self.account, self.credential, self.kind = user.login, LOCAL, TRUSTED
        self.generation = services.authenticator.generation(user.login, LOCAL) or 0
        self.mail = LocalMail(self, user)
        self.gone: Callable[[], None] = _nothing
        config = engine_config(services, port.role, (), tls=False, implicit=False)
        self.session.configure(replace(config, origin=services.local.domain))

    def connection_lost(self, exc: Exception | None) -> None:
        """Drop what was not committed, and the user's place."""
        super().connection_lost(exc)
        self.gone()

    def named(self) -> tuple[str, str]:
        """How the journal and the limits call it: not by an address, for it has none."""
        return CLIENT, f"{CLIENT} uid {self.user.uid}"


class LocalAcceptor:
    """Takes users of this machine from the listening socket, which it closes at the end."""

    def __init__(self, services: Services, port: ListenerPort, registry: set[Connection], sock: socket.socket) -> None:
        self._services = services
        self._port = port
        self._registry = registry
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._opening: set[asyncio.Task[None]] = set()
        self._open_by_user: Counter[int] = Counter()

    def start(self) -> None:
        """Begin to accept."""
        self._loop.add_reader(self._socket, self._ready)

    def stop(self) -> None:
        """Accept nobody any more."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
        for task in tuple(self._opening):
            task.cancel()

    def _ready(self) -> None:
        for _ in range(_A_TURN):
            try:
                client, _ = self._socket.accept()
            except OSError:  # nobody more, or no descriptor left: they wait in the backlog
                return
            client.setblocking(False)
            self._take(client, peer_uid(client))

    def _take(self, client: socket.socket, uid: int) -> None:
        services, port = self._services, self._port
        user = services.local.users.get(uid)
        if user is None:
            why = f"the user {uid} of this machine is not in sendmail.users"
            self._refuse(client, uid, Refuse(_NOBODY, "local user", why, close=True))
            return
        if self._open_by_user[uid] >= services.rules.connections:
            why = f"{self._open_by_user[uid]} connections of the user {user.name} are open"
            self._refuse(client, uid, Defer(_BUSY, "connection limit", why, close=True))
            return
        admitted = services.load.admission.admit(port.name, Role.SUBMISSION, _HERE, client=_MANY, network=_MANY)
        if isinstance(admitted, Shed):
            self._refuse(client, uid, Defer(admitted.reply, admitted.rule, admitted.why, close=True))
            return
        self._open_by_user[uid] += 1
        task = self._loop.create_task(self._open(client, admitted, user))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, client: socket.socket, ticket: Ticket, user: LocalUser) -> None:
        services = self._services
        try:
            connection = LocalConnection(services, self._port, self._registry, ticket, user)
        except BaseException:
            self._gone(client, ticket, user)
            raise
        connection.gone = partial(self._left, user)
        try:
            await self._loop.connect_accepted_socket(lambda: connection, client)
        except OSError:
            client.close()
        finally:
            if not connection.made:
                self._gone(client, ticket, user)

    def _gone(self, client: socket.socket, ticket: Ticket, user: LocalUser) -> None:
        client.close()
        self._services.load.admission.release(ticket)
        self._left(user)

    def _left(self, user: LocalUser) -> None:
        self._open_by_user[user.uid] -= 1
        if self._open_by_user[user.uid] <= 0:
            del self._open_by_user[user.uid]

    def _refuse(self, client: socket.socket, uid: int, verdict: Refuse | Defer) -> None:
        with contextlib.suppress(OSError):
            client.send(verdict.reply.encode(), socket.MSG_DONTWAIT)
        client.close()
        where = {"listener": self._port.name, "client": CLIENT, "helo": "", "account": "", "user": str(uid)}
        tell(self._services, "connection.refused", verdict, {**where})


def _nothing() -> None:
    """Until somebody wants to know of the end."""


def peer_uid(client: socket.socket) -> int:
    """The effective user that connected, as the kernel says (unix(7), SO_PEERCRED); -1 if it cannot say."""
    try:
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return -1
    return int(struct.unpack("iII", credentials)[1])
