"""The ``sendmail`` command: a message from standard input to the relay, by its Unix socket. Installable as /usr/sbin/sendmail.

It holds nothing back: what the relay does not take now is said on standard error, with a status of <sysexits.h>, and is the
caller's to keep. It starts within a tenth of a second, so it imports nothing of the relay but its dot-stuffing.
"""

from __future__ import annotations

import os
import sys

from postlatch.cli.sendmail_message import Message, quoted, unix_to_wire
from postlatch.cli.sendmail_options import DATAERR, OK, TEMPFAIL, UNAVAILABLE, USAGE, USAGE_TEXT, Options, UsageError, user_name
from postlatch.cli.sendmail_options import parse as parse_options
from postlatch.cli.sendmail_wire import Failed, Reply, Session, connect, pump

TYPE_CHECKING = False  # as typing's, without loading it
if TYPE_CHECKING:
    from typing import BinaryIO

DEFAULT_SOCKET = "/run/postlatch/sendmail.sock"
CONFIG = "/etc/postlatch/postlatch.toml"
MOST = 268_435_456  # octets of a message: beyond, a program has gone wrong
_ELSEWHERE = {
    "p": "the queue is shown by `postlatch queue list`, to the relay's user and to root",
    "q": "the relay runs its queue by itself",
    "i": "aliases are in the relay's configuration: change them there and reload it",
}


def main(words: list[str] | None = None, source: BinaryIO | None = None) -> int:
    """Run the command; the exit status. ``source`` in the place of standard input."""
    program = os.path.basename(sys.argv[0])  # noqa: PTH119 (pathlib takes too long)
    try:
        options = parse_options(sys.argv[1:] if words is None else words, program)
        return _run(options, source)
    except UsageError as error:
        sys.stderr.write(f"sendmail: {error}\n{USAGE_TEXT}")
        return USAGE
    except Failed as error:
        sys.stderr.write(f"sendmail: {error}\n")
        return error.status
    except KeyboardInterrupt:
        return TEMPFAIL


def _run(options: Options, source: BinaryIO | None) -> int:
    if options.mode in _ELSEWHERE:
        sys.stderr.write(f"sendmail: {_ELSEWHERE[options.mode]}\n")
        return UNAVAILABLE if options.mode == "p" else OK
    if options.mode == "s":
        pump(connect(socket_path(options)), 0, 1)
        return OK
    if options.mode not in {"m", "a"}:
        raise UsageError(f"-b{options.mode} is not for this command: it hands in mail, and the relay does the rest")
    return _send(options, source)


def _send(options: Options, source: BinaryIO | None) -> int:
    if not options.extract and not options.recipients:
        raise UsageError("there is no recipient: name one, or let -t read them from the header")
    message = Message(unix_to_wire(_read(source or sys.stdin.buffer), ignore_dots=options.ignore_dots))
    recipients = list(dict.fromkeys([*options.recipients, *(message.recipients() if options.extract else [])]))
    if not recipients:
        raise Failed(DATAERR, "the header names no recipient in To, Cc or Bcc")
    user = user_name()
    message.without_blind()
    if options.name and not message.has(b"from"):
        message.add_first("From", f"{quoted(options.name)} <{options.sender or user}>")
    mail = (f" RET={options.ret}" if options.ret else "") + (f" ENVID={_xtext(options.envid)}" if options.envid else "")
    rcpt = f" NOTIFY={options.notify}" if options.notify else ""
    sender = user if options.sender is None else options.sender
    sock = connect(socket_path(options))
    try:
        session = Session(sock, _hello(user))
        final, answers = session.send(sender, recipients, message.octets(), mail, rcpt)
        session.quit()
    finally:
        sock.close()
    return _tell(options, recipients, answers, final)


def _tell(options: Options, recipients: list[str], answers: list[Reply], final: Reply) -> int:
    """Say what was refused. Whoever was accepted has the message, whatever became of the others."""
    worst = final.status()
    for recipient, answer in zip(recipients, answers, strict=True):
        if answer.code >= 300:
            shown = recipient if recipient.isprintable() else ascii(recipient)
            _say(options, f"{shown}: {answer.code} {answer.text}")
            worst = worst or answer.status()
    if final.code >= 300 and final not in answers:
        _say(options, f"the message was not taken: {final.code} {final.text}")
    if options.verbose and final.code < 300:
        sys.stdout.write(f"{final.text}\n")
    return worst


def _say(options: Options, text: str) -> None:
    if not options.quiet:
        sys.stderr.write(f"sendmail: {text}\n")


def _read(source: BinaryIO) -> bytes:
    data = source.read(MOST + 1)
    if len(data) > MOST:
        raise Failed(DATAERR, "the message is larger than 256 MiB")
    return data


def _hello(user: str) -> str:
    name = "".join(c for c in user if c.isascii() and (c.isalnum() or c in "-_."))
    return name[:64] or "localhost"


def _xtext(text: str) -> str:
    """RFC 3461 section 4."""
    return "".join(c if "!" <= c <= "~" and c not in "+=" else "".join(f"+{b:02X}" for b in c.encode()) for c in text)


def socket_path(options: Options) -> str:
    """Where the relay listens: as told, by the environment, by a configuration that this user may read, or the usual place."""
    told = options.socket or os.environ.get("POSTLATCH_SENDMAIL", "")
    if told:
        return told
    named = options.config or os.environ.get("POSTLATCH_CONFIG", "")
    found = _configured(named or CONFIG)
    if found is None and named and options.config:
        raise Failed(USAGE, f"{named} cannot be read or names no sendmail.socket")
    return found or DEFAULT_SOCKET


def _configured(path: str) -> str | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 (pathlib takes too long)
            text = file.read()
    except OSError:
        return None
    import tomllib  # noqa: PLC0415

    try:
        table = tomllib.loads(text.decode()).get("sendmail", {})
        socket = table.get("socket") if isinstance(table, dict) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(socket, str) or not socket:
        return None
    return os.path.join(os.path.dirname(os.path.abspath(path)), socket)  # noqa: PTH100, PTH118, PTH120


if __name__ == "__main__":
    sys.exit(main())
