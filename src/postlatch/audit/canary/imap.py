"""The canary's mailbox at an IMAP server: opened read-only, and nothing in it is marked as seen (RFC 3501)."""

from __future__ import annotations

import asyncio
import imaplib
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote

from postlatch.audit.canary.tokens import MAX_MESSAGE, read_message
from postlatch.audit.canary.values import Arrival, CanaryError
from postlatch.audit.printable import printable
from postlatch.model.clock import Clock

_HOW: Final = "write imaps://USER@HOST/FOLDER"
_IMAP, _IMAPS = 143, 993
_PATIENCE: Final = 10.0  # seconds for one answer
_PAUSE: Final = 1.0  # between two looks: a server at somebody else's is not asked ten times a second
_MAX_LITERAL: Final = MAX_MESSAGE + 1024
_MAX_LINE: Final = 1_000_000
_MAX_MESSAGES: Final = 1000
_MAX_LOGINS: Final = 5
_Result = TypeVar("_Result")


class Mailbox(NamedTuple):
    """Where a mailbox is."""

    user: str
    host: str
    port: int
    folder: str
    encrypted: bool = True


def mailbox(url: str) -> Mailbox:
    """``imaps://USER@HOST[:PORT]/FOLDER``; CanaryError says what is wrong. In the clear (``imap://``) only to this machine."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in {"imap", "imaps"}:
        raise CanaryError(f"{printable(url, 100)} is no IMAP mailbox: {_HOW}")
    authority, _, folder = rest.partition("/")
    user, _, place = authority.rpartition("@")
    host, port = _host_and_port(place, _IMAPS if scheme.lower() == "imaps" else _IMAP)
    if not user or not host or port is None:
        raise CanaryError(f"{printable(url, 100)} lacks its user or host, or the port is no number: {_HOW}")
    if ":" in user:
        raise CanaryError("A password does not belong in the URL, where every process sees it: put it into --password-file")
    if scheme.lower() == "imap" and not _is_here(host):
        raise CanaryError(f"imap:// would send the password to {printable(host, 100)} in the clear: use imaps://")
    user, folder = unquote(user), unquote(folder) or "INBOX"
    if not (folder.isascii() and folder.isprintable() and user.isprintable()):
        raise CanaryError(f"The folder {printable(folder, 100)} must be written as the server does: in ASCII (RFC 3501, 5.1.3)")
    return Mailbox(user, host, port, folder, scheme.lower() == "imaps")


def _host_and_port(place: str, port: int) -> tuple[str, int | None]:
    host, colon, number = place.rpartition(":")
    if not colon or place.endswith("]"):
        return place.strip("[]"), port
    return host.strip("[]"), int(number) if number.isascii() and number.isdigit() and len(number) < 6 else None


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class ImapReader:
    """What came into a mailbox since `start`, with a token of ``run``. One connection, kept until `close`."""

    def __init__(
        self,
        where: Mailbox,
        password: str,
        *,
        run: str,
        clock: Clock,
        tls: ssl.SSLContext | None = None,
        patience: float = _PATIENCE,
        pause: float = _PAUSE,
    ) -> None:
        self._where = where
        self._password = password
        self._run = run
        self._clock = clock
        self._tls = tls
        self._patience = patience
        self._limit = 3 * patience  # of one look
        self._pause = pause
        self._next_look = 0.0
        self._logins = 0
        self._server: _Connection | None = None
        self._first = 0  # the first UID that is new; 0: not known yet
        self._seen: set[int] = set()
        self._arrivals: list[Arrival] = []
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Log in and note what is there already. CanaryError if that does not work."""
        async with self._turn:
            await asyncio.to_thread(self._guarded, self._connect)

    async def arrivals(self) -> list[Arrival]:
        """As of `Canary`. The server is asked once a second at most; in between this is what it said last."""
        async with self._turn:
            if self._clock.monotonic() >= self._next_look:
                await asyncio.to_thread(self._guarded, self._look)
                self._next_look = self._clock.monotonic() + self._pause
        return list(self._arrivals)

    async def close(self) -> None:
        """Log out."""
        async with self._turn:
            await asyncio.to_thread(self._drop)

    def _guarded(self, work: Callable[[], _Result]) -> _Result:
        """Do some work with the server; a server that stalls, drips, lies or talks nonsense ends it with CanaryError."""
        watch = threading.Timer(self._limit, self._cut)
        watch.daemon = True
        watch.start()
        try:
            return work()
        except (OSError, EOFError, ValueError, LookupError, AttributeError, TypeError, imaplib.IMAP4.error) as error:
            self._drop(politely=False)
            raise CanaryError(f"The mailbox at {printable(self._where.host, 100)}: {_mistake(error)}") from None
        finally:
            watch.cancel()

    def _connect(self) -> _Connection:
        if self._server is not None:
            return self._server
        if self._logins >= _MAX_LOGINS:
            raise imaplib.IMAP4.error(f"it ended the connection {_MAX_LOGINS} times")
        self._logins += 1
        where = self._where
        context = (self._tls or ssl.create_default_context()) if where.encrypted else None
        server = self._server = _Connection(where, context, self._patience, self._limit)
        self._log_in(server)
        _ok(*server.select(_quoted(where.folder), readonly=True), what=f"there is no folder {printable(where.folder, 100)}")
        if not self._first:
            self._first = _next_uid(server)
        return server

    def _log_in(self, server: imaplib.IMAP4) -> None:
        user, password = self._where.user, self._password
        if "AUTH=PLAIN" in server.capabilities:
            server.authenticate("PLAIN", lambda _: f"\0{user}\0{password}".encode())  # RFC 4616: UTF-8
            return
        server.login(_quoted(user), password)

    def _look(self) -> None:
        server = self._connect()
        _ok(*server.noop(), what="it does not answer")  # some tell of new mail only then
        found = _numbers(_ok(*server.uid("SEARCH", f"UID {self._first}:*"), what="it cannot search"))
        # "n:*" always holds the last one, also when its number is lower.
        for uid in sorted(uid for uid in found if uid >= self._first and uid not in self._seen)[:_MAX_MESSAGES]:
            if len(self._seen) >= _MAX_MESSAGES:
                return
            octets = _fetched(_ok(*server.uid("FETCH", str(uid), f"(BODY.PEEK[]<0.{MAX_MESSAGE}>)"), what="it cannot fetch"))
            self._seen.add(uid)
            arrival = read_message(octets, self._clock.now(), self._run)
            if arrival.token:
                self._arrivals.append(arrival)

    def _cut(self) -> None:
        """The time of a look is over: whoever waits for the socket wakes up."""
        if (server := self._server) is not None:
            server.cut()

    def _drop(self, *, politely: bool = True) -> None:
        server, self._server = self._server, None
        if server is not None:
            with suppress(OSError, imaplib.IMAP4.error):
                if politely:
                    server.logout()
            with suppress(OSError):
                server.shutdown()


