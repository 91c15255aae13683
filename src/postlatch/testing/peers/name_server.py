"""An authoritative name server over UDP and TCP, from a zone as `FakeResolver` has it.

The packets are dnspython's; what is wrong with an answer on its way is the business of `fault_proxy.DnsFaultProxy`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from typing import Any, Self

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

_TTL = 1
_UDP_MOST = 1232
_MAX_ALIASES = 10
_SOA = "ns.test. root.test. 1 3600 600 86400 1"


class NameServer:
    """``with NameServer({"example.org": {"MX": ["10 mx.example.org."]}}) as server``: it answers on ``server.port``.

    An absent name is NXDOMAIN, an absent type is no data; the texts SERVFAIL and REFUSED are that answer, TIMEOUT is none; a
    CNAME is followed. The ``zone`` may be changed while it runs. ``questions`` lists what was asked: names (no final dot) and
    types.
    """

    def __init__(self, zone: Mapping[str, Mapping[str, Any]], address: str = "127.0.0.1", port: int = 0) -> None:
        self.zone: dict[str, Mapping[str, Any]] = dict(zone)
        self.questions: list[tuple[str, str]] = []
        self._udp, self._tcp = _bound(address, port)
        self._udp.settimeout(0.5)  # the only way to end a thread that waits for a datagram
        self.port = int(self._tcp.getsockname()[1])
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        with contextlib.suppress(OSError):
            self._tcp.shutdown(socket.SHUT_RDWR)
        self._tcp.close()

    def _serve_udp(self) -> None:
        with self._udp:
            while not self._ended.is_set():
                with contextlib.suppress(OSError):
                    question, client = self._udp.recvfrom(65535)
                    answer = self._answer(question, _UDP_MOST)
                    if answer:
                        self._udp.sendto(answer, client)

    def _serve_tcp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._tcp.accept()
                threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def _serve_connection(self, connection: socket.socket) -> None:
        connection.settimeout(10)
        with contextlib.suppress(OSError), connection, connection.makefile("rwb") as stream:
            while head := stream.read(2):
                answer = self._answer(stream.read(int.from_bytes(head, "big")), 65535)
                stream.write(len(answer).to_bytes(2, "big") + answer)
                stream.flush()

    def _answer(self, data: bytes, most: int) -> bytes:
        try:
            query = dns.message.from_wire(data)
        except (dns.exception.DNSException, ValueError):
            return b""
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        self.questions.append((_plain(question.name), kind))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA | dns.flags.AA
        if not self._fill(response, question.name, kind):
            return b""
        packet = response.to_wire(max_size=65535)
        if len(packet) > most:
            response.answer.clear()
            response.flags |= dns.flags.TC
            packet = response.to_wire()
        return packet

    def _fill(self, response: dns.message.Message, name: dns.name.Name, kind: str) -> bool:
        """Put the answer in; False if there is to be none."""
        for _ in range(_MAX_ALIASES):
            types = self.zone.get(_plain(name))
            found: Any = (types or {}).get(kind)
            alias: Any = (types or {}).get("CNAME")
            if types is None:
                response.set_rcode(dns.rcode.NXDOMAIN)
            if found is None and alias is not None:
                response.answer.append(dns.rrset.from_text(name, _TTL, "IN", "CNAME", alias))
                name = dns.name.from_text(alias)
                continue
            if isinstance(found, str):
                if found != "TIMEOUT":
                    response.set_rcode(dns.rcode.from_text(found))
                return found != "TIMEOUT"
            if found:
                response.answer.append(dns.rrset.from_text(name, _TTL, "IN", kind, *found))
            else:
                response.authority.append(dns.rrset.from_text("test.", _TTL, "IN", "SOA", _SOA))
            return True
        return True


def _plain(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _bound(address: str, port: int) -> tuple[socket.socket, socket.socket]:
    """One port for both protocols: what is free for one need not be free for the other."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(50):
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.bind((address, port))
        try:
            return udp, socket.create_server((address, udp.getsockname()[1]), family=family)
        except OSError:
            udp.close()
    raise OSError("no port is free for UDP and TCP")
