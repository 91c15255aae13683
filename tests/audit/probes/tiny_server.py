"""A mail server of a few lines whose faults are chosen: what the probes must find, each alone."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from probe_support import CANARY_DOMAIN, LOCAL_DOMAIN, MAILBOX

END = b"\r\n.\r\n"
_HEADER = b"X-Postlatch-Audit: "
_V2_BEGINS = b"\r\n\r\n\0\r\nQUIT\n"
_V2_TCP4 = 28  # octets of a header of version 2 for IPv4


@dataclass
class Faults:
    """What is wrong with it. Nothing is by default."""

    ends: tuple[bytes, ...] = (END,)
    quiet_split: bytes = b""  # hands on two messages where this stands, and answers once
    keeps_buffer: bool = False  # over STARTTLS
    keeps_mail: bool = False  # over STARTTLS
    proxy: bool = False
    drops_early: bool = False
    believes: tuple[str, ...] = ()  # XCLIENT, XFORWARD
    trusted_relays: bool = False  # whom it believes to be 127.0.0.1
    passwords: str = ""  # "any", "anonymous"
    offers: tuple[str, ...] = ()
    says_yes: bool = False
    relays_after_cancel: bool = False
    relays_after_legal: bool = False
    replies: dict[str, str] = field(default_factory=dict)
    sender_refused: bool = False
    lmtp: bool = False


class TinyServer:
    """``with TinyServer(Faults(), certificate) as server: server.port``; ``messages`` are (recipients, octets)."""

    def __init__(
        self, faults: Faults, certificate: tuple[Path, Path] | None = None, session: type[Session] | None = None
    ) -> None:
        self.faults = faults
        self.messages: list[tuple[list[str], bytes]] = []
        self.commands: list[str] = []
        self.context: ssl.SSLContext | None = None
        if certificate is not None:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*certificate)
        self._listening = Listening((session or Session).run_for(self))
        self.port = self._listening.port

    def tokens(self) -> list[str]:
        """Of the messages, as a mailbox's reader finds them."""
        return [body.partition(_HEADER)[2].partition(b"\r\n")[0].decode("latin-1") for _, body in self.messages]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()


