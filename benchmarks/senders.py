"""Mail that is signed on its way out, and mail that is checked on its way in, beside Postfix with the usual programs.

Out: Postlatch with RSA-2048 and Ed25519, Postfix with OpenDKIM and RSA-2048. In: SPF, DKIM and DMARC of a signed message of
10 KB; Postfix with policyd-spf, OpenDKIM and OpenDMARC. All ask one Unbound, which has the answers. Needs Debian's opendkim,
opendmarc, postfix-policyd-spf-python and unbound.

    python benchmarks/senders.py [--messages 2000] [--rounds 5] [--sessions 50] [--json]
"""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import dns.zonefile

from bench.command import run_alone
from bench.figures import OURS, THEIRS, Aim, Plan, Row
from bench.servers import RECIPIENT, SENDER
from postlatch.senderauth.check import MessageCheck
from postlatch.senderauth.dkim.sign import Signer, SigningKey, generate, load_private_key, public_record
from postlatch.senderauth.results import Result
from postlatch.testing.dns import FakeResolver
from postlatch.testing.peers.name_server import NameServer
from postlatch.testing.peers.opendkim import OpenDkimMilter
from postlatch.testing.peers.opendmarc import OpenDmarcMilter, policyd_spf
from postlatch.testing.peers.own_dns import with_resolver
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.peers.postfix import Postfix
from postlatch.testing.peers.sink import CountingSink, send_load
from postlatch.testing.peers.unbound import Unbound
from postlatch.testing.running import RunningRelay

_PEM: Final = generate("rsa")
_KEY: Final = SigningKey("client.example", "sel", "rsa", load_private_key(_PEM))
_AUTHOR: Final = "eve@client.example"
_LOCAL: Final = "alice@example.com"
_CONFIG: Final = """\
hostname = "bench.postlatch.test"
data_dir = "data"

[[listeners]]
name = "mx"
address = "127.0.0.1:0"
role = "mx"

[[listeners]]
name = "relay"
address = "127.0.0.1:0"
role = "relay"

[domains."example.com"]
deliver = "smtp://127.0.0.1:{sink}"
recipients = ["alice"]

[[rights]]
name = "bench"
networks = ["127.0.0.1/32"]
listeners = ["relay"]
owner = "ops@example.com"
expires = 2099-12-31
senders = ["@example.com"]
masked = "the benchmark's own client on loopback"
limits = {{ messages = ["100000000/day", "1000000/minute"], recipients = ["100000000/day"] }}

[limits.client]
connections = 10000
commands = ["100000000/minute"]

[session]
greeting_delay = 0

[authentication]
check = true

[outbound]
resolver = ["{resolver}:53"]

[outbound.routes]
"elsewhere.example" = "smtp://127.0.0.1:{sink}"

[http]
address = "127.0.0.1:0"
"""


def measure(plan: Plan) -> list[Row]:
    """One message alone, then both ways through the servers."""
    return [_one_message(plan), *_through_servers(plan)]


def _message() -> bytes:
    """A message of 10 KB with its signature, and CRLF line ends."""
    lines = ["The quick brown fox jumps over the lazy dog, and nobody asks why at all."] * 136
    header = f"From: Eve <{_AUTHOR}>\r\nTo: {_LOCAL}\r\nSubject: ten kilobytes\r\nDate: Thu, 01 Jan 2026 00:00:00 +0000\r\n"
    header += "Message-ID: <1@client.example>\r\n"
    body = ("\r\n".join(lines) + "\r\n").encode()
    signer = Signer([_KEY], header.encode(), now=time.time(), valid=864_000)
    signer.feed(body)
    return signer.finish() + header.encode() + b"\r\n" + body


def _zone(name_server: str) -> dict[str, dict[str, list[str]]]:
    record = public_record(_KEY)
    return {
        "example.com": {"NS": ["ns.example.com."]},
        "ns.example.com": {"A": [name_server]},
        "client.example": {"TXT": ['"v=spf1 ip4:127.0.0.1 -all"']},
        "_dmarc.client.example": {"TXT": ['"v=DMARC1; p=reject"']},
        "sel._domainkey.client.example": {"TXT": [f'"{record[:255]}" "{record[255:]}"']},
    }


def _one_message(plan: Plan) -> Row:
    """SPF, DKIM (RSA-2048), ARC and DMARC of one message, everything known to the resolver: processor time."""
    row = Row("verify_one", "SPF, DKIM and DMARC of one message of 10 KB, DNS warm", "ms", Aim(1, ratio=False, least=False))
    zone = {name: {kind: [text.strip('"').replace('" "', "") for text in texts] for kind, texts in types.items()}
            for name, types in _zone("127.0.0.1").items()}  # fmt: skip
    resolver = FakeResolver(zone)
    header, _, body = _message().partition(b"\r\n\r\n")

    async def check() -> None:
        one = MessageCheck(
            resolver, client=ip_address("127.0.0.1"), helo="client.example", sender=_AUTHOR, receiver="here", now=time.time()
        )
        one.start()
        one.header(header + b"\r\n", "client.example")
        one.feed(body)
        found = await one.finish()
        if found.dmarc.result is not Result.PASS or found.dkim[0].result is not Result.PASS:
            raise RuntimeError(f"not a pass: {found}")

    async def rounds() -> None:
        for number in range(plan.rounds + 1):
            taken = []
            for _ in range(plan.count(400)):
                began = time.process_time()
                await check()
                taken.append((time.process_time() - began) * 1e3)
            if number:
                row.add(OURS, statistics.median(taken))
        plan.say(f"one message: {row.median(OURS):.3f} ms")

    asyncio.run(rounds())
    return row


