"""Dovecot's authentication service as a directory, by its client protocol 1.2 over a Unix socket (``auth-client``).

Lines of ``COMMAND TAB argument…``. One connection a question: the handshake costs nothing on a Unix socket, and nothing is
shared between two logins that one could confuse.
"""

from __future__ import annotations

import asyncio
import base64
import os
from typing import Final, NamedTuple

from postlatch.accounts.directory import Down, Found, printable

MAX_LINE: Final = 8192  # as Dovecot's own AUTH_CLIENT_MAX_LINE_LENGTH
MAX_LINES: Final = 100  # of a handshake
MAX_RESPONSE: Final = 4096  # octets of login and password together
_MAJOR: Final = "1"
_ID: Final = "1"
_UNESCAPED: Final = {"0": "\0", "1": "\x01", "t": "\t", "r": "\r", "n": "\n"}
# A yes with one of these is none for us: it names somebody who may not log in here, or whose password was not checked at all.
_NOT_HERE: Final = frozenset({"nologin", "proxy", "proxy_maybe", "nopassword", "pass_expired", "user_disabled"})
# A no with one of these says nothing about the password.
_TEMPORARY: Final = frozenset({"temp", "code=temp_fail"})


class Reply(NamedTuple):
    """One line of the server: its command and its arguments, unescaped."""

    command: str
    arguments: tuple[str, ...]


def parse_line(line: bytes) -> Reply:
    """One line without its end; ``Down`` if it is no text."""
    try:
        command, *arguments = line.decode().split("\t")
    except UnicodeDecodeError:
        raise Down("the authentication service sent what is no text") from None
    return Reply(command, tuple(map(_unescape, arguments)))


def _unescape(text: str) -> str:
    """``\\x01`` and a character stand for what must not be in a line."""
    if "\x01" not in text:
        return text
    first, *parts = text.split("\x01")
    return first + "".join(_UNESCAPED.get(part[:1], part[:1]) + part[1:] for part in parts)


def request(login: str, password: str, service: str) -> bytes:
    """The question. SASL PLAIN (RFC 4616) in base64 stands last: nothing of the client's can end the line."""
    if "\0" in login or "\0" in password:
        raise Down("the login or the password holds a NUL")
    response = f"\0{login}\0{password}".encode()
    if len(response) > MAX_RESPONSE:
        raise Down("the login and the password are too long for the authentication service")
    encoded = base64.b64encode(response).decode("ascii")
    return f"AUTH\t{_ID}\tPLAIN\tservice={service}\tsecured\tno-penalty\tresp={encoded}\n".encode("ascii")


def judge(reply: Reply, login: str, domains: int) -> Found | None:
    """What an answer to our one question means."""
    fields = reply.arguments[1:]
    if reply.arguments[:1] != (_ID,):
        raise Down("the authentication service answered a question that was not asked")
    if reply.command == "FAIL":
        if not _TEMPORARY.isdisjoint(fields):
            raise Down("the authentication service has a temporary failure")
        return None
    if reply.command != "OK":
        raise Down(f"the authentication service answered {printable(reply.command)}")
    if any(field.partition("=")[0] in _NOT_HERE for field in fields):
        return None
    values = dict(field.partition("=")[::2] for field in fields)
    return Found(_user(values.get("user", ""), login, domains), frozenset(values.get("send_as", "").replace(",", " ").split()))


def _user(user: str, login: str, domains: int) -> str:
    """Dovecot may be told to cut off the domain (``auth_username_format``); with one domain alone, that is no other user."""
    local, _, domain = login.rpartition("@")
    return f"{user}@{domain}" if domains == 1 and "@" not in user and user == local else user


class DovecotDirectory:
    """Asks the service behind ``path``. ``domains``: how many the directory has."""

    def __init__(self, path: str, domains: int, service: str = "smtp") -> None:
        self._path = path
        self._domains = domains
        self._service = service

    async def verify(self, login: str, password: str) -> Found | None:
        """See ``Directory``. The caller bounds the time."""
        question = request(login, password, self._service)
        try:
            reader, writer = await asyncio.open_unix_connection(self._path, limit=MAX_LINE)
        except OSError as error:
            raise Down(f"the authentication service cannot be reached: {os.strerror(error.errno or 0)}") from None
        try:
            writer.write(f"VERSION\t{_MAJOR}\t2\nCPID\t{os.getpid()}\n".encode("ascii"))
            await self._handshake(reader)
            writer.write(question)
            return judge(await _reply(reader), login, self._domains)
        except OSError:
            raise Down("the authentication service broke the connection") from None
        finally:
            writer.transport.abort()

    def close(self) -> None:
        """Nothing is held between two questions."""

    async def _handshake(self, reader: asyncio.StreamReader) -> None:
        """Until DONE. Its version must be ours, and it must know PLAIN."""
        version, plain = False, False
        for _ in range(MAX_LINES):
            reply = await _reply(reader)
            if reply.command == "VERSION":
                if reply.arguments[:1] != (_MAJOR,):
                    raise Down("the authentication service speaks another version of its protocol")
                version = True
            elif reply.command == "MECH" and reply.arguments[:1] == ("PLAIN",):
                plain = True
            elif reply.command == "DONE":
                if not (version and plain):
                    raise Down("the authentication service does not offer PLAIN")
                return
        raise Down("the authentication service does not come to the point")


async def _reply(reader: asyncio.StreamReader) -> Reply:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError:
        raise Down("the authentication service broke the connection") from None
    except asyncio.LimitOverrunError:
        raise Down("the authentication service sent too long a line") from None
    return parse_line(line[:-1])
