"""A relay with a bit of everything in it, for the tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from running_support import (
    SAFE,
    client,
    eventually,
    logged_in,
    queue_id,
    states,
    submit,
    with_ports,
)

from postlatch.testing.running import ACCOUNT, PASSWORD, RunningRelay

CONFIG = f"""{SAFE}
[domains."late.example"]
deliver = "lmtp://127.0.0.1:1"
recipients = ["carol"]

[domains."asked.example"]
deliver = "lmtp://127.0.0.1:1"
recipients = "callout"

[relay_domains."branch.example"]
route = "smtp://127.0.0.1:1"
recipients = ["dave"]
owner = "ops@example.com"
expires = 2099-06-30

[outbound.routes]
"elsewhere.example" = "smtp://127.0.0.1:1"
"""
STRANGER, BOB, CAROL = "stranger@other.example", "bob@example.com", "carol@late.example"
RIGHT_WORDS = ("--network", "127.0.0.9", "--listener", "relay", "--owner", "ops@example.com", "--masked", "test")
ELSEWHERE = "x@elsewhere.example"

Row = dict[str, Any]


class Office(NamedTuple):
    """A relay with a bit of everything: ``waiting`` is deferred, ``mine`` was sent by an account, ``kept`` is held."""

    relay: RunningRelay
    waiting: str
    mine: str
    kept: str


def furnish(relay: RunningRelay) -> Office:
    """An account, a right, and mail in several states."""
    relay.add_account()
    assert (
        relay.run("account", "add", "scanner", "--password-stdin", "--send-as", "@example.com", stdin="scan it\n").returncode
        == 0
    )
    assert relay.run("account", "suspend", "scanner", "--why", "not yet").returncode == 0
    assert (
        relay.run("right", "add", "printer", *RIGHT_WORDS, "--sender", "@example.com", "--expires", "2099-06-30").returncode
        == 0
    )
    with client(relay.port("mx")) as session:
        assert submit(session, "delivered", STRANGER, BOB).startswith("250")
        waiting, kept = (queue_id(submit(session, token, STRANGER, CAROL)) for token in ("waiting", "kept"))
    with closing(logged_in(relay.port("submission"), ACCOUNT, PASSWORD)) as session:
        mine = queue_id(submit(session, "mine", ACCOUNT, ELSEWHERE))
    for message in (waiting, kept, mine):
        eventually(lambda message=message: states(relay, message) == ["deferred"], "the first attempts")  # type: ignore[misc]
    assert relay.run("queue", "hold", kept).returncode == 0
    return Office(relay, waiting, mine, kept)


WAYS = ["beside a running relay", "without one"]


@contextmanager
def running_office(folder: Path, way: str = WAYS[0]) -> Iterator[Office]:
    """A furnished relay in ``folder``; it was stopped again if ``way`` is the second of `WAYS`."""
    with RunningRelay(folder, with_ports(CONFIG)[0]) as relay:
        office = furnish(relay)
        if way != WAYS[0]:
            relay.stop()
        yield office
