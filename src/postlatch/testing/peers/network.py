"""Networks of a test's own: Linux network namespaces without a name, so that a test that dies leaves nothing behind.

Nothing leaves them, so a test may use addresses of the public internet and port 25. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_OWN = Path("/proc/thread-self/ns/net")


class NetworkUnavailable(Exception):
    """This process may not make networks, or the kernel has no pairs of virtual interfaces."""


class Network:
    """A network namespace with its loopback up. It lasts until ``close`` and the end of the processes within."""

    def __init__(self) -> None:
        with _staying():
            _call("unshare", _CLONE_NEWNET)
            _ip("link", "set", "lo", "up")
            self._descriptor = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the network meanwhile: the sockets, processes and threads that it makes belong there for good."""
        with _staying():
            _call("setns", self._descriptor, _CLONE_NEWNET)
            yield

    def join(self, other: Network, here: list[str], there: list[str]) -> None:
        """Connect the two by a cable. ``here`` and ``there`` are the addresses at its ends, such as ``11.22.33.1/24``."""
        path = f"/proc/{os.getpid()}/fd/{other._descriptor}"
        with self.inside():
            _ip("link", "add", "name", "cable0", "type", "veth", "peer", "name", "cable1")
            _ip("link", "set", "cable1", "netns", path)
            _give("cable0", here)
        with other.inside():
            _give("cable1", there)

    def close(self) -> None:
        """Let it go."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _staying() -> Iterator[None]:
    """Whatever happens, this thread comes back to the network that it is in now."""
    descriptor = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _call("setns", descriptor, _CLONE_NEWNET)
        os.close(descriptor)


def _call(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*arguments) != 0:
        raise NetworkUnavailable(f"{name}: {os.strerror(ctypes.get_errno())}")


def _give(interface: str, addresses: list[str]) -> None:
    _ip("link", "set", interface, "up")
    for address in addresses:
        _ip("address", "add", address, "dev", interface, *(["nodad"] if ":" in address else []))


def _ip(*arguments: str) -> None:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False, env={"PATH": path})
    except FileNotFoundError:
        raise NetworkUnavailable("the program ip (iproute2) is not installed") from None
    if done.returncode:
        raise NetworkUnavailable(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
