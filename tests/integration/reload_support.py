"""Changing the policy of a running relay, by SIGHUP and by its clients."""

from __future__ import annotations

import os
import signal

from running_support import (
    SAFE,
    client,
    metric,
    submit,
    with_ports,
)

from postlatch.testing.peers.ports import free_port, wait_until
from postlatch.testing.running import RunningRelay

PRINTER = "127.0.0.9"
STRANGER = "127.0.0.10"
RIGHT_WORDS = ("--network", PRINTER, "--listener", "relay", "--owner", "ops@example.com", "--masked", "the test's own client")


def routed() -> str:
    """The safe configuration, with a route for ``elsewhere.example`` that leads nowhere yet."""
    return with_ports(f'{SAFE}\n[outbound.routes]\n"elsewhere.example" = "smtp://127.0.0.1:{free_port()}"\n')[0]


def change(relay: RunningRelay, old: str, new: str) -> None:
    """Edit the configuration file."""
    text = relay.config.read_text("utf-8")
    assert old in text
    relay.config.write_text(text.replace(old, new), "utf-8")


def hang_up(relay: RunningRelay) -> None:
    """SIGHUP to the program that was started."""
    assert relay.process is not None
    os.kill(relay.process.pid, signal.SIGHUP)


def installed(relay: RunningRelay) -> int:
    """How many policies were put in force so far."""
    return int(metric(relay, "postlatch_policy_version"))


def reload(relay: RunningRelay) -> None:
    """SIGHUP, and wait until the new policy is in force."""
    before = installed(relay)
    hang_up(relay)
    wait_until(lambda: installed(relay) > before, 10, "the reload")


def refused_reload(relay: RunningRelay) -> None:
    """SIGHUP, and wait for the refusal in the log."""
    policies = installed(relay)
    hang_up(relay)
    wait_until(lambda: "policy.refused" in relay.read_log(), 10, "the refusal in the log")
    assert installed(relay) == policies


def from_printer(relay: RunningRelay, token: str, recipient: str = "someone@elsewhere.example", source: str = PRINTER) -> str:
    """Send through the relay listener from an address of this machine."""
    with client(relay.port("relay"), source=source) as session:
        return submit(session, token, "scan@example.com", recipient)
