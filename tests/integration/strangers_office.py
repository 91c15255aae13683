"""A relay on a network of its own, where clients have public addresses and the DNS is ours, by way of a real resolver."""

from __future__ import annotations

import smtplib
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from postlatch.senderauth.dkim.sign import Signer, SigningKey, generate, load_private_key, public_record
from postlatch.testing.peers.name_server import NameServer
from postlatch.testing.peers.network import Network
from postlatch.testing.peers.unbound import Unbound
from postlatch.testing.running import BASE, RunningRelay

HERE = "127.0.0.1"
LISTED, CLEAN, GREY, MARKED, SLOW, ERROR, POSTFIX, OTHER, FRIEND = (f"198.51.100.{number}" for number in range(7, 16))
FAR = "203.0.113.9"
ADDRESSES = (LISTED, CLEAN, GREY, MARKED, SLOW, ERROR, POSTFIX, OTHER, FRIEND, FAR)
KEY = SigningKey("good.example", "sel", "rsa", load_private_key(generate("rsa")))
CONFIG = """
[authentication]
timeout = 3

[dkim]
replays = "3/hour"

[reputation]
check = true
greylist = 6
timeout = 1
exempt = ["198.51.100.64/28"]
LISTS

[greylisting]
enabled = true
delay = "DELAY"

[reports]
dmarc = "bob@example.com"

[outbound]
resolver = ["127.0.0.1:DNS"]
"""
WEIGHTS = {"bl.test": 10, "grey.test": 6, "mark.test": 3, "slow.test": 10, "error.test": 10, "gone.test": 10}


def entry(client: str, zone: str) -> str:
    return ".".join(reversed(client.split("."))) + "." + zone


def make_zone() -> dict[str, dict[str, Any]]:
    zone: dict[str, dict[str, Any]] = {
        entry("127.0.0.2", name): {"A": ["127.0.0.2"]} for name in WEIGHTS if name != "gone.test"
    }
    zone |= {entry(client, "in-addr.arpa"): {"PTR": ["client.test."]} for client in ADDRESSES}
    zone |= {
        entry(LISTED, "bl.test"): {"A": ["127.0.0.4"], "TXT": ['"spam\\013\\010250 2.0.0 OK \\027[31m<script>"']},
        entry(LISTED, "in-addr.arpa"): {"PTR": ["evil\\013\\010250.test."]},
        entry(GREY, "grey.test"): {"A": ["127.0.0.2"]},
        entry(POSTFIX, "grey.test"): {"A": ["127.0.0.2"]},
        entry(OTHER, "grey.test"): {"A": ["127.0.0.2"]},
        entry(FRIEND, "grey.test"): {"A": ["127.0.0.2"]},
        entry(FAR, "grey.test"): {"A": ["127.0.0.2"]},
        entry(MARKED, "mark.test"): {"A": ["127.0.0.2"]},
        entry(SLOW, "slow.test"): {"A": "TIMEOUT"},
        entry(ERROR, "error.test"): {"A": ["127.255.255.254"]},
        "client.test": {"A": list(ADDRESSES)},
        "plain.test": {"A": ["192.0.2.1"]},
        "postfix.test": {"A": [POSTFIX]},
        "big.test": {"TXT": ['"v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/24 -all"']},
        "friend.test": {"TXT": [f'"v=spf1 ip4:{FRIEND} -all"']},
        "good.example": {"TXT": [f'"v=spf1 ip4:{CLEAN} -all"']},
        "_dmarc.good.example": {"TXT": ['"v=DMARC1; p=none"']},
        "_dmarc.evil.test": {"TXT": ['"v=DMARC1; p=none"']},
        "sel._domainkey.good.example": {"TXT": [" ".join(f'"{public_record(KEY)[i : i + 255]}"' for i in (0, 255))]},
    }
    return zone


class Office(NamedTuple):
    """The relay, the zone behind the resolver, and the network that they are in."""

    relay: RunningRelay
    dns: NameServer
    network: Network


@contextmanager
def office(folder: Path, *, delay: str = "1 second") -> Iterator[Office]:
    """All of it. NetworkUnavailable where this process may not make networks."""
    lists = "".join(f'[[reputation.lists]]\nzone = "{zone}"\nweight = {weight}\n' for zone, weight in WEIGHTS.items())
    with Network() as network, network.inside(), ExitStack() as stack:
        for address in ADDRESSES:
            subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
        dns = stack.enter_context(NameServer(make_zone()))
        served = ("test", "example", "100.51.198.in-addr.arpa", "113.0.203.in-addr.arpa")
        resolver = stack.enter_context(Unbound(folder / "unbound", dict.fromkeys(served, dns.port)))
        config = CONFIG.replace("LISTS", lists).replace("DELAY", delay).replace(":DNS", f":{resolver.port}")
        relay = stack.enter_context(RunningRelay(folder / "relay", BASE + config))
        yield Office(relay, dns, network)


def message(token: str, *extra: str, author: str = "x@plain.test") -> bytes:
    fields = [*extra, f"From: {author}", "To: alice@example.com", f"Subject: {token}", f"Message-ID: <{token}@test.example>"]
    return ("\r\n".join(fields) + "\r\n\r\ntext\r\n").encode()


def signed(raw: bytes) -> bytes:
    header, _, body = raw.partition(b"\r\n\r\n")
    signer = Signer([KEY], header + b"\r\n", now=time.time(), valid=86_400)
    signer.feed(body)
    return signer.finish() + raw


def send(
    relay: RunningRelay,
    client: str,
    raw: bytes,
    *,
    sender: str = "x@plain.test",
    to: str = "alice@example.com",
    helo: str = "client.test",
) -> str:
    """The last reply."""
    with smtplib.SMTP(HERE, relay.port("mx"), local_hostname=helo, timeout=30, source_address=(client, 0)) as session:
        session.ehlo()
        for answer in (session.mail(sender), session.rcpt(to)):
            if answer[0] >= 400:
                return f"{answer[0]} {answer[1].decode()}"
        try:
            code, text = session.data(raw)
        except smtplib.SMTPDataError as error:
            code, text = (
                error.smtp_code,
                bytes(error.smtp_error, "ascii") if isinstance(error.smtp_error, str) else error.smtp_error,
            )
        return f"{code} {text.decode()}"
