"""Our own signatures in the running program: from keygen through the DNS to a next hop that can verify them, and rotation."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen

import dns.rdatatype
import dns.zonefile
import pytest
from case_support import tool
from recording_sink import RecordingSink, Taken
from running_support import client, events, in_ci, logged_in, submit, told

from postlatch.delivery.resolver import DnsResolver
from postlatch.senderauth.dkim.verify import Verifier
from postlatch.senderauth.results import DkimResult, Result
from postlatch.testing.clock import FakeClock
from postlatch.testing.peers.name_server import NameServer
from postlatch.testing.running import ACCOUNT, BASE, PASSWORD, RunningRelay

SHIM = Path(__file__).with_name("clock_shim.c")
NUMBERS = count(1)
FRIEND = "friend@elsewhere.example"
RIGHT = """
[[rights]]
name = "{name}"
networks = ["{address}/32"]
listeners = ["relay"]
{senders}
owner = "ops@example.com"
expires = 2099-12-31
masked = "the test's own client"
limits = {{ messages = ["1000000/minute"] }}
"""
NAMED, ANY = "127.0.0.2", "127.0.0.3"  # clients with a right for their own names, and for any
CONFIG = f"""{BASE.replace('["127.0.0.1:0", "[::1]:0"]', '"127.0.0.1:0"')}
{RIGHT.format(name="named", address=NAMED, senders='senders = ["scanner@example.com", "@partner.example"]')}
{RIGHT.format(name="any", address=ANY, senders="")}
[relay_domains."branch.example"]
route = "SINK"
recipients = ["dave"]
owner = "ops@example.com"
expires = 2099-06-30

