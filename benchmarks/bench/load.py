"""Runs the load generator of ``load.c`` in a process of its own."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from bench.build import load_generator


class Load(NamedTuple):
    """What a run found. ``cpu`` is the generator's own time as a share of one core: near 1, it is what was measured."""

    done: int
    started: float  # time.monotonic()
    seconds: float
    cpu: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """A second."""
        return self.done / self.seconds


def run_load(mode: str, port: int, **options: int | str) -> Load:
    """Run it to its end; RuntimeError with its words if a reply was not the expected one."""
    done = subprocess.run(_command(mode, port, options), capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{mode} at port {port}: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    share = found["cpu_seconds"] / found["seconds"]
    return Load(found["done"], found["started"], found["seconds"], share, found.get("p50_ms", 0.0), found.get("p99_ms", 0.0))


@contextmanager
def idle_sessions(port: int, sessions: int, **options: int | str) -> Iterator[None]:
    """Hold ``sessions`` connections open that have said EHLO, and with ``tls=1`` STARTTLS and EHLO."""
    command = _command("idle", port, {"sessions": sessions, **options})
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            if process.stdout.readline().strip() != "ready":
                raise RuntimeError(f"{sessions} idle sessions at port {port}: {process.stderr.read().strip()}")
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()


def auth_plain(login: str, password: str) -> str:
    """The initial response of AUTH PLAIN (RFC 4616)."""
    return base64.b64encode(f"\0{login}\0{password}".encode()).decode("ascii")


def _command(mode: str, port: int, options: dict[str, int | str]) -> list[str]:
    return [str(load_generator()), mode, f"port={port}", *(f"{name}={value}" for name, value in options.items())]
