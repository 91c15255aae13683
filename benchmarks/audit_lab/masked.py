"""Servers that do not see, or do not yet know, who asks: one behind a proxy that hides its clients, one that greylists."""

from __future__ import annotations

import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from audit_lab.postfixes import postfix
from audit_lab.values import Absent, Lab, Running, Server
from postlatch.testing.peers.network import Network
from postlatch.testing.peers.ports import end, listens, wait_until

_US, _PUBLIC, _GATEWAY, _CONTAINER = "198.51.100.7", "198.51.100.25", "172.17.0.1", "172.17.0.2"
# As a container engine's own proxy does: the server sees the gateway, whoever connects.
_PROXY: Final = """\
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen mail
  bind {public}:25
  server inside {container}:25
listen out
  bind {gateway}:{canary}
  server outside {us}:{canary}
"""


@contextmanager
def _behind_a_proxy(lab: Lab) -> Iterator[Running]:
    """Three networks: the auditor's, the machine's, the container's."""
    with ExitStack() as stack:
        ours, machine, container = (stack.enter_context(Network()) for _ in range(3))
        machine.join(ours, [f"{_PUBLIC}/24"], [f"{_US}/24"])
        container.join(machine, [f"{_CONTAINER}/16"], [f"{_GATEWAY}/16"])
        settings = {"inet_interfaces": f"127.0.0.1, {_CONTAINER}", "mynetworks": "172.17.0.0/16"}
        settings["relayhost"] = f"[{_GATEWAY}]:{lab.canary}"
        stack.enter_context(container.inside())  # to the end: Postfix must also be stopped from there
        stack.enter_context(postfix(lab, settings, f"{_CONTAINER}:25 inet n - n - - smtpd\n"))
        config = lab.folder / "haproxy.cfg"
        config.write_text(_PROXY.format(public=_PUBLIC, container=_CONTAINER, gateway=_GATEWAY, us=_US, canary=lab.canary))
        with machine.inside():
            stack.callback(end, _haproxy(str(config)))
            wait_until(lambda: listens(25, _PUBLIC), 20, "the proxy")
        yield Running(25, _PUBLIC, source=_US, canary=_US, network=ours)


def _haproxy(config: str) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(["haproxy", "-db", "-f", config], stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        raise Absent("Debian's haproxy is not installed") from None


class _Later(socketserver.StreamRequestHandler):
    """Postfix's policy protocol (SMTPD_POLICY_README): attributes, an empty line; an action, an empty line."""

    def handle(self) -> None:
        for line in self.rfile:
            if not line.strip():
                self.wfile.write(b"action=defer_if_permit 4.2.0 Greylisted, see you in five minutes\n\n")
                self.wfile.flush()


class _Policy(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@contextmanager
def _greylisting(lab: Lab) -> Iterator[Running]:
    """It refuses strangers' relaying for good, and defers the rest from whoever it does not know."""
    with _Policy(("127.0.0.1", 0), _Later) as policy:
        threading.Thread(target=policy.serve_forever, daemon=True).start()
        port = policy.server_address[1]
        settings = {"smtpd_recipient_restrictions": f"permit_mynetworks, check_policy_service inet:127.0.0.1:{port}"}
        try:
            with postfix(lab, settings) as running:
                yield running
        finally:
            policy.shutdown()


MASKED: Final = (
    Server("masked source", ("open",), "a proxy hides strangers behind an address in mynetworks", _behind_a_proxy),
    Server("greylister postfix", ("inconclusive",), "closed as it seems, but it defers its own mailbox too", _greylisting),
)
