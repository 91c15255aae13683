"""Recipients whose DNS is gone, broken, hostile or a lie, with a relay that goes straight to the mail hosts by port 25."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from case_support import HERE, THERE, Networks, networks, relayed
from running_support import eventually, states

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
    **served_by("mixed.example", "10.99.0.25", "127.0.0.1", THERE),
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


def last_reply(relay: RunningRelay, message: str) -> str:
    """What the queue says of the message's one recipient."""
    [recipient] = relay.json("queue", "show", message)["messages"][0]["recipients"]
    return str(recipient["last_reply"])


def test_what_the_dns_rules_out_comes_back_at_once_and_nobody_is_connected_to(internet: Internet) -> None:
    """The sender gets a report with the reason within a moment; no machine inside is ever touched.

    No domain, no mail (null MX), mail hosts that are this relay, aliases in a circle, and mail hosts at private, link-local or
    loopback addresses in every spelling. Something listens on port 25 at each of these addresses, and must see nothing.
    """
    relay, made = internet.relay, internet.networks
    before = made.connections
    messages = {domain: relayed(relay, f"gone-{n}", f"someone@{domain}") for n, domain in enumerate(GONE)}
    for domain, message in messages.items():
        eventually(lambda message=message: states(relay, message) == ["bounced"], f"{domain} to fail", 60)  # type: ignore[misc]
        assert GONE[domain] in last_reply(relay, message), domain
    assert made.connections == before
    wait_until(lambda: len(reports(relay)) >= len(GONE), 30, "the reports")
    found = "\n".join(reports(relay))
    for domain, code in GONE.items():
        assert f"Final-Recipient: rfc822; someone@{domain}" in found
        assert f"Status: {code}" in found


def test_the_same_witnesses_see_what_may_leave(internet: Internet) -> None:
    """Mail for a domain with a public mail host is there at once, also where its DNS names private addresses beside."""
    relay, made = internet.relay, internet.networks
    before = made.witness_there.connections
    for domain in ("good.example", "mixed.example"):
        message = relayed(relay, f"to {domain}", f"someone@{domain}")
        eventually(lambda message=message: states(relay, message) == ["delivered"], domain, 30)  # type: ignore[misc]
        assert f"to {domain}" in made.sink.subjects
    assert made.witness_there.connections > before
    assert made.witness_here.connections == 0
    with made.here.inside():
        internet.relay.read_log()


def test_a_dns_that_gives_no_answer_bounces_nothing_and_the_mail_goes_when_it_is_back(internet: Internet) -> None:
    """The sender sees nothing but a delay; the queue says "the DNS gave no answer"; mail goes as soon as it does.

    Server failure, refusal, silence, and answers that are dropped, empty, cut, garbled, forged with another id, or changed.
    """
    relay, made = internet.relay, internet.networks
    internet.proxy.harms = {domain.partition(".")[0]: harm for harm, domain in HARMED.items()}
    internet.proxy.harms["late"] = DnsHarm.DELAY
    before = made.connections
    domains = [*BROKEN.values(), *HARMED.values()]
    messages = {domain: relayed(relay, f"later-{domain}", f"someone@{domain}") for domain in domains}
    late = relayed(relay, "late", "someone@late.harmed.example")
    eventually(lambda: states(relay, late) == ["delivered"], "an answer that took a second", 60)
    for domain, message in messages.items():
        eventually(lambda message=message: states(relay, message) == ["deferred"], f"{domain} to wait", 90)  # type: ignore[misc]
        assert "4.4.3" in last_reply(relay, message), domain
    assert made.connections - before <= 1  # the late one
    internet.proxy.harms = {}
    for domain in BROKEN.values():
        internet.names.zone[domain] = {"MX": ["10 mx.good.example."]}
    time.sleep(1.1)  # a failure is not remembered; an answer, for its TTL of a second
    assert relay.run("queue", "retry", *messages.values()).returncode == 0
    for domain, message in messages.items():
        eventually(lambda message=message: states(relay, message) == ["delivered"], domain, 60)  # type: ignore[misc]
    assert not any("later-" in report for report in reports(relay))
