"""Real programs at the receiver: swaks sends to it, Postfix relays and bounces to it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from canary_support import RUN, TOKEN, RunningCanary

from postlatch.testing.peers.postfix import Postfix

pytestmark = pytest.mark.real

RELAYED, BOUNCED = f"{RUN}-002-00000000", f"{RUN}-003-00000000"


@pytest.fixture(scope="module")
def canary() -> Iterator[RunningCanary]:
    with RunningCanary(run=RUN) as running:
        yield running


@pytest.fixture(scope="module")
def postfix(canary: RunningCanary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postfix]:
    settings = {
        "mydestination": "local.test",
        "local_recipient_maps": "",  # it takes any, and finds out later that there is none
        "relayhost": f"[127.0.0.1]:{canary.port}",
    }
    with Postfix(tmp_path_factory.mktemp("peer") / "postfix", settings) as running:
        yield running


def swaks(port: int, token: str, *arguments: str) -> str:
    """The conversation; its message has the token in its field."""
    program = shutil.which("swaks")
    assert program is not None, "swaks is not installed"
    words = [program, "--server", f"127.0.0.1:{port}", "--from", "probe@canary.test", "--header", f"X-Postlatch-Audit: {token}"]
    return subprocess.run([*words, *arguments], capture_output=True, text=True, check=False, timeout=30).stdout


def test_swaks_sends_to_it_plain_and_pipelined(canary: RunningCanary) -> None:
    for more in ((), ("--pipeline",), ("--protocol", "SMTP")):
        before = len(canary.arrivals())
        told = swaks(canary.port, TOKEN, "--to", "u@canary.test", *more)
        assert "<-  250 2.0.0 Taken, and forgotten" in told, told
        assert len(canary.arrivals()) == before + 1
    assert {(one.token, one.bounce, one.recipient) for one in canary.arrivals()} == {(TOKEN, False, "u@canary.test")}


def test_what_postfix_relays_arrives_as_itself(canary: RunningCanary, postfix: Postfix) -> None:
    swaks(postfix.port, RELAYED, "--to", "canary@canary.test", "--helo", "auditor.test")
    [arrival] = canary.wait_for(lambda seen: RELAYED in {one.token for one in seen})[-1:]
    assert (arrival.token, arrival.bounce, arrival.sender) == (RELAYED, False, "probe@canary.test")
    assert arrival.received[0].startswith("from auditor.test (localhost [127.0.0.1]) by postfix.test (Postfix)")


def test_what_postfix_bounces_arrives_as_a_bounce(canary: RunningCanary, postfix: Postfix) -> None:
    swaks(postfix.port, BOUNCED, "--to", "nobody-1f2e3d4c@local.test")
    [arrival] = canary.wait_for(lambda seen: BOUNCED in {one.token for one in seen})[-1:]
    assert (arrival.token, arrival.bounce, arrival.sender, arrival.recipient) == (BOUNCED, True, "", "probe@canary.test")
