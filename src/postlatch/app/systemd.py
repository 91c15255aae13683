"""sd_notify(3) without a library: one datagram."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Tell systemd, if it listens; ``state`` is like ``READY=1``."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(state.encode(), address)
        except OSError:
            return  # systemd has gone; the mail matters more
