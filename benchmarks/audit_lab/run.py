"""Asks one server: our auditor as a command of its own, and nmap."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any, NamedTuple

from audit_lab.values import CANARY, Lab, Running


class Asked(NamedTuple):
    """The audit's result as in its JSON, and how long the command took."""

    result: dict[str, Any]
    seconds: float


def audit(name: str, running: Running, lab: Lab, *, deep: bool) -> Asked:
    """``postlatch audit``, from start to end."""
    command = [sys.executable, "-m", "postlatch", "audit", f"{running.address}:{running.port}", "--i-own-this"]
    command += ["--local", running.local, "--canary", f"listen:{running.canary}:{lab.canary}", "--canary-domain", CANARY]
    command += ["--json", "--source", running.source, *(["--deep"] if deep else [])]
    begun = time.monotonic()
    with running.inside():
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    seconds = time.monotonic() - begun
    if not done.stdout.startswith("{"):
        raise RuntimeError(f"{name}: status {done.returncode}: {done.stdout[:500]} {done.stderr[-2000:]}")
    return Asked(json.loads(done.stdout)["targets"][0], seconds)


def nmap(running: Running) -> str:
    """Its script's word, asked from the same address."""
    near = ["-S", running.source, "-e", "lo"] if running.network is None else []
    command = ["nmap", "-Pn", "-n", *near, "-p", str(running.port)]
    arguments = f"smtp-open-relay.domain={CANARY},smtp-open-relay.to=canary,smtp-open-relay.from=x"
    command += ["--script", "+smtp-open-relay", "--script-args", arguments, running.address]
    with running.inside():
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if "Server is an open relay" in done.stdout:
        return "open"
    return "closed" if "doesn't seem to be an open relay" in done.stdout else "nothing"
