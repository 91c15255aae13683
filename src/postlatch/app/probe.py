"""The self-probe: once at start, the relay tries its own listeners as a stranger would, from outside the policy's code."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from postlatch.server.listeners import bound_address

if TYPE_CHECKING:
    from postlatch.app.relay import Relay

NAME = "self-probe.invalid"  # in EHLO
_SENDER = "probe@self-probe.invalid"
_RECIPIENT = "probe@elsewhere.invalid"


class ProbeResult(NamedTuple):
    """``result`` is ``closed``, ``open`` or ``failed``; ``reply`` what the listener said to the recipient (or sender)."""

    listener: str
    address: str
    result: str
    reply: str


async def probe_all(relay: Relay) -> None:
    """Every socket of every listener, one after the other."""
    for listener in relay.settings.listeners:
        port = relay.ports[listener.name]
        for sock in relay.sockets[listener.name]:
            address = bound_address(sock)
            header = b""
            if listener.proxies:
                # As the proxy would, for a stranger of the documentation's network; where we are no proxy, nobody can ask.
                here = ip_address(reachable(address)[0])
                if not any(here in network for network in listener.proxies):
                    continue
                header = b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 25\r\n"
            starttls = port.tls is not None and not port.implicit_tls
            ask = partial(probe, listener.name, address, implicit_tls=port.implicit_tls, starttls=starttls, header=header)
            relay.judge_probe(await asyncio.to_thread(ask))


def reachable(address: str) -> tuple[str, int]:
    """Host and port at which this machine reaches a socket that is bound to ``address``."""
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host).strip("[]")  # noqa: S104  (compared, not bound)
    return host, int(port)


def probe(
    listener: str, address: str, *, implicit_tls: bool, starttls: bool, timeout: float = 10, header: bytes = b""
) -> ProbeResult:
    """Ask a listener to relay for a stranger. Blocking: run it in a thread. ``header`` goes before everything else."""
    host, port = reachable(address)
    try:
        code, text = _ask(host, port, implicit_tls=implicit_tls, starttls=starttls, timeout=timeout, header=header)
    except (OSError, smtplib.SMTPException) as error:
        return ProbeResult(listener, address, "failed", f"{type(error).__name__}: {error}"[:200])
    reply = f"{code} {text.decode('ascii', 'replace')}".replace("\n", " ")[:200]
    return ProbeResult(listener, address, "open" if 200 <= code < 300 else "closed", reply)


class _Plain(smtplib.SMTP):
    header = b""
    _host: str  # smtplib's own: the name for TLS

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # what smtplib has for its subclasses
        return after(socket.create_connection((host, port), timeout), self.header)


class _Secured(smtplib.SMTP_SSL):
    header = b""
    _host: str  # smtplib's own: the name for TLS

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        return self.context.wrap_socket(after(socket.create_connection((host, port), timeout), self.header))


def after(sock: socket.socket, header: bytes) -> socket.socket:
    """The connection, behind a PROXY header."""
    sock.sendall(header)
    return sock


def session(host: str, port: int, *, implicit_tls: bool, timeout: float, header: bytes = b"") -> smtplib.SMTP:
    """A session behind the greeting. It does not check our certificate: a stranger would not either."""
    made: _Plain | _Secured
    if implicit_tls:
        made = _Secured(local_hostname=NAME, timeout=timeout, context=_trusting())
    else:
        made = _Plain(local_hostname=NAME, timeout=timeout)
    made.header, made._host = header, host
    code, text = made.connect(host, port)
    if code != 220:
        made.close()
        raise smtplib.SMTPConnectError(code, text)
    return made


def _trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _ask(host: str, port: int, *, implicit_tls: bool, starttls: bool, timeout: float, header: bytes) -> tuple[int, bytes]:
    with session(host, port, implicit_tls=implicit_tls, timeout=timeout, header=header) as client:
        client.ehlo()
        if starttls:
            client.starttls(context=_trusting())
            client.ehlo()
        code, text = client.docmd("MAIL", f"FROM:<{_SENDER}>")
        if 200 <= code < 300:
            code, text = client.docmd("RCPT", f"TO:<{_RECIPIENT}>")
        return code, text
