"""A relay behind something: clients outside, an edge between, and the relay inside, each in a network of its own.

Outside is 198.51.100.0/24 with clients .10 to .19 and the edge .1; inside is 10.9.0.0/24 with the edge .1 and the relay
.25. The edge masquerades what it forwards, and runs the test's userland proxy and HAProxy.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import smtplib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from case_support import tool
from running_support import untrusting

from postlatch.testing.peers.network import Network, NetworkUnavailable
from postlatch.testing.peers.ports import end, listens, wait_until

RELAY, EDGE, EDGE_OUTSIDE = "10.9.0.25", "10.9.0.1", "198.51.100.1"
CLIENTS = tuple(f"198.51.100.{number}" for number in range(10, 20))
_NAT = """\
table ip nat {
  chain postrouting { type nat hook postrouting priority srcnat; oifname "cable1" masquerade; }
}
"""


class MaskedNetwork:
    """The three networks. ``inside`` is where the relay is started; ``session`` is a client outside."""

    def __init__(self) -> None:
        with contextlib.ExitStack() as stack:
            self.outside, self.edge, self.inside = (stack.enter_context(Network()) for _ in range(3))
            self.edge.join(self.outside, [f"{EDGE_OUTSIDE}/24"], [f"{address}/24" for address in CLIENTS])
            self.inside.join(self.edge, [f"{RELAY}/24"], [f"{EDGE}/24"])
            self._closing = stack.pop_all()
        self._nat()

    def _nat(self) -> None:
        with self.edge.inside():
            Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
            _run("nft", "-f", "-", stdin=_NAT)
        with self.outside.inside():
            _run("ip", "route", "add", "10.9.0.0/24", "via", EDGE_OUTSIDE)

    def dial(self, host: str, port: int, source: str = CLIENTS[0], network: Network | None = None) -> socket.socket:
        """A connection of a client, by default of one outside."""
        with (network or self.outside).inside():
            return socket.create_connection((host, port), timeout=10, source_address=(source, 0) if source else None)

    def session(self, host: str, port: int, helo: str, source: str = CLIENTS[0], *, tls: bool = False) -> smtplib.SMTP:
        """The same behind EHLO."""
        sock = self.dial(host, port, source)
        session = smtplib.SMTP(timeout=10, local_hostname=helo)
        session.sock = untrusting().wrap_socket(sock) if tls else sock
        assert session.getreply()[0] == 220
        session.ehlo()
        return session

    def close(self) -> None:
        """Let the networks go."""
        self._closing.close()


@contextlib.contextmanager
def masked_network() -> Iterator[MaskedNetwork]:
    """The networks, or a skip where none can be made."""
    try:
        network = MaskedNetwork()
    except NetworkUnavailable as error:
        pytest.skip(str(error))
    try:
        yield network
    finally:
        network.close()


def _run(*command: str, stdin: str = "") -> None:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, env={"PATH": path})
    if done.returncode:
        raise NetworkUnavailable(f"{' '.join(command)}: {done.stderr.strip()}")


class UserlandProxy:
    """What Docker's userland proxy or socat does: it accepts at the edge and connects inside, in its own name."""

    def __init__(self, network: MaskedNetwork, port: int) -> None:
        self._network, self._port = network, port
        with network.edge.inside():
            self._server = socket.create_server((EDGE_OUTSIDE, 0), backlog=64)
        self.port = int(self._server.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._over = threading.Event()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._server, selectors.EVENT_READ)
            while not self._over.is_set():
                for key, _ in selector.select(0.05):
                    self._pass(selector, key)

    def _pass(self, selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
        if key.fileobj is self._server:
            near = self._server.accept()[0]
            with self._network.edge.inside():
                far = socket.create_connection((RELAY, self._port), timeout=5)
            selector.register(near, selectors.EVENT_READ, far)
            selector.register(far, selectors.EVENT_READ, near)
            return
        here, there = key.fileobj, key.data
        assert isinstance(here, socket.socket)
        if here.fileno() < 0:
            return
        try:
            data = here.recv(65_536)
            there.sendall(data)
        except OSError:
            data = b""
        if not data:
            for sock in (here, there):
                if sock.fileno() >= 0:
                    selector.unregister(sock)
                    sock.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(5)
        self._server.close()


class HaProxy:
    """The real one, at the edge. ``doors`` are port outside → (port inside, the words behind the server's address)."""

    def __init__(self, network: MaskedNetwork, folder: Path, doors: dict[int, tuple[int, str]]) -> None:
        lines = ["global", "  maxconn 500", "defaults", "  mode tcp", "  timeout connect 3s", "  timeout client 30s"]
        lines += ["  timeout server 30s"]
        for door, (port, words) in doors.items():
            lines += [f"listen door{door}", f"  bind {EDGE_OUTSIDE}:{door}", f"  server relay {RELAY}:{port} {words}"]
        config = folder / "haproxy.cfg"
        config.write_text("\n".join(lines) + "\n")
        self._network, self._doors = network, doors
        self._log = folder / "haproxy.log"
        self._command = [tool("haproxy"), "-db", "-f", str(config)]

    def __enter__(self) -> Self:
        with self._network.edge.inside(), self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
            first = next(iter(self._doors))
            wait_until(lambda: listens(first, EDGE_OUTSIDE), 10, "HAProxy")
        return self

    def __exit__(self, *_: object) -> None:
        end(self._process)
