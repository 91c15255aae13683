"""Hands one message to the relay over its Unix socket, and reads what becomes of each recipient."""

from __future__ import annotations

import os
import socket

from postlatch.cli.sendmail_options import DATAERR, NOPERM, NOUSER, OK, TEMPFAIL, UNAVAILABLE

_LONGEST = 100  # octets of a path that is given to the kernel as it is; it takes 108
_MOST = 65_536  # octets of one reply
_PIECE = 262_144
TIMEOUT = 600.0  # seconds: as long as a client waits for the reply to a final dot (RFC 5321 section 4.5.3.2.6)


class Failed(Exception):
    """It was not taken. ``status`` is the exit status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Reply:
    """One reply: its code, its enhanced code if it has one, and its text on one line."""

    def __init__(self, lines: list[bytes]) -> None:
        self.code = int(lines[-1][:3])
        self.lines = [line[4:].decode("utf-8", "replace") for line in lines]
        self.text = "".join(c if c.isprintable() else "?" for c in " ".join(self.lines))[:500]
        word = self.text.split(" ", 1)[0]
        self.enhanced = word if word.count(".") == 2 and word.replace(".", "").isdigit() else ""

    def status(self) -> int:
        """As an exit status of <sysexits.h>."""
        if self.code < 400:
            return OK
        if self.code < 500:
            return TEMPFAIL
        if self.enhanced == "5.1.1":
            return NOUSER
        if self.code == 530 or self.enhanced in {"5.7.0", "5.7.1"}:
            return NOPERM
        return DATAERR if self.code == 501 or self.enhanced.startswith(("5.6.", "5.1.3", "5.1.7")) else UNAVAILABLE


def connect(path: str) -> socket.socket:
    """The relay's end; Failed says where it was looked for."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(TIMEOUT)
    directory = -1
    try:
        if len(os.fsencode(path)) > _LONGEST:
            directory = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)  # noqa: PTH120 (pathlib takes too long)
            path = f"/proc/self/fd/{directory}/{os.path.basename(path)}"  # noqa: PTH119
        sock.connect(path)
    except OSError as error:
        sock.close()
        why = f"the relay does not answer at {path} ({error.strerror or error}): nothing was sent, try again later"
        raise Failed(TEMPFAIL, why) from None
    finally:
        if directory >= 0:
            os.close(directory)
    return sock


class Session:
    """One conversation. The other end is our own relay: what it does not say as it should is a temporary failure."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self._sock = sock
        self._buffer = b""
        self._expect(self._read(), "the relay does not take this user's mail")
        self._expect(self.ask(f"EHLO {name}"), "the relay does not go on")

    def ask(self, line: str) -> Reply:
        """Send one command and read its reply."""
        if "\r" in line or "\n" in line or "\0" in line:
            raise Failed(DATAERR, "an address or a name holds a line end")
        self._send(line.encode("utf-8", "replace") + b"\r\n")
        return self._read()

    def send(self, sender: str, recipients: list[str], message: bytes, mail: str, rcpt: str) -> tuple[Reply, list[Reply]]:
        """One message; the reply to it, and those to its recipients. ``mail`` and ``rcpt`` are ESMTP parameters."""
        utf8 = "" if (sender + "".join(recipients)).isascii() else " SMTPUTF8"
        eight = "" if message.isascii() else " BODY=8BITMIME"
        self._expect(self.ask(f"MAIL FROM:<{sender}> SIZE={len(message)}{eight}{utf8}{mail}"), f"<{sender}>")
        answers = [self.ask(f"RCPT TO:<{recipient}>{rcpt}") for recipient in recipients]
        taken = next((answer for answer in answers if answer.code < 300), None)
        if taken is None:
            return answers[0], answers
        ready = self.ask("DATA")
        if ready.code != 354:
            self._expect(ready, "the relay does not take the message", least=354)
        from postlatch.smtp.client_body import BodyWriter  # noqa: PLC0415

        writer = BodyWriter()
        for at in range(0, len(message), _PIECE):
            self._send(writer.feed(message[at : at + _PIECE]))
        self._send(writer.finish())
        return self._read(), answers

    def quit(self) -> None:
        """Take leave; what is said to that does not matter."""
        try:
            self._sock.sendall(b"QUIT\r\n")
        except OSError:
            return

    def _expect(self, reply: Reply, what: str, least: int = 0) -> None:
        if reply.code >= 400 or reply.code < least:
            raise Failed(reply.status() or TEMPFAIL, f"{what}: {reply.code} {reply.text}")

    def _send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise Failed(TEMPFAIL, f"the connection to the relay broke ({error.strerror or error}): try again later") from None

    def _read(self) -> Reply:
        lines: list[bytes] = []
        while True:
            line, found, rest = self._buffer.partition(b"\r\n")
            if found:
                self._buffer = rest
                lines.append(line)
                if not line[:3].isdigit():
                    raise Failed(TEMPFAIL, "this socket is not the relay's: it does not speak SMTP")
                if line[3:4] != b"-":
                    return Reply(lines)
                continue
            if len(self._buffer) > _MOST:
                raise Failed(TEMPFAIL, "the relay's reply is too long")
            self._more()

    def _more(self) -> None:
        try:
            data = self._sock.recv(_MOST)
        except OSError as error:
            raise Failed(TEMPFAIL, f"the relay does not answer ({error.strerror or error}): try again later") from None
        if not data:
            raise Failed(TEMPFAIL, "the relay closed the connection: the message was not taken, try again later")
        self._buffer += data


def pump(sock: socket.socket, source: int, target: int) -> None:
    """``-bs``: this program's standard input and output become the conversation, until either side ends it."""
    import select  # noqa: PLC0415

    sock.settimeout(None)
    reading = [sock.fileno(), source]
    while True:
        for ready in select.select(reading, [], [])[0]:
            data = os.read(ready, _MOST)
            if ready == source:
                if data:
                    sock.sendall(data)
                else:
                    sock.shutdown(socket.SHUT_WR)
                    reading.remove(source)
            elif data:
                while data:
                    data = data[os.write(target, data) :]
            else:
                return