class _Connection(imaplib.IMAP4):
    """imaplib with an end: it takes literals of whatever size a server announces, and its time limit is of each octet alone.

    ``context``: for TLS; None: in the clear. `cut` ends from another thread whatever waits, the handshake too.
    """

    def __init__(self, where: Mailbox, context: ssl.SSLContext | None, patience: float, limit: float) -> None:
        self._context = context
        self._patience = patience
        self._watch = threading.Timer(limit, self.cut)
        self._watch.daemon = True
        try:
            super().__init__(where.host, where.port)
        finally:
            self._watch.cancel()

    def open(self, host: str = "", port: int = _IMAPS, timeout: float | None = None) -> None:  # noqa: ARG002 - imaplib's signature
        plain = socket.create_connection((host, port), self._patience)
        if self._context is None:
            self.sock = plain
        else:
            self.sock = self._context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self._watch.start()
        self._stream = self.sock.makefile("rb")
        if isinstance(self.sock, ssl.SSLSocket):
            self._shake_hands(self.sock)

    def _shake_hands(self, sock: ssl.SSLSocket) -> None:
        try:
            sock.do_handshake()
        except OSError:
            self.shutdown()
            raise

    def read(self, size: int) -> bytes:
        if size > _MAX_LITERAL:
            raise self.abort(f"it announces {size} octets, where {MAX_MESSAGE} were asked for")
        return self._stream.read(size)

    def readline(self) -> bytes:
        line = self._stream.readline(_MAX_LINE + 1)
        if len(line) > _MAX_LINE:
            raise self.abort(f"a line has more than {_MAX_LINE} octets")
        return line

    def send(self, data: Any) -> None:
        self.sock.sendall(data)

    def shutdown(self) -> None:
        self.cut()
        self._stream.close()
        self.sock.close()

    def cut(self) -> None:
        """Whoever waits for the socket wakes up."""
        with suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _ok(kind: str, data: list[Any], *, what: str) -> list[Any]:
    if kind != "OK":
        raise imaplib.IMAP4.error(what)
    return data


def _next_uid(server: imaplib.IMAP4) -> int:
    """What the next message will have (RFC 3501 section 6.3.1); servers need not say."""
    said = _numbers(server.response("UIDNEXT")[1] or [])
    if said:
        return said[0]
    return max(_numbers(_ok(*server.uid("SEARCH", "ALL"), what="it cannot search")), default=0) + 1


def _numbers(data: list[Any]) -> list[int]:
    words = b" ".join(part for part in data if isinstance(part, bytes)).split()
    return [int(word) for word in words if word.isdigit() and len(word) <= 10]


def _fetched(data: list[Any]) -> bytes:
    return next((part[1] for part in data if isinstance(part, tuple) and len(part) > 1 and isinstance(part[1], bytes)), b"")


def _mistake(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, OSError) and error.strerror:
        return printable(error.strerror, 200)
    text = error.args[0] if error.args and isinstance(error.args[0], (str, bytes)) else str(error) or type(error).__name__
    return printable(text, 200)