def _through_servers(plan: Plan) -> list[Row]:
    signed = Row("signed", "Relayed and signed (ours RSA and Ed25519, theirs RSA)", "messages/s", Aim(3))
    checked = Row("checked", "Taken from strangers, SPF, DKIM and DMARC checked, 10 KB", "messages/s", Aim(3))
    with tempfile.TemporaryDirectory(prefix="postlatch-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        resolver, authority = (f"127.{70 + os.getpid() % 50}.{os.getpid() // 50 % 250}.{last}" for last in (1, 2))
        names = stack.enter_context(NameServer(_zone(authority), authority, 53))
        zones = {"client.example": 53, "example.com": 53}
        cache = Unbound(folder / "unbound", zones, address=resolver, port=53, authority=authority, least_ttl=3600)
        stack.enter_context(cache)
        ours, theirs = stack.enter_context(CountingSink()), stack.enter_context(CountingSink())
        config = _CONFIG.format(sink=ours.port, resolver=resolver)
        relay = stack.enter_context(RunningRelay(folder / OURS, config, certificate=False))
        _make_keys(relay, names)
        signing, checking = _signing(stack, folder, theirs.port), _checking(stack, folder, theirs.port, resolver)
        out = partial(_round, plan, key="signed", sender=SENDER, recipient=RECIPIENT, messages=plan.count(3000))
        turns = {
            OURS: partial(out, relay.port("relay"), ours),
            THEIRS: partial(out, signing.port, theirs),
        }
        plan.take_turns(turns, {"signed": signed})
        file = folder / "message"
        file.write_bytes(_message().replace(b"\r\n", b"\n"))
        into = partial(_round, plan, key="checked", sender=_AUTHOR, recipient=_LOCAL, messages=plan.count(2000), file=file)
        turns = {OURS: partial(into, relay.port("mx"), ours), THEIRS: partial(into, checking.port, theirs)}
        plan.take_turns(turns, {"checked": checked})
        _demand_passes(relay, checking)
    return [signed, checked]


def _make_keys(relay: RunningRelay, names: NameServer) -> None:
    """Keys that sign: made, published, seen."""
    printed = relay.run("dkim", "keygen", "example.com").stdout
    text = "".join(re.findall(r"(?m)^\S+ 3600 IN TXT (?:\"[^\"]*\"|\((?:\n  \"[^\"]*\")+\n\))\n", printed))
    for rrset in dns.zonefile.read_rrsets(text, rdclass=None, default_ttl=60):
        names.zone[rrset.name.to_text(omit_final_dot=True)] = {"TXT": [record.to_text() for record in rrset]}

    def active() -> bool:
        return {key["state"] for key in relay.json("dkim", "list")["keys"]} == {"active"}

    wait_until(active, 180, "the keys to sign")


def _signing(stack: ExitStack, folder: Path, sink: int) -> Postfix:
    pem = folder / "their.pem"
    pem.write_bytes(_PEM)
    pem.chmod(0o600)
    settings = {"Mode": "s", "Domain": "example.com", "Selector": "their", "KeyFile": str(pem)}
    settings |= {"Canonicalization": "relaxed/relaxed", "OversignHeaders": "From"}
    milter = stack.enter_context(OpenDkimMilter(folder / "signer", settings))
    return stack.enter_context(Postfix(folder / "signs", {**milter.settings_for_postfix, "relayhost": f"[127.0.0.1]:{sink}"}))


def _checking(stack: ExitStack, folder: Path, sink: int, resolver: str) -> Postfix:
    ignored = folder / "internal"
    ignored.write_text("192.0.2.1\n")
    dkim = stack.enter_context(
        OpenDkimMilter(folder / "verifier", {"Mode": "v", "InternalHosts": str(ignored), "Nameservers": resolver})
    )
    dmarc = stack.enter_context(OpenDmarcMilter(folder / "opendmarc", resolver=resolver, trusted="opendkim.test"))
    line, policy = policyd_spf(folder / "policyd")
    settings = {
        **dkim.settings_for_postfix,
        **policy,
        "smtpd_milters": f"inet:127.0.0.1:{dkim.port}, {dmarc.milter}",
        "relayhost": f"[127.0.0.1]:{sink}",
    }
    prefix = with_resolver(folder / "their-dns", resolver)
    return stack.enter_context(Postfix(folder / "checks", settings, services=line, prefix=prefix))


def _demand_passes(relay: RunningRelay, checking: Postfix) -> None:
    """A server that did not find the message genuine has not done the work."""
    events = relay.json("journal", "search", "--event", "message.accepted", "--limit", "10")["events"]
    mine = [event for event in events if event["listener"] == "mx"]
    if not mine or any((event["spf"], event["dmarc"]) != ("pass", "pass") for event in mine):
        raise RuntimeError(f"Postlatch found no pass: {mine[:1]}")
    log = checking.log()
    if "policyd-spf" not in log and "warning: problem talking to server private/policyd-spf" in log:
        raise RuntimeError("policyd-spf did not run")


def _round(
    plan: Plan, port: int, sink: CountingSink, *, key: str, sender: str, recipient: str, messages: int, file: Path | None = None
) -> dict[str, float]:
    before = sink.messages
    started = time.monotonic()
    send_load(port, messages=messages, sessions=plan.sessions, size=plan.size, sender=sender, recipient=recipient, file=file)
    last = sink.wait_for(before + messages, 300)
    return {key: messages / (last - started)}


if __name__ == "__main__":
    sys.exit(run_alone(measure, __doc__))
