"""Logging in at a smarthost. RFC 4954; SCRAM-SHA-256 (RFC 7677), PLAIN (RFC 4616), LOGIN.

The mechanisms know nothing of SMTP: first message, challenge, answer. They are used only under TLS that was verified, which the
caller sees to; that is why PLAIN is good enough, and SCRAM better only in that the server has to know the password too.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Protocol

from scramp import ScramClient, ScramException

SCRAM = "SCRAM-SHA-256"


class LoginBroken(Exception):
    """The exchange cannot go on: the server broke the mechanism's rules. Fixed text."""


class Mechanism(Protocol):
    """One SASL exchange, from the client's side."""

    @property
    def name(self) -> str:
        """Its SASL name."""
        ...

    @property
    def initial(self) -> bytes | None:
        """The first message; None if the server begins."""
        ...

    @property
    def complete(self) -> bool:
        """True once the server's success may be believed."""
        ...

    def answer(self, challenge: bytes) -> bytes:
        """The answer to a challenge; LoginBroken. SCRAM may think for some hundred milliseconds: call it in a thread."""
        ...


class Plain:
    """PLAIN. ValueError for a NUL in the name or password, which would shift the fields."""

    name = "PLAIN"
    complete = True

    def __init__(self, username: str, password: str) -> None:
        if "\0" in username or "\0" in password:
            raise ValueError("a NUL in the user name or password")
        self.initial = f"\0{username}\0{password}".encode()

    def answer(self, challenge: bytes) -> bytes:
        """Nothing is left to say, and some servers ask for it with an empty challenge all the same."""
        if challenge:
            raise LoginBroken("a challenge that PLAIN does not have")
        return b""


class Login:
    """LOGIN (draft-murchison-sasl-login): the name, then the password. What the prompts say differs and does not matter."""

    name = "LOGIN"
    initial = None

    def __init__(self, username: str, password: str) -> None:
        self._answers = [password.encode(), username.encode()]

    @property
    def complete(self) -> bool:
        """True once both were asked for."""
        return not self._answers

    def answer(self, challenge: bytes) -> bytes:  # noqa: ARG002  the prompt
        """The name, then the password."""
        if not self._answers:
            raise LoginBroken("a third prompt in LOGIN")
        return self._answers.pop()


class Scram:
    """SCRAM-SHA-256 without channel binding. ``nonce`` is for tests; without it scramp draws one from ``secrets``."""

    name = SCRAM

    def __init__(self, username: str, password: str, nonce: str | None = None) -> None:
        try:
            self._client = ScramClient([SCRAM], username, password, c_nonce=nonce)
            self.initial = str(self._client.get_client_first()).encode()
        except ScramException:
            raise ValueError("the user name or password holds characters that SASLprep does not permit") from None
        self._step = 0
        self.complete = False

    def answer(self, challenge: bytes) -> bytes:
        """The proof for the server's first message, nothing for its last."""
        self._step += 1
        try:
            text = challenge.decode()
            if self._step == 1:
                self._client.set_server_first(text)
                return str(self._client.get_client_final()).encode()
            # Raises unless the server proves that it knows the password too.
            self._client.set_server_final(text)
        except (ScramException, UnicodeError):
            raise LoginBroken("the server broke the rules of SCRAM or does not know the password") from None
        self.complete = True
        return b""


def choose(offered: AbstractSet[str], username: str, password: str) -> Mechanism | None:
    """The best mechanism on offer, None if there is none that we know; ValueError if the credentials do not fit it."""
    if SCRAM in offered:
        return Scram(username, password)
    if Plain.name in offered:
        return Plain(username, password)
    if Login.name in offered:
        return Login(username, password)
    return None
