"""From a target to a session that takes work: connect, greeting, EHLO, TLS as demanded, EHLO again, login."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from postlatch.delivery.contract import ConnectFailed, Target, TlsPolicy
from postlatch.delivery.login import LoginBroken, choose
from postlatch.delivery.session import HandshakeFailed, Session, Timeouts
from postlatch.delivery.tls import TlsContexts
from postlatch.delivery.tls_seen import GENERAL, NOT_SUPPORTED, TlsSeen, TlsSession
from postlatch.smtp.client_capabilities import Capabilities
from postlatch.smtp.client_events import Challenge, LoginRefused, Ready, TlsRefused
from postlatch.smtp.client_replies import MAX_TEXT, escape

# Nobody out there has said anything: a router of ours, or the kernel, has given up.
_SILENT = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.ETIMEDOUT})


class Connect(Protocol):
    """Makes a transport for a target, with the protocol that ``factory`` gives.

    May raise OSError, or ConnectFailed to forbid an address: whatever the DNS says, this is the last gate before the packet.
    """

    async def __call__(self, target: Target, factory: Callable[[], asyncio.Protocol], /) -> object:
        """The result is not used: the transport comes with ``connection_made``."""
        ...


async def connect_directly(target: Target, factory: Callable[[], asyncio.Protocol]) -> object:
    """The usual `Connect`: TCP to the numeric address, or the Unix socket. Forbids nothing."""
    loop = asyncio.get_running_loop()
    if target.path:
        return await loop.create_unix_connection(factory, target.path)
    local = (target.source, 0) if target.source else None
    return await loop.create_connection(factory, target.address, target.port, local_addr=local)


@dataclass(frozen=True, slots=True)
class Dialler:
    """What it takes to open sessions. ``make`` gives a new one, not connected yet; ``tls_seen`` is told how TLS fared."""

    make: Callable[[], Session]
    connect: Connect
    timeouts: Timeouts
    contexts: TlsContexts
    tls_seen: TlsSeen | None = None


async def open_session(target: Target, dialler: Dialler, mx_domain: str = "") -> Session:
    """A session that is ready for ``go_live``; ConnectFailed says why there is none.

    ``mx_domain``: for whose mail it is opened, if ``target`` is one of that domain's mail hosts by the DNS.
    """
    if target.username and target.tls is not TlsPolicy.VERIFY:
        raise ConnectFailed("no password is sent without verified TLS", tls=True)
    if target.demand is not None and target.demand.tested:
        session = await _tested(target, dialler, mx_domain)
        if session is not None:
            return session
        target, mx_domain = replace(target, demand=None), ""  # it has been told
    try:
        return await _attempt(target, dialler, mx_domain, plain=False)
    except HandshakeFailed as error:
        if target.tls is not TlsPolicy.OPPORTUNISTIC:
            raise ConnectFailed(error.reply, tls=True) from None
    # Opportunistic TLS protects nobody from an active attacker, so failing it must not stop the mail either (RFC 7435).
    session = await _attempt(target, dialler, mx_domain, plain=True)
    session.fallback = True
    return session


async def _tested(target: Target, dialler: Dialler, mx_domain: str) -> Session | None:
    """What the policy would have if it were enforced, for the reports; None where that fails (RFC 8461 section 5)."""
    try:
        return await _attempt(replace(target, tls=TlsPolicy.VERIFY), dialler, mx_domain, plain=False)
    except HandshakeFailed:
        return None
    except ConnectFailed as error:
        if not error.tls:
            raise
        return None


async def _attempt(target: Target, dialler: Dialler, mx_domain: str, *, plain: bool) -> Session:
    session = dialler.make()
    try:
        await _connect(target, dialler, session)
        offered = (await session.ready()).capabilities
        if not plain and not (target.path and target.tls is TlsPolicy.OPPORTUNISTIC):
            offered = await _secure(target, dialler, session, offered, _teller(target, dialler, session, mx_domain))
        if target.username:
            await _log_in(target, session, offered)
    except BaseException:
        session.abort("given up")
        raise
    return session


async def _connect(target: Target, dialler: Dialler, session: Session) -> None:
    try:
        async with asyncio.timeout(dialler.timeouts.connect):
            await dialler.connect(target, lambda: session)
    except TimeoutError:
        raise ConnectFailed("connect timed out", silent=True) from None
    except OSError as error:
        silent = error.errno in _SILENT
        raise ConnectFailed(f"connect failed: {escape(error.strerror or type(error).__name__)}", silent=silent) from None


def _teller(target: Target, dialler: Dialler, session: Session, mx_domain: str) -> Callable[[str, str], None]:
    """Tells ``dialler.tls_seen`` the result type and the reason. Made while the session is connected for sure."""
    seen = dialler.tls_seen
    if seen is None or not mx_domain:
        return lambda _result, _reason: None
    local = session.local
    return lambda result, reason: seen(TlsSession(mx_domain, target.host, target.address, local, result, reason))


async def _secure(
    target: Target, dialler: Dialler, session: Session, offered: Capabilities, tell: Callable[[str, str], None]
) -> Capabilities:
    """Start TLS as the target's policy demands; the capabilities that hold from then on."""
    demanded = target.tls is not TlsPolicy.OPPORTUNISTIC
    if not offered.starttls:
        tell(NOT_SUPPORTED, "")
        if demanded:
            raise ConnectFailed("STARTTLS is not offered", tls=True)
        return offered
    try:
        event = await session.ask(session.engine.starttls)
    except ConnectFailed as error:
        tell(GENERAL, "the connection ended at STARTTLS")
        raise ConnectFailed(error.reply, tls=True) from None
    if isinstance(event, TlsRefused):
        tell(NOT_SUPPORTED, f"STARTTLS was refused with {event.reply.code}")
        if demanded:
            raise ConnectFailed(f"STARTTLS was refused: {event.reply}"[:MAX_TEXT], tls=True)
        return offered
    name = target.demand.sni if target.demand is not None and target.demand.sni else target.host or target.address
    try:
        await session.handshake(dialler.contexts.of(target.tls, target.demand), name, target.tls, target.demand)
    except HandshakeFailed as error:
        tell(error.result, error.reply)
        raise
    tell("", "")
    event = await session.ask(session.engine.tls_started)
    assert isinstance(event, Ready)
    return event.capabilities


async def _log_in(target: Target, session: Session, offered: Capabilities) -> None:
    """Log in. Only reached under ``verify``, whose handshake has succeeded."""
    try:
        mechanism = choose(offered.mechanisms, target.username, target.password)
    except ValueError as error:
        raise ConnectFailed(f"login failed: {error}") from None
    if mechanism is None:
        raise ConnectFailed("login failed: the server offers no mechanism that we know")
    engine = session.engine
    event = await session.ask(lambda: engine.auth(mechanism.name, mechanism.initial))
    while isinstance(event, Challenge):
        try:
            # SCRAM hashes for as long as the server likes; the loop must not wait for it.
            answer = await asyncio.to_thread(mechanism.answer, event.data)
        except LoginBroken as error:
            raise ConnectFailed(f"login failed: {error}") from None
        event = await session.ask(_responder(session, answer))
    if isinstance(event, LoginRefused):
        raise ConnectFailed(f"login refused: {event.reply}"[:MAX_TEXT])
    if not mechanism.complete:
        raise ConnectFailed("login failed: the server ended it early")


def _responder(session: Session, answer: bytes) -> Callable[[], None]:
    return lambda: session.engine.auth_respond(answer)
