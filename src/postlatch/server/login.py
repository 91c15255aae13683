"""AUTH: SASL conversations, verified off the loop, with limits before hashing and the same delay for every failure."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from postlatch.accounts import sasl
from postlatch.accounts.app_passwords import Claim, split_login
from postlatch.accounts.authenticator import Busy
from postlatch.accounts.external import External
from postlatch.accounts.mechanisms import NO_CHANNEL, offered
from postlatch.accounts.oauth import INVALID_TOKEN
from postlatch.accounts.oauth_tokens import Unavailable
from postlatch.limits.clients import client_charges
from postlatch.limits.limiter import Charge, Reached
from postlatch.model.events import Event
from postlatch.model.reply import Reply
from postlatch.policy.credentials import CERTIFICATE, TOKEN
from postlatch.policy.replies import rfc3339
from postlatch.server.engine import engine_config
from postlatch.server.proofs import channel_of
from postlatch.server.turns import TRUSTED
from postlatch.smtp import events as ev
from postlatch.store.transaction import WriteFailed

if TYPE_CHECKING:
    from postlatch.server.connection import Connection

_OK = Reply(235, "2.7.0", "Authentication succeeded")
_FAILED = Reply(535, "5.7.8", "Authentication failed")
_MALFORMED = Reply(501, "5.5.2", "Malformed authentication data")
_BUSY = Reply(454, "4.7.0", "Too busy to authenticate now; try again later")
_TOO_MANY = Reply(421, "4.7.0", "Too many failed logins; try again later")
_UNDECIDED = Reply(454, "4.7.0", "Cannot authenticate now; try again later")


class LoginHandler:
    """The AUTH side of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._services = connection.services
        self._mechanism: sasl.Mechanism | None = None
        self._name = ""  # of the mechanism that was last asked for
        self._channel = NO_CHANNEL
        self._refused: tuple[Reply, bool] | None = None  # how an exchange that has failed ends, after a word of the client's
        self._failures = 0
        self._reached: Reached | None = None  # too many failures from this address, where somebody is known all the same

    def secured(self, transport: asyncio.BaseTransport) -> None:
        """The connection is made, or has TLS now: what can be offered depends on what that brings."""
        connection = self._connection
        port = connection.port
        if not port.mechanisms or transport.get_extra_info("ssl_object") is None:
            return
        self._channel = channel_of(transport, self._services.proofs)
        mechanisms = offered(port.mechanisms, self._channel)
        connection.session.configure(engine_config(self._services, port.role, mechanisms, tls=True, implicit=port.implicit_tls))

    def on_start(self, event: ev.AuthStart) -> None:
        """AUTH MECHANISM [initial response]."""
        self._connection.command()
        self._reached = self._limit()
        if self._reached is not None and not self._services.attempts.somebody_known(self._connection.client.address):
            self._connection.mail.limit_event(self._reached.name)
            self._services.attempts.pressed(self._connection.client.address)
            self._connection.session.answer(_too_many(self._reached), close=True)
            return
        self._name = event.mechanism
        self._mechanism = self._services.authenticator.mechanism(event.mechanism, self._channel)
        assert self._mechanism is not None, "the engine offers only mechanisms that there are"
        self._step(self._mechanism.start(event.initial))

    def on_response(self, event: ev.AuthResponse) -> None:
        """The client's answer to a challenge."""
        if self._refused is not None:
            (reply, close), self._refused = self._refused, None
            self._connection.session.answer(reply, close=close)
            return
        assert self._mechanism is not None
        self._step(self._mechanism.respond(event.data))

    def on_cancelled(self, _event: ev.AuthCancelled) -> None:
        """The client gave up; the engine has answered."""
        self._mechanism = None
        if self._refused is not None and self._refused[1]:
            self._connection.session.shutdown(_TOO_MANY)
        self._refused = None

    def _step(self, step: sasl.Step) -> None:
        session = self._connection.session
        match step:
            case sasl.Challenge(data):
                session.challenge(data)
            case sasl.Verify(login, password):
                task = asyncio.get_running_loop().create_task(self._verify(login, password))
                task.add_done_callback(self._finished)
            case sasl.VerifyToken(login, token):
                task = asyncio.get_running_loop().create_task(self._verify_token(login, token))
                task.add_done_callback(self._finished)
            case sasl.Success(login):
                claim = Claim(login, CERTIFICATE) if isinstance(self._mechanism, External) else split_login(login)
                task = asyncio.get_running_loop().create_task(self._succeed(claim))
                task.add_done_callback(self._finished)
            case sasl.Failure(login, malformed, reason):
                self._fail(login, _MALFORMED if malformed else _FAILED, why=reason)

    async def _verify(self, login: str, password: str) -> None:
        authenticator, prefix = self._services.authenticator, self._connection.client_prefix
        if self._over(login):
            self._fail(login, _FAILED)
            return
        repeated = authenticator.known_wrong(login, password, prefix)
        try:
            async with self._services.attempts.place(login, self._connection.client.address, prefix):
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
            self._fail(login, _FAILED, charged=not repeated, password=password)

    async def _verify_token(self, claimed: str, token: str) -> None:
        services, mechanism = self._services, self._mechanism
        assert isinstance(mechanism, sasl.TokenMechanism)
        if claimed and self._over(claimed):
            self._fail(claimed, _FAILED)
            return
        if services.proofs.tokens is None:
            self._unavailable(claimed, "tokens are no longer taken")
            return
        try:
            found = await services.proofs.tokens.check(token, self._connection.client_prefix)
        except Unavailable as error:
            self._unavailable(claimed, str(error))
            return
        status, reason = found.status, found.reason
        if not status and claimed and claimed != found.login:
            status, reason = INVALID_TOKEN, "the token is another account's"
        elif not status and services.book.get(found.login) is None:
            status, reason = INVALID_TOKEN, "the token names no account here"
        if not status:
            await self._succeed(Claim(found.login, TOKEN))
            return
        # A token that its issuer made, and that has ended, is a device that must fetch a new one, not somebody who guesses.
        challenge = mechanism.denied(claimed or found.login, status, reason)
        self._fail(claimed or found.login, _FAILED, charged=not found.genuine, told=challenge.data, why=reason)

    def _unavailable(self, login: str, why: str) -> None:
        """Who is asked cannot say now."""
        services = self._services
        fields = {**self._connection.where(), "account": login, "reply": str(_UNDECIDED), "why": why, "mechanism": self._name}
        services.record(Event("auth.failed", services.clock.now(), fields))
        services.count.inc("postlatch_auth_total", ("undecided",))
        self._mechanism = None
        if self._connection.session.waiting:
            self._connection.session.answer(_UNDECIDED)
        self._connection.resume()

    async def _rehash(self, claim: Claim, password: str) -> None:
        """Keep a password that was just right under today's cost, if the configuration's has changed."""
        operation = await self._services.authenticator.rehash(claim, password)
        if operation is None:
            return
        # The client is logged in and may be in the middle of something else: what fails here is not its business.
        with contextlib.suppress(WriteFailed):
            [change] = await self._services.submit([operation], ())
            self._services.book.apply(change)

    async def _succeed(self, claim: Claim) -> None:
        login = claim.login
        await self._services.known_recipients.load(login)
        connection = self._connection
        if not connection.session.waiting:  # cut off meanwhile
            return
        # None: deleted or revoked while its password was checked.
        generation = self._services.authenticator.admit(claim, self._services.clock.now())
        if generation is None or self._over(login):
            self._fail(login, _FAILED)
            return
        connection.account, connection.credential, connection.generation = login, claim.credential, generation
        connection.kind = TRUSTED
        self._mechanism = None
        fields = {**connection.where(), "mechanism": self._name}
        self._services.record(Event("auth.succeeded", self._services.clock.now(), fields))
        self._services.count.inc("postlatch_auth_total", ("succeeded",))
        connection.session.authenticated(_OK)
        connection.resume()

    def _fail(
        self,
        login: str,
        reply: Reply,
        *,
        charged: bool = True,
        told: bytes | None = None,
        why: str | None = None,
        password: str | None = None,
    ) -> None:
        """``told``: what the client hears first, in a last challenge."""
        services, connection = self._services, self._connection
        self._mechanism = None
        self._failures += 1
        now = services.clock.now()
        wait = services.session.auth_failure_delay
        if charged:
            services.limiter.charge(self._charges(), now)
            wait = services.attempts.failed(login, password, connection.client.address, wait)
        fields = {**connection.where(), "account": login, "reply": str(reply)} | ({"why": why} if why else {})
        if self._name:
            fields["mechanism"] = self._name
        services.record(Event("auth.failed", now, fields))
        services.count.inc("postlatch_auth_total", ("failed",))
        close = self._failures >= services.session.auth_failures
        if self._over(login) and self._reached is not None:  # as for a right password: it must not be told apart
            reply, close, told = _too_many(self._reached), True, None
        # The same wait for a wrong password, an unknown user and nonsense: it tells nothing, and it slows guessing.
        if not services.attempts.later(wait, self._answer_failure, reply, close, told):
            asyncio.get_running_loop().call_soon(self._answer_failure, _TOO_MANY, True)

    def _answer_failure(self, reply: Reply, close: bool, told: bytes | None = None) -> None:
        if self._connection.session.waiting:
            if told is None:
                self._connection.session.answer(reply, close=close)
            else:
                self._refused = (reply, close)
                self._connection.session.challenge(told)
            self._connection.resume()

    def _charges(self) -> tuple[Charge, ...]:
        limits = self._services.rules.client.get("auth_failures", ())
        return client_charges(self._connection.client.address, "auth_failures", limits) if limits else ()

    def _limit(self) -> Reached | None:
        found = self._charges()
        return self._services.limiter.check(found, self._services.clock.now()) if found else None

    def _over(self, login: str) -> bool:
        """This address has used up its failures; only who is known there may go on, so that nobody can keep them out."""
        return self._reached is not None and not self._services.attempts.known(login, self._connection.client.address)

    def _finished(self, task: asyncio.Task[None]) -> None:
        """An exception while verifying means undecided, never success."""
        if not task.cancelled() and (error := task.exception()) is not None:
            fields = {**self._connection.where(), "why": f"{type(error).__name__} while verifying"}
            self._services.record(Event("auth.failed", self._services.clock.now(), fields))
            if self._connection.session.waiting:
                self._connection.session.answer(_UNDECIDED)
            self._connection.resume()


def _too_many(reached: Reached) -> Reply:
    return Reply(421, "4.7.0", f"Too many failed logins from your address; try again after {rfc3339(reached.retry_at + 1)}")
