"""Free ports, waiting, and ending what was started."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Callable

# Below those that Linux gives to clients (32768 and up): a port that is kept for a restart is nobody's meanwhile.
_FIRST, _LAST = 10_240, 32_767
_dice = random.Random()  # noqa: S311 - several test processes must not ask for the same ports in the same order
_given: set[int] = set()  # by this process: nobody may have bound them yet when the next is asked for


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago, another one at each call."""
    if len(_given) > 5000:
        _given.clear()
    while True:
        port = _dice.randint(_FIRST, _LAST)
        if port not in _given and _is_free(host, port):
            _given.add(port)
            return port


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        try:
            sock.bind((host, port))
        except OSError:
            return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until ``condition`` holds; TimeoutError naming ``what`` otherwise."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.02)


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Does something accept connections there?"""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False


def end(process: subprocess.Popen[bytes] | subprocess.Popen[str], seconds: float = 10) -> int:
    """Ask a process that we started to end, then make it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    return process.returncode
