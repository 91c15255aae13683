"""SASL mechanisms of the server, without I/O: PLAIN (RFC 4616) and LOGIN. The others have files of their own.

A mechanism is one conversation. ``start`` takes the initial response (None if the command had none, empty for ``=``) and
``respond`` each further one, both decoded from base64; each returns the next Step. After Verify, Success or Failure it is over;
after VerifyToken too, unless it is told that the token was ``denied``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from postlatch.accounts.names import login_key
from postlatch.accounts.passwords import MAX_PASSWORD


@dataclass(frozen=True, slots=True)
class Challenge:
    """Send ``334`` with this (not yet encoded)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Verify:
    """The client claims to be ``login`` (canonical where it can be a login) and offers a password, still to be verified."""

    login: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class VerifyToken:
    """The client offers a token, still to be verified. ``login`` is whom it claims to be, empty if the token is to say."""

    login: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Success:
    """The client has proved to be ``login``."""

    login: str


@dataclass(frozen=True, slots=True)
class Failure:
    """The client has proved nothing: 535 5.7.8, or 501 5.5.2 if it was ``malformed``. Both count as failed attempts.

    ``login`` is what it claimed, where that is known, else empty; ``reason`` is fixed text for the journal, not for the client.
    """

    login: str
    malformed: bool
    reason: str


Step = Challenge | Verify | VerifyToken | Success | Failure


class Mechanism(Protocol):
    """One conversation."""

    def start(self, initial: bytes | None) -> Step:
        """The AUTH command came."""
        ...

    def respond(self, data: bytes) -> Step:
        """The answer to a challenge came."""
        ...


@runtime_checkable
class TokenMechanism(Mechanism, Protocol):
    """One that asks for a token to be verified, and has something to say when it is refused."""

    def denied(self, login: str, status: str, reason: str) -> Challenge:
        """The token is refused: what to send before the failure, which is the answer to whatever comes then."""
        ...


class Plain:
    """PLAIN: ``[authzid] NUL authcid NUL password`` in one message."""

    def start(self, initial: bytes | None) -> Step:
        """The message, or an empty challenge for it."""
        return Challenge(b"") if initial is None else self.respond(initial)

    def respond(self, data: bytes) -> Step:
        """The message."""
        text = decoded(data)
        if text is None or text.count("\0") != 2:
            return malformed("PLAIN is not three parts of valid text")
        identity, login, password = text.split("\0")
        if identity and login_key(identity) != login_key(login):
            # CVE-2023-27582: an authorization identity that is believed makes any account every account.
            return Failure(login_key(login), malformed=False, reason="it asked to act as another account")
        return _claim(login, password)


class Login:
    """LOGIN (draft-murchison-sasl-login): the user name, then the password. Its challenges are fixed by habit."""

    def __init__(self) -> None:
        self._login: str | None = None

    def start(self, initial: bytes | None) -> Step:
        """Some clients send the user name with the command."""
        return Challenge(b"Username:") if initial is None else self.respond(initial)

    def respond(self, data: bytes) -> Step:
        """The user name, then the password."""
        text = decoded(data)
        if text is None or "\0" in text:
            return malformed("LOGIN is not valid text")
        if self._login is None:
            self._login = text
            return Challenge(b"Password:")
        return _claim(self._login, text)


def malformed(reason: str, login: str = "") -> Failure:
    """The client did not keep to the mechanism."""
    return Failure(login, malformed=True, reason=reason)


def decoded(data: bytes) -> str | None:
    """The text of a response; None if it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _claim(login: str, password: str) -> Step:
    """What needs no look at any account is refused before the hash, and alike for all."""
    if not login:
        return Failure("", malformed=False, reason="the user name is empty")
    if not password:
        return Failure(login_key(login), malformed=False, reason="the password is empty")
    if len(password.encode()) > MAX_PASSWORD:
        return Failure(login_key(login), malformed=False, reason="the password is too long")
    return Verify(login_key(login), password)