class Listening:
    """Runs ``serve`` with each connection, in a thread of its own."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._socket.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            sock.settimeout(20)
            self._open.append(sock)
            threading.Thread(target=self._one, args=(sock,), daemon=True).start()

    def _one(self, sock: socket.socket) -> None:
        with suppress(OSError, ValueError):
            self._serve(sock)
        with suppress(OSError):
            sock.close()

    def close(self) -> None:
        self._socket.close()
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class Session:
    """One conversation; a test may give it one more fault."""

    def __init__(self, server: TinyServer, sock: socket.socket) -> None:
        self.server, self.faults, self.sock = server, server.faults, sock
        self.buffer = b""
        self.trusted = self.legal = self.encrypted = False
        self.sender: str | None = None
        self.recipients: list[str] = []

    @classmethod
    def run_for(cls, server: TinyServer) -> Callable[[socket.socket], None]:
        return lambda sock: cls(server, sock).run()

    def run(self) -> None:
        try:
            self.converse()
        finally:
            self.sock.close()

    def converse(self) -> None:
        if self.faults.proxy:
            self._read_proxy()
        if self.faults.drops_early:
            self.sock.settimeout(0.1)
            with suppress(TimeoutError):
                self.sock.recv(4096)
            self.sock.settimeout(20)
        self.say("220 mx.local.test ESMTP tiny")
        going = True
        while going:
            line = self.line()
            self.server.commands.append(line)
            going = self.command(line)

    def _read_proxy(self) -> None:
        while len(self.buffer) < len(_V2_BEGINS):
            self.more()
        if self.buffer.startswith(_V2_BEGINS):
            while len(self.buffer) < _V2_TCP4:
                self.more()
            self.trusted = self.buffer[16:20] == b"\x7f\0\0\1"
            self.buffer = self.buffer[_V2_TCP4:]
        elif self.buffer.startswith(b"PROXY TCP4 "):
            self.trusted = self.line().startswith("PROXY TCP4 127.0.0.1 ")
        else:
            raise ValueError("no header")

    def more(self) -> None:
        if not (octets := self.sock.recv(65536)):
            raise OSError("closed")
        self.buffer += octets

    def line(self) -> str:
        while b"\n" not in self.buffer:
            self.more()
        raw, _, self.buffer = self.buffer.partition(b"\n")
        return raw.rstrip(b"\r").decode("latin-1")

    def say(self, *lines: str) -> None:
        *first, last = lines
        text = "".join(f"{line[:3]}-{line[4:]}\r\n" for line in first) + f"{last}\r\n"
        self.sock.sendall(text.encode("latin-1"))

    def command(self, line: str) -> bool:
        verb = line.upper()
        word = verb.partition(" ")[0]
        if (chosen := self.faults.replies.get(word)) is not None:
            self.say(chosen)
        elif word in {"EHLO", "HELO", "LHLO"}:
            self.greet(word)
        elif verb.startswith("MAIL FROM:"):
            self.mail(line)
        elif verb.startswith("RCPT TO:"):
            self.rcpt(line)
        elif word == "DATA":
            self.data()
        elif word == "STARTTLS" and self.server.context is not None and not self.encrypted:
            self.starttls()
        elif word == "AUTH":
            self.auth(verb)
        elif word in self.faults.believes:
            self.trusted |= "ADDR=127.0.0.1" in verb
            self.say("220 mx.local.test" if word == "XCLIENT" else "250 ok")
        elif word == "RSET":
            self.sender, self.recipients = None, []
            self.say("250 ok")
        elif word == "QUIT":
            self.say("221 bye")
            return False
        elif word == "NOOP" or self.faults.says_yes:
            self.say("250 ok")
        else:
            self.say("500 5.5.2 unrecognised")
        return True

    def greet(self, word: str) -> None:
        if self.faults.lmtp != (word == "LHLO"):
            self.say("500 5.5.1 no")
            return
        offers = [f"250 {offer}" for offer in self.faults.offers]
        if self.server.context is not None and not self.encrypted:
            offers.append("250 STARTTLS")
        self.say("250 mx.local.test", *offers)

    def mail(self, line: str) -> None:
        if self.sender is not None:
            self.say("503 5.5.1 nested")
        elif self.faults.sender_refused and f"@{LOCAL_DOMAIN}>" in line:
            self.say("550 5.7.1 not yours")
        else:
            self.sender, self.recipients = line, []
            self.say("250 2.1.0 ok")

    def rcpt(self, line: str) -> None:
        address = line.partition("<")[2].partition(">")[0].lower()
        ours = address in {f"{MAILBOX}@{LOCAL_DOMAIN}", "postmaster"}
        relays = self.trusted and self.faults.trusted_relays
        relays |= bool(self.recipients) and self.faults.relays_after_legal
        if self.sender is None:
            self.say("503 5.5.1 MAIL first")
        elif ours or relays or (self.faults.says_yes and address.endswith(f"@{CANARY_DOMAIN}")):
            self.recipients.append(address)
            self.say("250 2.1.5 ok")
        else:
            self.say("550 5.7.1 relaying denied")

    def data(self) -> None:
        if not self.recipients:
            self.say("503 5.5.1 no valid recipients")
            return
        self.say("354 go on")
        body = self.body()
        parts = body.split(self.faults.quiet_split, 1) if self.faults.quiet_split else [body]
        for part in parts:
            self.server.messages.append((self.recipients, part))
        self.sender, self.recipients = None, []
        self.say("250 2.0.0 queued")

    def body(self) -> bytes:
        """Up to the first of the ends."""
        text = b"\r\n" + self.buffer
        while not (found := [(place, end) for end in self.faults.ends if (place := text.find(end)) >= 0]):
            self.buffer = b""
            self.more()
            text += self.buffer
        place, end = min(found)
        self.buffer = text[place + len(end) :]
        return text[2:place]

    def starttls(self) -> None:
        left, self.buffer = self.buffer, b""
        self.say("220 go")
        assert self.server.context is not None
        self.sock = self.server.context.wrap_socket(self.sock, server_side=True)
        self.encrypted = True
        if self.faults.keeps_buffer:
            self.buffer = left
        if not self.faults.keeps_mail:
            self.sender, self.recipients = None, []

    def auth(self, verb: str) -> None:
        _, mechanism, response = (*verb.split(" "), "", "")[:3]
        offered = " ".join(self.faults.offers)
        if mechanism not in offered or "AUTH" not in offered:
            self.say("503 5.5.1 no logins here")
            return
        if not response:
            self.say("334 ")
            response = self.line()
        if response == "*":
            self.trusted |= self.faults.relays_after_cancel
            self.say("501 5.7.0 broken off")
        elif self.faults.passwords == ("anonymous" if mechanism == "ANONYMOUS" else "any"):
            self.trusted = True
            self.say("235 2.7.0 welcome")
        else:
            self.say("535 5.7.8 no")
