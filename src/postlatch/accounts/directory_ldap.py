"""LDAP as a directory: the entry is looked for, and then the password is tried by binding as it (RFC 4511, RFC 4513).

The talking is done by a few children (``directory_ldap_helper``, which says why). What a client sends goes into a filter or a
name only escaped; an empty password is refused before any bind; referrals are not followed; exactly one entry counts.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import asdict
from typing import Any, Final, cast

from postlatch.accounts.directory import MAX_ENTRY, MOST_ENTRIES, Down, Found
from postlatch.accounts.directory_ldap_text import MAX_LOGIN, LdapSettings

WORKERS: Final = 4  # children, and so questions at once
MAX_ANSWER: Final = 512 * 1024  # octets: as many sender addresses as count, and some
_HELPER: Final = "postlatch.accounts.directory_ldap_helper"


class _Child(asyncio.SubprocessProtocol):
    """One helper: a line goes in, a line comes out."""

    def __init__(self) -> None:
        self.transport: asyncio.SubprocessTransport | None = None
        self.gone = False
        self._buffer = bytearray()
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It runs."""
        self.transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # noqa: ARG002  (only its output is a pipe to read)
        """A piece of an answer."""
        self._buffer += data
        if len(self._buffer) > MAX_ANSWER:
            self.close()
        elif data.endswith(b"\n") and self._answer is not None and not self._answer.done():
            self._answer.set_result(bytes(self._buffer))
            self._buffer.clear()

    def process_exited(self) -> None:
        """The kernel has ended it, or it has ended by itself."""
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  (the protocol's signature)
        """Its pipes are closed."""
        self.close()

    async def ask(self, question: bytes) -> bytes:
        """Its answer; ``Down`` if it ends before, or says too much."""
        assert self.transport is not None
        stdin = cast("asyncio.WriteTransport", self.transport.get_pipe_transport(0))
        self._answer = asyncio.get_running_loop().create_future()
        if self.gone:
            self.close()
        else:
            stdin.write(question)
        return await self._answer

    def tell(self, line: bytes) -> None:
        """What needs no answer."""
        assert self.transport is not None
        cast("asyncio.WriteTransport", self.transport.get_pipe_transport(0)).write(line)

    def close(self) -> None:
        """End it, and whoever waits for it."""
        self.gone = True
        if self.transport is not None:
            self.transport.close()  # kills what still runs
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Down("the LDAP server did not answer in time, or sent too much"))


class LdapDirectory:
    """Asks one server. ``close`` ends its children."""

    def __init__(self, settings: LdapSettings, workers: int = WORKERS) -> None:
        self._settings = settings
        self._places = asyncio.Semaphore(workers)
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._closed = False

    async def verify(self, login: str, password: str) -> Found | None:
        """See ``Directory``."""
        if not _may_ask(login, password):
            return None
        question = json.dumps({"login": login, "password": password}).encode() + b"\n"
        async with self._places:
            child = self._waiting() or await self._start()
            try:
                answer = await child.ask(question)
            except BaseException:
                self._end(child)
                raise
            if self._closed:
                self._end(child)
            else:
                self._idle.append(child)
        return _judge(json.loads(answer), login)

    def close(self) -> None:
        """End the children."""
        self._closed = True
        self._idle.clear()
        for child in list(self._all):
            self._end(child)

    def _waiting(self) -> _Child | None:
        while self._idle:
            child = self._idle.pop()
            if not child.gone:
                return child
            self._end(child)
        return None

    async def _start(self) -> _Child:
        # LDAPNOINIT: what is in ldap.conf or a user's .ldaprc must not weaken what is demanded here.
        environment = {**os.environ, "LDAPNOINIT": "1"}
        command = (sys.executable, "-m", _HELPER)
        loop = asyncio.get_running_loop()
        try:
            _, child = await loop.subprocess_exec(_Child, *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment)
        except OSError as error:
            raise Down(f"the LDAP helper cannot be started: {os.strerror(error.errno or 0)}") from None
        self._all.add(child)
        child.tell(json.dumps(asdict(self._settings)).encode() + b"\n")
        return child

    def _end(self, child: _Child) -> None:
        self._all.discard(child)
        child.close()


def _may_ask(login: str, password: str) -> bool:
    """Nothing that is no text, nothing empty, no end of a string in C, and no more than a login has."""
    try:
        octets = len(login.encode()) if password.encode() else 0
    except UnicodeEncodeError:
        return False
    return 0 < octets <= MAX_LOGIN and "\0" not in login + password


def _judge(answer: Any, login: str) -> Found | None:
    if "down" in answer:
        raise Down(answer["down"])
    if not answer["ok"]:
        return None
    send_as = answer["send_as"]
    if len(send_as) > MOST_ENTRIES or any(len(entry) > MAX_ENTRY for entry in send_as):
        raise Down("the LDAP server names too many sender addresses, or too long ones")
    return Found(login, frozenset(send_as))
