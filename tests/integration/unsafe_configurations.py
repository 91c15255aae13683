"""The table of configurations that must never run: what is changed in a safe one, and what must be said about it."""

from __future__ import annotations

from typing import NamedTuple

from running_support import DOMAIN, SAFE, TLS

RIGHT = """
[[rights]]
name = "printers"
networks = [NETWORKS]
listeners = ["relay"]
owner = "ops@example.com"
expires = 2099-06-30
"""
_RECIPIENTS = 'recipients = ["alice", "bob"]\n'
_SMARTHOST = '[outbound]\nsmarthost = "smtp://relay.isp.example:587"\nusername = "u"\npassword_file = "secret"\n'
_ADDRESS = '"198.51.100.7"'


class Unsafe(NamedTuple):
    """``line``: a text in the line that must be named. ``words``: a part of the sentence that no other case has."""

    config: str
    status: int
    key: str
    line: str
    words: str


def right(networks: str, extra: str = "") -> str:
    """The safe configuration with one right."""
    return SAFE + RIGHT.replace("NETWORKS", networks) + extra


def singles(count: int) -> str:
    """So many single addresses, as TOML."""
    return ", ".join(f'"198.51.{100 + number // 256}.{number % 256}"' for number in range(count))


def _network(networks: str, words: str, extra: str = "") -> Unsafe:
    return Unsafe(right(networks, extra), 1, "rights.printers.networks", "networks = ", words)


def _with_alias(alias: str) -> str:
    return SAFE.replace(_RECIPIENTS, f"{_RECIPIENTS}aliases = {{ {alias} }}\n")