[outbound]
smarthost = "SINK"
resolver = ["NAMES:53"]
"""


class Site(NamedTuple):
    """A relay, its next hop, the name servers of its domain, and the hand of its clock."""

    relay: RunningRelay
    sink: RecordingSink
    servers: tuple[NameServer, NameServer]
    shift: Path
    asked: str  # the address of one of the name servers

    def publish(self, printed: str, *servers: NameServer) -> None:
        """Paste what the command has printed into the zone."""
        text = "".join(re.findall(r"(?m)^\S+ 3600 IN TXT (?:\"[^\"]*\"|\((?:\n  \"[^\"]*\")+\n\))\n", printed))
        for rrset in dns.zonefile.read_rrsets(text, rdclass=None, default_ttl=60):
            assert rrset.rdtype == dns.rdatatype.TXT
            for server in servers or self.servers:
                server.zone[rrset.name.to_text(omit_final_dot=True)] = {"TXT": [record.to_text() for record in rrset]}

    def listed(self) -> list[dict[str, Any]]:
        """What ``dkim list`` says, which looks at the name servers."""
        found: list[dict[str, Any]] = self.relay.json("dkim", "list")["keys"]
        return found

    def states(self) -> dict[str, str]:
        return {key["selector"]: key["state"] for key in self.listed()}

    def pass_time(self, seconds: int) -> None:
        """At once: the relay reads this file whenever it looks at the clock."""
        written = self.shift.with_suffix(".new")
        written.write_text(str(int(self.shift.read_text()) + seconds))
        written.replace(self.shift)

    def arrived(self, token: str) -> Taken:
        """The message with this token, when it is at the next hop."""
        for _ in range(200):
            for taken in list(self.sink.messages):
                if f"Subject: {token}\r\n".encode() in taken.body:
                    return taken
            time.sleep(0.1)
        raise AssertionError(f"{token} did not arrive")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Name servers are asked at port 53, so each has an address of loopback for itself, in every process of a test run."""
    if os.geteuid() != 0:
        if in_ci():
            pytest.fail("name servers listen on port 53: needs root")
        pytest.skip("name servers listen on port 53: needs root")
    library, shift = tmp_path / "clock.so", tmp_path / "shift"
    subprocess.run([tool("cc"), "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    shift.write_text("0")
    process = os.getpid()
    addresses = [f"127.{64 + process % 64}.{process // 64 % 256}.{next(NUMBERS)}" for _ in range(2)]
    zone = {
        "example.com": {"NS": ["ns1.example.com.", "ns2.example.com."]},
        "ns1.example.com": {"A": [addresses[0]]},
        "ns2.example.com": {"A": [addresses[1]]},
    }
    with ExitStack() as stack:
        one, two = (stack.enter_context(NameServer(zone, address, 53)) for address in addresses)
        sink = stack.enter_context(RecordingSink())
        relay = RunningRelay(tmp_path / "relay", CONFIG.replace("SINK", sink.url).replace("NAMES", addresses[0]))
        relay.start(prefix=("env", f"LD_PRELOAD={library}", f"CLOCK_SHIFT={shift}"))
        stack.callback(relay.stop)
        relay.add_account()
        yield Site(relay, sink, (one, two), shift, addresses[1])


def verified(taken: Taken, now: float, server: str) -> tuple[DkimResult, ...]:
    """What our own verifier says of a message as it was on the wire, with the keys that are in the DNS."""

    async def check() -> tuple[DkimResult, ...]:
        block, _, body = taken.unstuffed.partition(b"\r\n\r\n")
        verifier = Verifier(block + b"\r\n", now=now)
        verifier.feed(body)
        return await verifier.finish(DnsResolver.of_servers([f"{server}:53"], FakeClock()))

    return asyncio.run(check())


def passed(site: Site, token: str) -> set[str]:
    """The selectors of the signatures of a message, all of which pass."""
    results = verified(site.arrived(token), time.time() + int(site.shift.read_text()), site.asked)
    assert {(r.result, r.domain) for r in results} <= {(Result.PASS, "example.com")}, results
    return {result.selector for result in results}


def from_account(site: Site, token: str, sender: str = ACCOUNT) -> str:
    with logged_in(site.relay.port("submission"), ACCOUNT, PASSWORD) as session:
        return submit(session, token, sender, FRIEND)


def by_right(site: Site, address: str, token: str, sender: str) -> str:
    with client(site.relay.port("relay"), source=address) as session:
        return submit(session, token, sender, FRIEND)


def with_keys(site: Site) -> set[str]:
    """Keys that sign; their selectors."""
    site.publish(site.relay.run("dkim", "keygen", "example.com").stdout)
    assert set(site.states().values()) == {"published"}
    site.pass_time(61)
    states = site.states()
    assert set(states.values()) == {"active"}
    return set(states)


def test_a_domain_signs_when_all_name_servers_have_its_keys_and_what_it_signs_verifies(site: Site) -> None:
    done = site.relay.run("dkim", "keygen", "example.com")
    assert done.returncode == 0, done.stderr
    again = site.relay.run("dkim", "keygen", "example.com")
    assert (again.returncode, "has keys already" in again.stderr) == (2, True)
    assert "is not one of our domains" in site.relay.run("dkim", "keygen", "elsewhere.example").stderr

    assert from_account(site, "early").startswith("250")
    assert passed(site, "early") == set(), "a signature that nobody can check is worse than none"
    site.publish(done.stdout, site.servers[0])
    [first, second] = site.listed()
    assert first["state"] == second["state"] == "new"
    assert "ns2.example.com has no record" in first["next"]
    site.publish(done.stdout)
    assert set(site.states().values()) == {"published"}
    site.pass_time(61)
    selectors = set(site.states())
    assert {(key["state"], key["algorithm"]) for key in site.listed()} == {("active", "ed25519"), ("active", "rsa")}

    assert from_account(site, "signed").startswith("250")
    assert passed(site, "signed") == selectors
    [event] = [one for one in events(site.relay, "delivery.delivered") if one.get("signed")]
    assert set(event["signed"]) == selectors
    assert [one["event"] for one in events(site.relay, "dkim")][:2] == ["dkim.key_made", "dkim.key_made"]
    with urlopen(f"http://127.0.0.1:{site.relay.port('http')}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert 'postlatch_dkim_signed_total{algorithm="ed25519"} 1.0' in text
    assert 'postlatch_dkim_signed_total{algorithm="rsa"} 1.0' in text


def test_only_senders_who_are_entitled_to_their_from_are_signed_for(site: Site) -> None:
    selectors = with_keys(site)
    with client(site.relay.port("mx")) as session:  # a stranger, who writes our address into From
        session.mail("stranger@other.example")
        session.rcpt("dave@branch.example")
        code, _ = session.data(f"From: {ACCOUNT}\r\nSubject: stranger\r\n\r\nx\r\n")
        assert code == 250
    assert by_right(site, NAMED, "partner", "x@partner.example").startswith("250")
    assert by_right(site, NAMED, "scanner", "scanner@example.com").startswith("250")
    assert by_right(site, ANY, "anybody", "scanner@example.com").startswith("250")
    assert from_account(site, "mine").startswith("250")
    found = {token: passed(site, token) for token in ("stranger", "partner", "scanner", "anybody", "mine")}
    assert found == {"stranger": set(), "partner": set(), "scanner": selectors, "anybody": set(), "mine": selectors}
    assert b"DKIM-Signature" not in b"".join(site.arrived(token).body for token in ("stranger", "partner", "anybody"))


@pytest.mark.soak
def test_a_rotation_under_load_leaves_no_message_unsigned(site: Site) -> None:
    old = with_keys(site)
    stop = threading.Event()
    replies: list[str] = []

    def load() -> None:
        while not stop.is_set():
            with logged_in(site.relay.port("submission"), ACCOUNT, PASSWORD) as session:
                for _ in range(20):  # a session may send only so many
                    replies.append(submit(session, f"load-{len(replies)}", ACCOUNT, FRIEND))

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    try:
        site.pass_time(86_400)
        printed = site.relay.run("dkim", "rotate", "example.com").stdout
        assert set(site.states().values()) == {"active", "new"}
        site.publish(printed)
        assert set(site.states().values()) == {"active", "published"}
        site.pass_time(61)
        states = site.states()
        until = len(replies) + 40
        while len(replies) < until:
            assert thread.is_alive()
            time.sleep(0.05)
    finally:
        stop.set()
        thread.join(30)
    new = states.keys() - old
    assert states == {**dict.fromkeys(old, "retired"), **dict.fromkeys(new, "active")}
    assert {reply[:3] for reply in replies} == {"250"}
    signed_by = [passed(site, f"load-{number}") for number in range(len(replies))]
    assert {frozenset(found) for found in signed_by} <= {frozenset(old), frozenset(new), frozenset(old | new)} | {
        frozenset({x, y}) for x in old for y in new
    }
    assert all(len(found) == 2 for found in signed_by), "every message has a signature of each algorithm"
    assert signed_by[0] == old
    assert signed_by[-1] == new
    assert not told(site.relay, "without our signature")


@pytest.mark.soak
def test_a_lost_key_holds_mail_up_is_told_and_mail_goes_when_it_is_back(site: Site) -> None:
    with_keys(site)
    folder = site.relay.data / "dkim"
    aside = site.relay.folder / "aside"
    folder.rename(aside)
    site.relay.stop()
    site.relay.start()
    assert from_account(site, "waits").startswith("250")
    for _ in range(100):
        if told(site.relay, "the signing keys of a domain cannot be used"):
            break
        time.sleep(0.1)
    assert told(site.relay, "the signing keys of a domain cannot be used")
    assert not any(b"Subject: waits\r\n" in taken.body for taken in site.sink.messages)
    assert all("cannot sign" in key["next"] for key in site.listed())
    aside.rename(folder)
    assert all(key["next"].startswith("signs") for key in site.listed()), "whoever looks need not wait for the minute"
    site.relay.run("queue", "retry", "--account", ACCOUNT)
    assert len(passed(site, "waits")) == 2
