"""Every unsafe configuration is refused, each with a sentence of its own that says what would be right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from policy_samples import ACCOUNTS, BEFORE, LATER, NOW, addr, local, relayed, right, snapshot

from postlatch.model.envelope import Role
from postlatch.policy.danger import CHECKS, Danger, DangerContext, dangers
from postlatch.policy.snapshot import Account, Listener, Snapshot

SUFFIXES = {"com", "co.uk", "example", "github.io"}


def context(**changes: object) -> DangerContext:
    """A safe configuration around the snapshot, with parts of it changed."""
    safe = DangerContext(
        now=NOW,
        is_public_suffix=SUFFIXES.__contains__,
        tls_certificate=True,
        smarthost_username=True,
        smarthost_tls="verify",
        listener_addresses={
            "mx": ("0.0.0.0:25", "[::]:25"),
            "relay": ("10.0.3.1:2525",),
            "a": ("127.0.0.1:0",),
            "b": ("127.0.0.1:0",),
        },
        alert_recipients=(addr("alice@example.com"), addr("ops@elsewhere.example"), addr("x@callout.example")),
    )
    return replace(safe, **changes)  # type: ignore[arg-type]


def safe(**changes: object) -> Snapshot:
    """A snapshot without a danger, with parts of it changed."""
    base: dict[str, object] = {
        "locals_": [local(), local("callout.example", None)],
        "relayed_": [relayed("branch.example", None)],
        "rights": [right("printers", ["10.0.3.0/28"], ["@example.com", "a@b.example", "<>"])],
        "accounts": ACCOUNTS,
    }
    return snapshot(**{**base, **changes})  # type: ignore[arg-type]


def found(snap: Snapshot, around: DangerContext | None = None) -> list[Danger]:
    return dangers(snap, around or context())


def test_a_safe_configuration_has_no_danger() -> None:
    assert found(safe()) == []
    assert found(safe(locals_=[], relayed_=[], rights=[], accounts=[])) == []


def one(*networks: str, **rest: object) -> Snapshot:
    return safe(rights=[replace(right("r", networks), **rest)])  # type: ignore[arg-type]


RIGHT_DANGERS: list[tuple[Callable[[], Snapshot], str, str]] = [
    (
        lambda: one("0.0.0.0/0", wide="w", masked="m"),
        "rights.r.networks",
        "0.0.0.0/0, every IPv4 address: that is an open relay",
    ),
    (lambda: one("0.0.0.0/1", "128.0.0.0/1", wide="w", masked="m"), "rights.r.networks", "every IPv4 address"),
    (lambda: one("::/0", wide="w", masked="m"), "rights.r.networks", "::/0, every IPv6 address: that is an open relay"),
    (lambda: one("192.168.0.0/23"), "rights.r.networks", "512 IPv4 addresses on listener relay, more than one /24"),
    (lambda: one("192.168.0.0/24", "192.168.4.4/32"), "rights.r.networks", "257 IPv4 addresses"),
    (lambda: one("fd00:1::/63"), "rights.r.networks", "more IPv6 addresses on listener relay than one /64"),
    (
        lambda: safe(rights=[right(f"r{n}", [f"192.168.{n}.0/25"]) for n in range(3)]),
        "rights.r0.networks",
        "the rights r0, r1, r2 cover 384 IPv4 addresses",
    ),
    (lambda: one("203.0.113.0/28", owner=" "), "rights.r.owner", "covers the public network 203.0.113.0/28 and has no owner"),
    (lambda: one("::ffff:8.8.8.8/128", owner=""), "rights.r.owner", "covers the public network 8.8.8.8/32 and has no owner"),
    (lambda: one("10.0.3.0/28", owner=""), "rights.r.owner", "the right r has no owner: write owner"),
    (lambda: one("127.0.0.1/32"), "rights.r.networks", "covers loopback (127.0.0.1/32)"),
    (lambda: one("::1/128"), "rights.r.networks", "covers loopback (::1/128)"),
    (lambda: one("::ffff:127.0.0.1/128"), "rights.r.networks", "covers loopback (127.0.0.1/32)"),
    (lambda: one("172.17.0.0/24"), "rights.r.networks", "covers the container gateway 172.17.0.1 (Docker's docker0)"),
    (lambda: one("172.23.0.1/32"), "rights.r.networks", "container gateway 172.23.0.1"),
    (lambda: one("10.88.0.0/24"), "rights.r.networks", "container gateway 10.88.0.1 (Podman)"),
    (lambda: one("10.0.2.0/28"), "rights.r.networks", "container gateway 10.0.2.2 (slirp4netns"),
    (lambda: one("192.168.65.1/32"), "rights.r.networks", "container gateway 192.168.65.1 (Docker Desktop)"),
    (lambda: one("fe80::1/128"), "rights.r.networks", "container gateway fe80::1"),
    (lambda: one("64:ff9b::a00:300/124"), "rights.r.networks", "inside NAT64 (64:ff9b::/96)"),
    (lambda: one("64:ff9b:1::/64"), "rights.r.networks", "inside local-use NAT64"),
    (lambda: one("2002:c000:201::/64"), "rights.r.networks", "inside 6to4 (2002::/16)"),
    (lambda: one("2001:0:1::/64"), "rights.r.networks", "inside Teredo (2001::/32)"),
    (lambda: one("2001::/16", wide="w"), "rights.r.networks", "inside Teredo"),
    (lambda: one("10.0.3.0/28", expires=float("inf")), "rights.r.expires", "the right r never expires"),
    (lambda: one("10.0.3.0/28", listeners=frozenset()), "rights.r.listeners", "names no listener"),
    (
        lambda: one("10.0.3.0/28", listeners=frozenset({"smtp"})),
        "rights.r.listeners",
        "the listener smtp, which does not exist",
    ),
    (lambda: one("10.0.3.0/28", listeners=frozenset({"mx"})), "rights.r.listeners", "the listener mx of role mx"),
    (one, "rights.r.networks", "lists no network"),
    (lambda: safe(rights=[right("r", ["10.0.3.0/28"]), right("r", ["10.0.3.0/28"])]), "rights.r", "two rights are named r"),
    (lambda: safe(rights=[right("", ["10.0.3.0/28"])]), "rights", "a right has no name"),
    (lambda: one("10.0.3.0/28", senders=("*@example.com",)), "rights.r.senders", "a pattern has no wildcard"),
    (lambda: one("10.0.3.0/28", senders=("example.com",)), "rights.r.senders", "neither ADDRESS nor @DOMAIN"),
    (lambda: one("10.0.3.0/28", senders=("@",)), "rights.r.senders", "neither ADDRESS nor @DOMAIN"),
    (lambda: one("10.0.3.0/28", senders=("@b\u00fccher.example",)), "rights.r.senders", "neither ADDRESS nor @DOMAIN"),
    (lambda: one("10.0.3.0/28", recipients=("<>",)), "rights.r.recipients", "neither ADDRESS nor @DOMAIN"),
    (lambda: safe(accounts=[Account("a", frozenset({"*"}))]), "accounts.a.send_as", "the account a lists '*'"),
]

DOMAIN_DANGERS: list[tuple[Callable[[], Snapshot], str, str]] = [
    (lambda: safe(locals_=[local("*.example.com")]), 'domains."*.example.com"', "has a wildcard"),
    (lambda: safe(relayed_=[relayed("*", None)]), 'relay_domains."*"', "has a wildcard"),
    (lambda: safe(locals_=[local(".example.com")]), 'domains.".example.com"', "is not a domain name"),
    (lambda: safe(locals_=[local("Example.com")]), 'domains."Example.com"', "is compared as example.com"),
    (lambda: safe(locals_=[local("co.uk")]), 'domains."co.uk"', "co.uk is a public suffix"),
    (lambda: safe(relayed_=[relayed("com", None)]), "relay_domains.com", "com is a public suffix"),
    (lambda: safe(relayed_=[relayed("example.com", None)]), 'relay_domains."example.com"', "in domains and in relay_domains"),
    (
        lambda: safe(locals_=[local("example.com"), local("EXAMPLE.com")]),
        'domains."example.com"',
        "configured 2 times in different spellings",
    ),
    (lambda: safe(relayed_=[relayed("b.example", None, owner="")]), 'relay_domains."b.example".owner', "has no owner"),
    (lambda: safe(relayed_=[relayed("b.example", None, float("inf"))]), 'relay_domains."b.example".expires', "never expires"),
    (
        lambda: safe(locals_=[local(info="x@elsewhere.example")]),
        'domains."example.com".aliases.info',
        "leads to 'x@elsewhere.example', outside our domains",
    ),
    (lambda: safe(locals_=[local(info="x@branch.example")]), 'domains."example.com".aliases.info', "in a relay domain"),
    (lambda: safe(locals_=[local(info="nobody@example.com")]), 'domains."example.com".aliases.info', "no mailbox or alias"),
    (
        lambda: safe(locals_=[local(a="b@example.com", b="a@example.com")]),
        'domains."example.com".aliases.a',
        "the alias a of example.com only leads back to itself",
    ),
    (lambda: safe(locals_=[local(info="")]), 'domains."example.com".aliases.info', "only leads back to itself"),
    (
        lambda: safe(locals_=[local(any="x@elsewhere.example")]),
        'domains."example.com".aliases."*"',
        "the catch-all of example.com leads to 'x@elsewhere.example'",
    ),
    (
        lambda: safe(locals_=[local(), local("c.example", None, any="alice@example.com")]),
        'domains."c.example".aliases."*"',
        "every name would be known",
    ),
]


@pytest.mark.parametrize(("make", "key", "sentence"), RIGHT_DANGERS + DOMAIN_DANGERS)
def test_a_danger_in_rights_and_domains_is_named(make: Callable[[], Snapshot], key: str, sentence: str) -> None:
    matching = [danger for danger in found(make()) if sentence in danger.message]
    assert matching
    assert matching[0].key == key
    assert matching[0].fatal_at_start


def no_tls(listener: str) -> Snapshot:
    base = safe()
    role = Role(listener)
    return replace(base, listeners={**base.listeners, listener: Listener(listener, role, tls=False)})


SERVER_DANGERS: list[tuple[Callable[[], Snapshot], DangerContext, str, str]] = [
    (safe, context(tls_certificate=False), "listeners.submission.role", "the listener submission asks for passwords"),
    (safe, context(tls_certificate=False), "listeners.submissions.role", "the listener submissions asks for passwords"),
    (lambda: no_tls("submission"), context(), "listeners.submission.role", "has no TLS"),
    (safe, context(smarthost_tls="required"), "outbound.username", "over TLS that is not verified"),
    (safe, context(smarthost_tls=""), "outbound.username", "over TLS that is not verified"),
    (safe, context(proxies={"mx": (ip_network("0.0.0.0/0"),)}), "listeners.mx.proxies", "trusts a proxy at every address"),
    (safe, context(proxies={"mx": (ip_network("::/0"),)}), "listeners.mx.proxies", "trusts a proxy at every address"),
    (
        safe,
        context(proxies={"mx": (ip_network("0.0.0.0/1"), ip_network("128.0.0.0/1"))}),
        "listeners.mx.proxies",
        "trusts a proxy at every address",
    ),
    (
        safe,
        context(listener_addresses={"mx": ("0.0.0.0:25",), "relay": ("0.0.0.0:25",)}),
        "listeners.relay.address",
        "the listeners mx and relay are both at 0.0.0.0:25",
    ),
    (
        safe,
        context(container_gateways=frozenset({ip_address("10.0.3.1")})),
        "rights.printers.networks",
        "container gateway 10.0.3.1 (a bridge of this host)",
    ),
    (safe, context(alert_recipients=(addr("nobody@example.com"),)), "alerts.to", "no mailbox here"),
    (lambda: safe(hostname="localhost"), context(), "hostname", "means something else on every machine"),
    (lambda: safe(hostname="mail"), context(), "hostname", "means something else on every machine"),
    (lambda: safe(hostname="localhost.localdomain"), context(), "hostname", "means something else on every machine"),
    (lambda: safe(hostname="mx.example.com."), context(), "hostname", "is not a domain name"),
    (safe, context(domain_names=("Example.com", "example.com")), 'domains."example.com"', "configured 2 times"),
]


@pytest.mark.parametrize(("make", "around", "key", "sentence"), SERVER_DANGERS)
def test_a_danger_around_the_policy_is_named(
    make: Callable[[], Snapshot], around: DangerContext, key: str, sentence: str
) -> None:
    matching = [danger for danger in found(make(), around) if sentence in danger.message and danger.key == key]
    assert matching
    assert matching[0].fatal_at_start


def test_what_has_lapsed_keeps_no_server_down() -> None:
    lapsed = found(safe(rights=[right("r", ["10.0.3.0/28"], expires=NOW)], relayed_=[relayed("b.example", None, BEFORE)]))
    assert [(danger.key, danger.fatal_at_start) for danger in lapsed] == [
        ('relay_domains."b.example".expires', False),
        ("rights.r.expires", False),
    ]
    assert "2025-12-31T00:00:00Z" in lapsed[0].message


SAFE = [
    lambda: one("10.0.0.0/8", wide="why", masked="why"),
    lambda: one("2001:db8::/32", wide="why"),
    lambda: one("127.0.0.1/32", "172.17.0.1/32", "::1/128", masked="why"),
    lambda: one("192.168.0.0/24", "fd00::/64"),
    lambda: one("192.168.0.0/24", "192.168.0.128/25"),
    lambda: safe(locals_=[local(alice="alice@example.com bob@example.com", info="info2@example.com", info2="bob@example.com")]),
    lambda: safe(locals_=[local(), local("callout.example", None, x="y@callout.example", any2="alice+tag@example.com")]),
    lambda: safe(locals_=[local(any="postmaster@example.com")]),
    lambda: safe(rights=[right("a", ["192.168.0.0/24"]), right("b", ["192.168.0.0/24"], expires=LATER)]),
]


@pytest.mark.parametrize("make", SAFE)
def test_what_is_explained_in_writing_or_harmless_is_no_danger(make: Callable[[], Snapshot]) -> None:
    assert found(make()) == []


def test_each_danger_has_a_sentence_of_its_own() -> None:
    kinds = {sentence for _, _, sentence in RIGHT_DANGERS + DOMAIN_DANGERS} | {row[-1] for row in SERVER_DANGERS}
    messages = [danger.message for make, _, _ in RIGHT_DANGERS + DOMAIN_DANGERS for danger in found(make())]
    assert len(kinds) > 40
    assert all(": " in message or "which does not exist" in message for message in messages if "neither ADDRESS" not in message)


def test_a_danger_does_not_carry_raw_text_of_the_configuration() -> None:
    snap = safe(locals_=[local("evil\x1b[31m\n.example")], accounts=[Account("a", frozenset({"x\ny"}))])
    for danger in found(snap):
        assert danger.message.isprintable()


def test_every_check_is_of_one_shape_and_says_what_for() -> None:
    for check in CHECKS:
        assert check.__doc__
        assert list(check(safe(), context())) == []
