"""LDAP as a directory: the entry is looked for, and then the password is tried by binding as it (RFC 4511, RFC 4513).

The talking is done by a few children (``directory_ldap_helper``, which says why). What a client sends goes into a filter or a
name only escaped; an empty password is refused before any bind; referrals are not followed; exactly one entry counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import asdict
from typing import Any, Final

from postlatch.accounts.directory import MAX_ENTRY, MOST_ENTRIES, Down, Found
from postlatch.accounts.directory_ldap_text import MAX_LOGIN, LdapSettings

WORKERS: Final = 4  # children, and so questions at once
MAX_ANSWER: Final = 512 * 1024  # octets: as many sender addresses as count, and some
_HELPER: Final = "postlatch.accounts.directory_ldap_helper"


class LdapDirectory:
    """Asks one server. ``close`` ends its children."""

    def __init__(self, settings: LdapSettings, workers: int = WORKERS) -> None:
        self._settings = settings
        self._places = asyncio.Semaphore(workers)
        self._idle: list[Process] = []
        self._all: set[Process] = set()
        self._closed = False

    async def verify(self, login: str, password: str) -> Found | None:
        """See ``Directory``."""
        if not password or "\0" in password or "\0" in login or len(login.encode()) > MAX_LOGIN:
            return None
        async with self._places:
            child = self._waiting() or await self._start()
            try:
                answer = await _ask(child, {"login": login, "password": password})
            except BaseException:
                self._end(child)
                raise
            if self._closed:
                self._end(child)
            else:
                self._idle.append(child)
        return _judge(answer, login)

    def close(self) -> None:
        """End the children."""
        self._closed = True
        self._idle.clear()
        for child in list(self._all):
            self._end(child)

    def _waiting(self) -> Process | None:
        while self._idle:
            child = self._idle.pop()
            if child.returncode is None:
                return child
            self._end(child)
        return None

    async def _start(self) -> Process:
        # LDAPNOINIT: what is in ldap.conf or a user's .ldaprc must not weaken what is demanded here.
        environment = {**os.environ, "LDAPNOINIT": "1"}
        try:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _HELPER), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, limit=MAX_ANSWER, env=environment
            )
        except OSError as error:
            raise Down(f"the LDAP helper cannot be started: {os.strerror(error.errno or 0)}") from None
        self._all.add(child)
        assert child.stdin is not None
        child.stdin.write(json.dumps(asdict(self._settings)).encode() + b"\n")
        return child

    def _end(self, child: Process) -> None:
        self._all.discard(child)
        with contextlib.suppress(ProcessLookupError):
            child.kill()


async def _ask(child: Process, question: dict[str, str]) -> Any:
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(question).encode() + b"\n")
        line = await child.stdout.readline()
    except (OSError, ValueError):  # ValueError: the line is longer than the limit
        raise Down("the LDAP server sent too much, or its helper broke") from None
    if not line.endswith(b"\n"):
        raise Down("the LDAP server did not answer in time, or sent too much")
    return json.loads(line)


def _judge(answer: Any, login: str) -> Found | None:
    if "down" in answer:
        raise Down(answer["down"])
    if not answer["ok"]:
        return None
    send_as = answer["send_as"]
    if len(send_as) > MOST_ENTRIES or any(len(entry) > MAX_ENTRY for entry in send_as):
        raise Down("the LDAP server names too many sender addresses, or too long ones")
    return Found(login, frozenset(send_as))