UNSAFE: dict[str, Unsafe] = {
    # The networks of rights
    "everybody by IPv4": _network('"0.0.0.0/0"', "covers 0.0.0.0/0, every IPv4 address: that is an open relay; list the"),
    "everybody, with reasons": _network('"0.0.0.0/0"', "covers 0.0.0.0/0", 'wide = "we trust all"\nmasked = "yes"\n'),
    "everybody by IPv6": _network('"::/0"', "covers ::/0, every IPv6 address"),
    "everybody, mapped": _network('"::ffff:0.0.0.0/96"', "0.0.0.0/0, every IPv4"),
    "two /24": _network('"198.51.100.0/24", "203.0.113.0/24"', "cover 512 IPv4 addresses on listener relay, more than one /24"),
    "257 single addresses": _network(singles(257), "the rights printers cover 257 IPv4 addresses on listener relay"),
    "two rights together": Unsafe(
        right('"198.51.100.0/24"') + RIGHT.replace("NETWORKS", '"203.0.113.9"').replace("printers", "scanners"),
        *(1, "rights.printers.networks", "198.51.100.0/24", "the rights printers, scanners cover 257"),
    ),
    "an IPv6 /63": _network('"2001:db8::/63"', "cover more IPv6 addresses on listener relay than one /64"),
    "two IPv6 /64": _network('"2001:db8:1::/64", "2001:db8:2::/64"', "more IPv6 addresses on listener relay"),
    "loopback": _network('"127.0.0.1"', "covers loopback (127.0.0.1/32), where every program"),
    "loopback by IPv6": _network('"::1"', "covers loopback (::1/128)"),
    "a container gateway": _network('"172.17.0.0/28"', "covers the container gateway 172.17.0.1"),
    "NAT64": _network('"64:ff9b::c633:6407"', "inside NAT64 (64:ff9b::/96)"),
    "6to4": _network('"2002:c633:6407::/64"', "inside 6to4 (2002::/16)"),
    "Teredo": _network('"2001:0:c633:6407::/64"', "inside Teredo (2001::/32)"),
    # The rest of a right
    "a public network without owner": Unsafe(
        right(_ADDRESS).replace('owner = "ops@example.com"\nexpires', "expires"),
        *(2, "rights.printers.owner", "[[rights]]", 'is missing: add owner = "ops@example.com"'),
    ),
    "an empty owner": Unsafe(
        right(_ADDRESS).replace('owner = "ops@example.com"\nexpires', 'owner = " "\nexpires'),
        *(2, "rights.printers.owner", "owner = ", "is empty: name who vouches for this"),
    ),
    "a right for ever": Unsafe(
        right(_ADDRESS).replace("expires = 2099-06-30\n", ""),
        *(2, "rights.printers.expires", "[[rights]]", "is missing: add expires = "),
    ),
    "a right on an mx listener": Unsafe(
        right(_ADDRESS).replace('listeners = ["relay"]', 'listeners = ["mx"]'),
        *(1, "rights.printers.listeners", 'listeners = ["mx"]', "the listener mx of role mx: a right needs role relay"),
    ),
    "a right on a listener that is not there": Unsafe(
        right(_ADDRESS).replace('listeners = ["relay"]', 'listeners = ["relais"]'),
        *(2, "rights.printers.listeners[0]", '["relais"]', 'no listener "relais" (did you mean "relay"?)'),
    ),
    "a pattern with a star": Unsafe(
        right(_ADDRESS, 'senders = ["*@example.com"]\n'),
        *(2, "rights.printers.senders[0]", "senders = ", 'has a star: write "@example.com"'),
    ),
    "two rights of one name": Unsafe(
        right(_ADDRESS) + RIGHT.replace("NETWORKS", '"198.51.100.8"'),
        *(2, "rights.printers.name", "", 'there is another right "printers" on line'),
    ),
    # Domains and aliases
    "a wildcard domain": Unsafe(
        SAFE.replace('[domains."example.com"]', '[domains."*.example.com"]'),
        *(1, 'domains."*.example.com"', "[domains.", "is a wildcard: every name below it would count"),
    ),
    "a public suffix": Unsafe(
        SAFE.replace('[domains."example.com"]', '[domains."co.uk"]').replace("alice@example.com", "ops@other.example"),
        *(1, 'domains."co.uk"', "[domains.", "co.uk is a public suffix"),
    ),
    "a domain that is ours and relayed to": Unsafe(
        SAFE
        + '[relay_domains."EXAMPLE.com"]\nroute = "smtp://10.0.0.1"\nrecipients = ["x"]\nowner = "o"\nexpires = 2099-01-01\n',
        *(2, 'relay_domains."EXAMPLE.com"', "[relay_domains.", "a domain is ours or relayed to, and only once"),
    ),
    "a relay domain without owner": Unsafe(
        SAFE + '[relay_domains."branch.example"]\nroute = "smtp://10.0.0.1:25"\nrecipients = ["x"]\nexpires = 2099-01-01\n',
        *(2, 'relay_domains."branch.example".owner', "[relay_domains.", "is missing: add owner ="),
    ),
    "an alias abroad": Unsafe(
        _with_alias('sales = ["boss@freemail.example"]'),
        *(1, 'domains."example.com".aliases.sales[0]', "aliases = ", "boss@freemail.example"),
    ),
    "a catch-all abroad": Unsafe(
        _with_alias('"*" = ["all@freemail.example"]'),
        *(1, 'domains."example.com".aliases."*"[0]', "aliases = ", "all@freemail.example"),
    ),
    "a catch-all behind a call-out": Unsafe(
        _with_alias('"*" = ["alice"]')
        .replace(_RECIPIENTS, 'recipients = "callout"\n')
        .replace("maildir:data/mail", "lmtp://127.0.0.1:24"),
        *(1, 'domains."example.com".aliases."*"', "aliases = ", "has a catch-all and asks its next hop"),
    ),
    "aliases in a circle": Unsafe(
        _with_alias('sales = ["shop"], shop = ["sales"]'),
        *(2, 'domains."example.com".aliases.sales', "aliases = ", "leads only to itself: name a mailbox"),
    ),
    "an alias to nobody": Unsafe(
        _with_alias('sales = ["carol"]'),
        *(2, 'domains."example.com".aliases.sales[0]', "aliases = ", '"carol" is neither a recipient nor an alias'),
    ),
    # The server
    "logins without TLS": Unsafe(
        SAFE.replace(TLS, ""),
        *(1, "listeners.submission.role", 'role = "submission"', "passwords are only taken under TLS: add [tls]"),
    ),
    "a proxy at every address": Unsafe(
        SAFE.replace('role = "relay"\n', 'role = "relay"\nproxies = ["0.0.0.0/0"]\n'),
        *(1, "listeners.relay.proxies", "proxies = ", "a proxy may not be trusted from everywhere"),
    ),
    "a password over TLS unverified": Unsafe(
        SAFE + _SMARTHOST,
        *(1, "outbound.username", "username = ", 'only to a server whose name was verified: add tls = "verify"'),
    ),
    "a password over TLS of any name": Unsafe(
        SAFE + _SMARTHOST + 'tls = "required"\n',
        *(1, "outbound.tls", "tls = ", "a password goes only to a server whose name was verified"),
    ),
    "a host name that everybody has": Unsafe(
        SAFE.replace('"relay.example.com"', '"localhost"'),
        *(1, "hostname", "hostname = ", "the host name localhost means something else on every machine"),
    ),
    "alerts to nobody": Unsafe(
        SAFE.replace('to = ["alice@example.com"]', 'to = ["carol@example.com"]'),
        *(1, "alerts.to", "to = ", "alerts go to 'carol@example.com', which is no mailbox here"),
    ),
    "two listeners of one name": Unsafe(
        SAFE.replace('name = "relay"', 'name = "mx"'),
        *(2, "listeners.mx.name", "", 'there is another listener "mx" on line'),
    ),
    "two listeners at one address": Unsafe(
        SAFE.replace(":RELAY", ":MX"),
        *(2, "listeners.relay.address", "address = ", 'is taken by listener "mx"'),
    ),
    # What is no configuration
    "an unknown key": Unsafe(
        "relay_everyone = true\n" + SAFE,
        *(2, "relay_everyone", "relay_everyone", "is no known key; known here: hostname"),
    ),
    "a wrong type": Unsafe(
        SAFE.replace(_RECIPIENTS, "recipients = 5\n"),
        *(2, 'domains."example.com".recipients', "recipients = 5", "not a whole number (5)"),
    ),
    "malformed TOML": Unsafe(
        SAFE.replace('role = "mx"', "role = mx"),
        *(2, "", "role = mx", "is not TOML, column 8"),
    ),
    "a table given twice": Unsafe(
        SAFE + DOMAIN,
        *(2, "", "", "the table is given twice; put its keys together"),
    ),
    "an empty file": Unsafe("", *(2, "hostname", "", "is missing: add hostname =")),
    "a user who is not there": Unsafe(
        'user = "nobody-of-here"\n' + SAFE,
        *(2, "user", "user = ", "there is no user 'nobody-of-here' on this machine"),
    ),
    # Files that it names
    "no key file": Unsafe(
        SAFE.replace('"key.pem"', '"lost.pem"'),
        *(2, "tls.key", "key = ", "lost.pem (a relative path is relative to the configuration)"),
    ),
    "an empty key file": Unsafe(
        SAFE.replace('"key.pem"', '"empty.pem"'),
        *(2, "tls.key", "key = ", "empty.pem is empty"),
    ),
    "a directory for a key": Unsafe(
        SAFE.replace('"key.pem"', '"."'),
        *(2, "tls.key", "key = ", "cannot be read: Is a directory"),
    ),
    "a key that is none": Unsafe(
        SAFE.replace('"key.pem"', '"secret"'),
        *(2, "tls.certificate", "certificate = ", "secret: not a usable certificate chain and its private key in PEM"),
    ),
    "the key of another certificate": Unsafe(
        SAFE.replace('"key.pem"', '"other-key.pem"'),
        *(2, "tls.certificate", "certificate = ", "other-key.pem: not a usable certificate chain"),
    ),
    "a data directory that is a file": Unsafe(
        SAFE.replace('data_dir = "data"', 'data_dir = "secret"'),
        *(2, "data_dir", "data_dir = ", "secret is a file, not a directory"),
    ),
    "a smarthost password that is not there": Unsafe(
        SAFE + _SMARTHOST.replace('"secret"', '"lost.secret"') + 'tls = "verify"\n',
        *(2, "outbound.password_file", "password_file = ", "lost.secret (a relative"),
    ),
}

SAFE_ONES: dict[str, str] = {
    "nothing special": SAFE,
    "256 single addresses": right(singles(256)),
    "one IPv4 /24": right('"198.51.100.0/24"'),
    "a /24 in two rights that overlap": right('"198.51.100.0/24"')
    + RIGHT.replace("NETWORKS", '"198.51.100.0/25"').replace("printers", "scanners"),
    "one IPv6 /64": right('"2001:db8:1::/64"'),
    "two /24, and why": right('"198.51.100.0/24", "203.0.113.0/24"', 'wide = "both floors"\n'),
    "loopback, and why": right('"127.0.0.1"', 'masked = "the monitoring agent"\n'),
    "a container gateway, and why": right('"172.17.0.1"', 'masked = "one container, ours"\n'),
}
