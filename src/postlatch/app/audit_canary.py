"""Where relayed mail would arrive: chooses the canary of an audit, and runs one for an audit on another machine."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from postlatch.app.answer import GOOD, UNUSABLE
from postlatch.app.audit_options import CANARY_DOMAIN, OTHER_DOMAIN
from postlatch.app.clock import SystemClock
from postlatch.audit.canary.imap import ImapReader, mailbox
from postlatch.audit.canary.maildir import MaildirReader
from postlatch.audit.canary.receiver import Receiver
from postlatch.audit.canary.record import RecordReader, as_line
from postlatch.audit.canary.values import Arrival, Canary, CanaryError
from postlatch.audit.printable import printable
from postlatch.model.clock import Clock

_LISTEN: Final = "listen:"
_PLACE: Final = "HOST:PORT, as in 127.0.0.1:2525 or [::1]:2525"
_READERS: Final = ("canary_maildir", "canary_imap", "canary_record")
_MAX_PASSWORD: Final = 1024  # octets
_MAX_RECORD: Final = 67_108_864  # octets: strangers can make it grow


class Canaries(NamedTuple):
    """``canary``: where relayed mail would arrive, None: nowhere that we see. ``mailbox`` reads the target's known mailbox.

    ``user``: the local part of the canary's address.
    """

    canary: Canary | None
    mailbox: Canary | None
    user: str


NOBODY: Final = Canaries(None, None, "canary")


@asynccontextmanager
async def canaries(spec: str, arguments: dict[str, Any], run: str, clock: Clock) -> AsyncIterator[Canaries]:
    """``listen:HOST:PORT``, an address whose mailbox the arguments say how to read, or nothing. CanaryError if it cannot be.

    Only what carries a token of ``run`` is looked at. Of an address that nobody reads nothing would ever be seen: then there is
    no canary.
    """
    async with AsyncExitStack() as stack:
        canary = await _canary(spec, arguments, run, clock, stack)
        known = await _reader(arguments, ("local_maildir", "local_imap"), run, clock, stack)
        user = "canary" if not spec or spec.startswith(_LISTEN) else spec.rpartition("@")[0]
        yield Canaries(canary, known, user)


async def _canary(spec: str, arguments: dict[str, Any], run: str, clock: Clock, stack: AsyncExitStack) -> Canary | None:
    named = [name for name in _READERS if arguments.get(name)]
    if not spec and named:
        raise CanaryError(f"{_flag(named[0])} reads a mailbox: give its address, --canary ADDRESS")
    if not spec.startswith(_LISTEN):
        return await _reader(arguments, _READERS, run, clock, stack)
    if named:
        raise CanaryError(f"{_flag(named[0])} does not go with --canary listen:, which needs no mailbox: give one of both")
    host, port = place(spec.removeprefix(_LISTEN))
    own = str(arguments.get("canary_domain") or CANARY_DOMAIN)
    receiver = await _listen(Receiver(clock, run=run, domains=_domains(host, (own, OTHER_DOMAIN))), host, port)
    stack.push_async_callback(receiver.stop)
    return receiver


async def _listen(receiver: Receiver, host: str, port: int) -> Receiver:
    await receiver.start(host, port)
    return receiver


def _domains(host: str, domains: tuple[str, ...]) -> tuple[str, ...]:
    """On loopback only this machine's servers reach it, and mail that they change must be seen too."""
    return () if host in {"localhost", "::1"} or host.startswith("127.") else domains


async def _reader(
    arguments: dict[str, Any], names: Iterable[str], run: str, clock: Clock, stack: AsyncExitStack
) -> Canary | None:
    """The one way to read a mailbox that was given; None if none was."""
    given = [name for name in names if arguments.get(name)]
    if not given:
        return None
    if len(given) > 1:
        raise CanaryError(f"{_flag(given[0])} and {_flag(given[1])} are two ways to read one mailbox: give one")
    value = str(arguments[given[0]])
    if given[0].endswith("maildir"):
        return MaildirReader(Path(value), run=run, since=clock.now())
    if given[0].endswith("record"):
        return RecordReader(Path(value), run=run)
    reader = ImapReader(mailbox(value), _password(arguments), run=run, clock=clock)
    stack.push_async_callback(reader.close)
    await reader.start()
    return reader


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _password(arguments: dict[str, Any]) -> str:
    path = str(arguments.get("password_file") or "")
    if not path:
        raise CanaryError("An IMAP mailbox needs its password: put it into a file, and name that with --password-file")
    try:
        with Path(path).open("rb") as file:
            octets = file.read(_MAX_PASSWORD + 1)
        password = octets.decode("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise CanaryError(f"The password file {printable(path, 200)} cannot be read: {printable(why, 200)}") from None
    if not password or not password.isprintable() or len(octets) > _MAX_PASSWORD:
        raise CanaryError(f"The password file {printable(path, 200)} must hold the password alone, in one line")
    return password


def place(text: str) -> tuple[str, int]:
    """The address and port of ``HOST:PORT``; CanaryError if it is none."""
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit() and int(port[:6]) < 65536):
        raise CanaryError(f"{printable(text, 100)} is no place to listen at: write {_PLACE}")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise CanaryError(f"{printable(text, 100)} has its IPv6 address without brackets: write {_PLACE}")
    return host.strip("[]"), int(port)


def run_canary(arguments: dict[str, Any]) -> int:
    """``postlatch audit canary``: until SIGTERM; the exit status. One line of JSON for each message of an audit."""
    try:
        return asyncio.run(_run(arguments))
    except CanaryError as error:
        _say(str(error))
        return UNUSABLE


async def _run(arguments: dict[str, Any]) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    host, port = place(str(arguments["listen"]))
    domains = [str(domain) for domain in arguments.get("domain") or ()]
    with _Teller(str(arguments.get("record") or "")) as teller:
        receiver = await _listen(Receiver(SystemClock(), domains=domains, told=teller.tell), host, port)
        _say(f"listening on {receiver.address} for {', '.join(domains) or 'any domain'}")
        await stopping.wait()
        await receiver.stop()
    return GOOD


class _Teller:
    """Writes what arrives to standard output, and to the record."""

    def __init__(self, record: str) -> None:
        self._path = record
        self._full = False
        try:
            self._file = Path(record).open("a", encoding="ascii") if record else None  # noqa: SIM115 - closed in __exit__
        except OSError as error:
            why = printable(error.strerror or str(error), 200)
            raise CanaryError(f"The record {printable(record, 200)} cannot be written: {why}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def tell(self, arrival: Arrival) -> None:
        """Mail without a token is nobody's business: it is not even counted."""
        if not arrival.token:
            return
        line = as_line(arrival)
        sys.stdout.write(line)
        sys.stdout.flush()
        if self._file is None or self._full:
            return
        if self._file.tell() + len(line) > _MAX_RECORD:
            self._full = True
            _say(f"{self._path} is full: no more is written to it. Move it away, and start anew.")
            return
        self._file.write(line)
        self._file.flush()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
