"""What the tests of single hardships share: networks of their own, a client within them, and what a missing tool means."""

from __future__ import annotations

import os
import re
import shutil
import smtplib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from running_support import client, eventually, in_ci, queue_id, reading, submit

from postlatch.testing.peers.fault_proxy import FaultProxy
from postlatch.testing.peers.network import Network, NetworkUnavailable
from postlatch.testing.peers.recorder import RecordingSink
from postlatch.testing.running import ACCOUNT, RunningRelay

HERE, THERE = "11.22.33.1", "11.22.33.25"  # of the public internet, as far as a relay can tell; the cable ends there
CABLE = {
    "here": [f"{HERE}/24", "10.99.0.1/24", "169.254.7.1/24", "fd99::1/64", "2a99::1/64"],
    "there": [f"{THERE}/24", "10.99.0.25/24", "169.254.7.25/24", "fd99::25/64", "2a99::25/64"],
}


def lacking(what: str) -> NoReturn:
    """Skip, or under CI fail: there every tool must be."""
    if in_ci():
        pytest.fail(what)
    pytest.skip(what)


def tool(name: str) -> str:
    """The path of a program that the test cannot do without."""
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if found is None:
        lacking(f"{name} is not installed")
    return found


class Networks(NamedTuple):
    """Two machines and a cable: the relay is on one of them. On both, something listens on port 25 and counts."""

    here: Network
    there: Network
    witness_here: FaultProxy
    witness_there: FaultProxy
    sink: RecordingSink

    @property
    def connections(self) -> int:
        """How many connections reached port 25, wherever."""
        return self.witness_here.connections + self.witness_there.connections


@contextmanager
def networks() -> Iterator[Networks]:
    """Make them; needs root."""
    try:
        here, there = Network(), Network()
        here.join(there, CABLE["here"], CABLE["there"])
    except NetworkUnavailable as error:
        lacking(f"no networks of our own: {error}")
    with here, there, ExitStack() as stack:
        sinks, witnesses = [], []
        for network in (here, there):
            with network.inside():  # where they start, their threads are, and so is what these connect to
                sinks.append(stack.enter_context(RecordingSink()))
                witnesses.append(stack.enter_context(FaultProxy(sinks[-1].port, listen=("::", 25))))
        yield Networks(here, there, witnesses[0], witnesses[1], sinks[1])


def relayed(relay: RunningRelay, token: str, recipient: str, sender: str = ACCOUNT) -> str:
    """Hand in a message by the right of this machine; its id."""
    with client(relay.port("relay")) as session:
        return queue_id(submit(session, token, sender, recipient))


class Row(NamedTuple):
    """A recipient as the database has it: one look costs less than a command, where a test looks at many again and again."""

    state: str
    last_reply: str
    possible_duplicate: bool


def recipients(relay: RunningRelay) -> dict[str, Row]:
    """All recipients by address; of those named by several messages, the last."""
    sql = "SELECT address, state, last_reply, possible_duplicate FROM recipients ORDER BY message"
    with reading(relay.data / "postlatch.db") as connection:
        rows = connection.execute(sql).fetchall()
    return {address: Row(state, reply, bool(flag)) for address, state, reply, flag in rows}


def settled(relay: RunningRelay, addresses: Iterable[str], state: str, seconds: float = 60) -> dict[str, Row]:
    """Wait until all of them are in ``state``."""
    names = list(addresses)

    def done() -> bool:
        found = recipients(relay)
        return all(name in found and found[name].state == state for name in names)

    try:
        eventually(done, f"all to be {state}", seconds)
    except TimeoutError:
        other = {name: row for name, row in recipients(relay).items() if name in names and row.state != state}
        pytest.fail(f"not {state} after {seconds} s: {other}")
    return recipients(relay)


def raw_data(session: smtplib.SMTP, sender: str, recipient: str, content: bytes) -> str:
    """Send ``content`` as it is, which must end with CR LF, by DATA; the last reply."""
    for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>"):
        answer = session.docmd(command)
        assert answer[0] == 250, answer
    assert session.docmd("DATA")[0] == 354
    session.send(content + b".\r\n")
    code, text = session.getreply()
    return f"{code} {text.decode('ascii')}"


def resident(pid: int, field: str = "VmRSS") -> int:
    """Octets of memory that a process has in use; ``VmHWM``: had at most; ``VmSize``: has asked for."""
    match = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) * 1024
