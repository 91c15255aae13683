"""AUTH: SASL conversations, verified off the loop, with limits before hashing and the same delay for every failure."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from postlatch.accounts import sasl
from postlatch.accounts.authenticator import Busy
from postlatch.limits.clients import client_charges
from postlatch.limits.limiter import Charge, Reached
from postlatch.model.events import Event
from postlatch.model.reply import Reply
from postlatch.policy.replies import rfc3339
from postlatch.server.turns import TRUSTED
from postlatch.smtp import events as ev
from postlatch.store.transaction import WriteFailed

if TYPE_CHECKING:
    from postlatch.server.connection import Connection

_OK = Reply(235, "2.7.0", "Authentication succeeded")
_FAILED = Reply(535, "5.7.8", "Authentication failed")
_MALFORMED = Reply(501, "5.5.2", "Malformed authentication data")
_BUSY = Reply(454, "4.7.0", "Too busy to authenticate now; try again later")
_UNDECIDED = Reply(454, "4.7.0", "Cannot authenticate now; try again later")


class LoginHandler:
    """The AUTH side of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._services = connection.services
        self._mechanism: sasl.Mechanism | None = None
        self._failures = 0

    def on_start(self, event: ev.AuthStart) -> None:
        """AUTH MECHANISM [initial response]."""
        self._connection.command()
        if (reached := self._limit()) is not None:
            self._connection.mail.limit_event(reached.name)
            text = f"Too many failed logins from your address; try again after {rfc3339(reached.retry_at + 1)}"
            self._connection.session.answer(Reply(421, "4.7.0", text), close=True)
            return
        self._mechanism = self._services.authenticator.mechanism(event.mechanism)
        assert self._mechanism is not None, "the engine offers only mechanisms that there are"
        self._step(self._mechanism.start(event.initial))

    def on_response(self, event: ev.AuthResponse) -> None:
        """The client's answer to a challenge."""
        assert self._mechanism is not None
        self._step(self._mechanism.respond(event.data))

    def on_cancelled(self, _event: ev.AuthCancelled) -> None:
        """The client gave up; the engine has answered."""
        self._mechanism = None

    def _step(self, step: sasl.Step) -> None:
        session = self._connection.session
        match step:
            case sasl.Challenge(data):
                session.challenge(data)
            case sasl.Verify(login, password):
                task = asyncio.get_running_loop().create_task(self._verify(login, password))
                task.add_done_callback(self._finished)
            case sasl.Success(login):
                task = asyncio.get_running_loop().create_task(self._succeed(login))
                task.add_done_callback(self._finished)
            case sasl.Failure(login, malformed, _):
                self._fail(login, _MALFORMED if malformed else _FAILED)

    async def _verify(self, login: str, password: str) -> None:
        authenticator, prefix = self._services.authenticator, self._connection.client_prefix
        repeated = authenticator.known_wrong(login, password, prefix)
        try:
            verified = await authenticator.verify(login, password, prefix)
        except Busy:
            self._connection.session.answer(_BUSY)
            self._connection.resume()
            return
        if verified is not None:
            await self._succeed(verified)
            await self._rehash(verified, password)
        else:
            # The same wrong password again is a device that was not told of the new one, not somebody who guesses.
            self._fail(login, _FAILED, charged=not repeated)

    async def _rehash(self, login: str, password: str) -> None:
        """Keep a password that was just right under today's cost, if the configuration's has changed."""
        operation = await self._services.authenticator.rehash(login, password)
        if operation is None:
            return
        # The client is logged in and may be in the middle of something else: what fails here is not its business.
        with contextlib.suppress(WriteFailed):
            [change] = await self._services.submit([operation], ())
            self._services.book.apply(change)

    async def _succeed(self, login: str) -> None:
        await self._services.known_recipients.load(login)
        connection = self._connection
        if not connection.session.waiting:  # cut off meanwhile
            return
        record = self._services.book.get(login)
        if record is None:  # deleted while its password was checked
            self._fail(login, _FAILED)
            return
        connection.account, connection.generation = login, record.generation
        connection.kind = TRUSTED
        self._mechanism = None
        self._services.record(Event("auth.succeeded", self._services.clock.now(), connection.where()))
        self._services.count.inc("postlatch_auth_total", ("succeeded",))
        connection.session.authenticated(_OK)
        connection.resume()

    def _fail(self, login: str, reply: Reply, *, charged: bool = True) -> None:
        services, connection = self._services, self._connection
        self._mechanism = None
        self._failures += 1
        now = services.clock.now()
        if charged:
            services.limiter.charge(self._charges(), now)
        services.record(Event("auth.failed", now, {**connection.where(), "account": login, "reply": str(reply)}))
        services.count.inc("postlatch_auth_total", ("failed",))
        close = self._failures >= services.session.auth_failures
        # The same wait for a wrong password, an unknown user and nonsense: it tells nothing, and it slows guessing.
        asyncio.get_running_loop().call_later(services.session.auth_failure_delay, self._answer_failure, reply, close)

    def _answer_failure(self, reply: Reply, close: bool) -> None:
        if self._connection.session.waiting:
            self._connection.session.answer(reply, close=close)
            self._connection.resume()

    def _charges(self) -> tuple[Charge, ...]:
        limits = self._services.rules.client.get("auth_failures", ())
        return client_charges(self._connection.client.address, "auth_failures", limits) if limits else ()

    def _limit(self) -> Reached | None:
        found = self._charges()
        return self._services.limiter.check(found, self._services.clock.now()) if found else None

    def _finished(self, task: asyncio.Task[None]) -> None:
        """An exception while verifying means undecided, never success."""
        if not task.cancelled() and (error := task.exception()) is not None:
            fields = {**self._connection.where(), "why": f"{type(error).__name__} while verifying"}
            self._services.record(Event("auth.failed", self._services.clock.now(), fields))
            if self._connection.session.waiting:
                self._connection.session.answer(_UNDECIDED)
            self._connection.resume()
