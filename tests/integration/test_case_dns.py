"""Recipients whose DNS is gone, broken, hostile or a lie, with a relay that goes straight to the mail hosts by port 25."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from case_support import HERE, THERE, Networks, networks, relayed, settled

from postlatch.testing.peers.fault_proxy import DnsFaultProxy, DnsHarm
from postlatch.testing.peers.name_server import NameServer
from postlatch.testing.peers.ports import wait_until
from postlatch.testing.running import ACCOUNT, BASE, LOOPBACK_RIGHT, RunningRelay

ONLY_FOUR = BASE.replace('["127.0.0.1:0", "[::1]:0"]', '"127.0.0.1:0"')

# domain -> what its sender is told, at once, and without a connection
GONE = {
    "nowhere.example": "5.1.2",
    "null.example": "5.1.10",
    "ourselves.example": "5.4.6",
    "ouraddress.example": "5.4.6",
    "secondary.example": "5.4.6",
    "circle.example": "5.4.4",
    "mx.circle.example": "5.4.4",
    "private.example": "5.4.4",
    "linklocal.example": "5.4.4",
    "unique.example": "5.4.4",
    "mapped.example": "5.4.4",
    "nat64.example": "5.4.4",
    "implicit.example": "5.4.4",
    "aliased.example": "5.4.4",
    "[10.99.0.25]": "5.4.4",
    "[IPv6:fd99::25]": "5.4.4",
    "[IPv6:::ffff:10.99.0.25]": "5.4.4",
    # This machine, by whatever name or address: mail would come back to us.
    "loopback.example": "5.4.6",
    "loopback6.example": "5.4.6",
    "[127.0.0.1]": "5.4.6",
    f"[{HERE}]": "5.4.6",
}
BROKEN = {"SERVFAIL": "servfail.example", "REFUSED": "refused.example", "TIMEOUT": "timeout.example"}
HARMED = {harm: f"{harm.value.replace(' ', '')}.harmed.example" for harm in DnsHarm if harm is not DnsHarm.DELAY}


def mail_host(*addresses: str) -> dict[str, Any]:
    """The records of a host with these addresses."""
    return {
        "A": [address for address in addresses if ":" not in address],
        "AAAA": [address for address in addresses if ":" in address],
    }


def served_by(domain: str, *addresses: str) -> dict[str, dict[str, Any]]:
    """A domain with one mail host."""
    return {domain: {"MX": [f"10 mx.{domain}."]}, f"mx.{domain}": mail_host(*addresses)}


ZONE: dict[str, dict[str, Any]] = {
    **served_by("good.example", THERE),
    **served_by("mixed.example", "10.99.0.25", "fd99::25", THERE),
    "null.example": {"MX": ["0 ."]},
    "ourselves.example": {"MX": ["10 relay.example.com."]},
    "relay.example.com": mail_host(HERE),
    **served_by("ouraddress.example", HERE),
    "secondary.example": {"MX": ["10 relay.example.com.", "20 mx.good.example."]},
    "circle.example": {"CNAME": "square.example."},
    "square.example": {"CNAME": "circle.example."},
    "mx.circle.example": {"MX": ["10 circle.example."]},
    **served_by("private.example", "10.99.0.25"),
    **served_by("linklocal.example", "169.254.7.25"),
    **served_by("unique.example", "fd99::25"),
    **served_by("mapped.example", "::ffff:10.99.0.25"),
    **served_by("nat64.example", "64:ff9b::a63:19"),
    "implicit.example": mail_host("10.99.0.25"),
    "aliased.example": {"CNAME": "mx.private.example."},
    **served_by("loopback.example", "127.0.0.1"),
    **served_by("loopback6.example", "::1"),
    **{domain: {"MX": how} for how, domain in BROKEN.items()},
    **{name: records for domain in HARMED.values() for name, records in served_by(domain, THERE).items()},
    **served_by("late.harmed.example", THERE),
}


class Internet(NamedTuple):
    """A relay that asks our name server through a proxy."""

    relay: RunningRelay
    networks: Networks
    names: NameServer
    proxy: DnsFaultProxy


@pytest.fixture(scope="module")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    with networks() as made, made.here.inside(), NameServer(ZONE) as names, DnsFaultProxy(names.port) as proxy:
        config = ONLY_FOUR + LOOPBACK_RIGHT + f'\n[outbound]\nresolver = ["127.0.0.1:{proxy.port}"]\n'
        with RunningRelay(tmp_path_factory.mktemp("relay"), config) as relay:
            yield Internet(relay, made, names, proxy)


def reports(relay: RunningRelay) -> list[str]:
    """What alice has in her mailbox."""
    return [path.read_text("ascii", "replace") for path in relay.maildir(ACCOUNT)]


def test_what_the_dns_rules_out_comes_back_at_once_and_nobody_is_connected_to(internet: Internet) -> None:
    """The sender gets a report with the reason within a moment; no machine inside is ever touched.

    No domain, no mail (null MX), mail hosts that are this relay, aliases in a circle, and mail hosts at private, link-local or
    loopback addresses in every spelling. Something listens on port 25 at each of these addresses, and must see nothing.
    """
    relay, made = internet.relay, internet.networks
    before = made.connections
    codes = {f"someone@{domain}": code for domain, code in GONE.items()}
    for number, address in enumerate(codes):
        relayed(relay, f"gone-{number}", address)
    found = settled(relay, codes, "bounced", 90)
    assert {address: code in found[address].last_reply for address, code in codes.items()} == dict.fromkeys(codes, True)
    assert made.connections == before
    wait_until(lambda: len(reports(relay)) >= len(codes), 60, "the reports")
    text = "\n".join(reports(relay))
    for address, code in codes.items():
        assert f"Final-Recipient: rfc822; {address}\n" in text
        assert f"Status: {code}" in text


def test_the_same_witnesses_see_what_may_leave(internet: Internet) -> None:
    """Mail for a domain with a public mail host is there at once, also where its DNS names private addresses beside."""
    relay, made = internet.relay, internet.networks
    before = made.witness_there.connections
    addresses = ["one@good.example", "one@mixed.example"]
    for address in addresses:
        relayed(relay, f"to {address}", address)
    settled(relay, addresses, "delivered")
    assert {f"to {address}" for address in addresses} <= set(made.sink.subjects)
    assert made.witness_there.connections > before
    assert made.witness_here.connections == 0
    with made.here.inside(), suppress(OSError), socket.create_connection(("127.0.0.1", 25), timeout=10) as own:
        own.recv(3)
    assert made.witness_here.connections == 1  # it does see what comes


@pytest.mark.soak
def test_a_dns_that_gives_no_answer_bounces_nothing_and_the_mail_goes_when_it_is_back(internet: Internet) -> None:
    """The sender sees nothing but a delay; the queue says "the DNS gave no answer"; mail goes as soon as it does.

    Server failure, refusal, silence, and answers that are dropped, empty, cut, garbled, forged with another id, or changed.
    """
    relay, made = internet.relay, internet.networks
    internet.proxy.harms = {domain.partition(".")[0]: harm for harm, domain in HARMED.items()}
    internet.proxy.harms["late"] = DnsHarm.DELAY
    before = made.witness_there.connections
    addresses = [f"someone@{domain}" for domain in (*BROKEN.values(), *HARMED.values())]
    messages = [relayed(relay, f"later-{address}", address) for address in addresses]
    found = settled(relay, addresses, "deferred", 90)
    assert {address: "4.4.3" in found[address].last_reply for address in addresses} == dict.fromkeys(addresses, True)
    assert made.witness_there.connections == before
    relayed(relay, "late", "someone@late.harmed.example")
    settled(relay, ["someone@late.harmed.example"], "delivered")
    internet.proxy.harms = {}
    for domain in BROKEN.values():
        internet.names.zone[domain] = {"MX": ["10 mx.good.example."]}
    time.sleep(1.5)  # an answer is kept for its TTL of a second
    assert relay.run("queue", "retry", *messages).returncode == 0
    settled(relay, addresses, "delivered")
    assert not any("later-" in report for report in reports(relay))
