"""Forty ways to make somebody else's server send mail, as strangers try them. Every one must be refused.

Each is (name, MAIL FROM path, RCPT TO path, HELO). ``{host}`` is the relay's name, ``{ours}`` its domain, ``{ip}`` its address,
``{away}`` a domain that is not ours. Sources: the public scanners and the mistakes of the last thirty years.
"""

from __future__ import annotations

from typing import NamedTuple


class Vector(NamedTuple):
    """One attempt. Paths are written without angle brackets."""

    name: str
    sender: str
    recipient: str
    helo: str = "spammer.example"


_AWAY = "victim@{away}"

VECTORS: tuple[Vector, ...] = (
    Vector("plain third party", "spam@{away}", _AWAY),
    Vector("two different third parties", "spam@elsewhere.test", _AWAY),
    Vector("null sender", "", _AWAY),
    Vector("sender is the relay's name", "spam@{host}", _AWAY),
    Vector("sender in our domain", "nobody@{ours}", _AWAY),
    Vector("sender is a real user of ours", "alice@{ours}", _AWAY),
    Vector("sender postmaster", "postmaster@{ours}", _AWAY),
    Vector("sender at localhost", "spam@localhost", _AWAY),
    Vector("sender without a domain", "spam", _AWAY),
    Vector("sender at our address", "spam@[{ip}]", _AWAY),
    Vector("sender at loopback", "spam@[127.0.0.1]", _AWAY),
    Vector("routed sender", "@{away}:alice@{ours}", _AWAY),
    Vector("HELO with the relay's name", "spam@{away}", _AWAY, "{host}"),
    Vector("HELO with our domain", "spam@{away}", _AWAY, "{ours}"),
    Vector("HELO localhost", "spam@{away}", _AWAY, "localhost"),
    Vector("HELO loopback", "spam@{away}", _AWAY, "[127.0.0.1]"),
    Vector("percent hack at our address", "spam@{away}", "victim%{away}@[{ip}]"),
    Vector("percent hack at our domain", "spam@{away}", "victim%{away}@{ours}"),
    Vector("double percent", "spam@{away}", "victim%{away}%{ours}@{ours}"),
    Vector("percent without a domain", "spam@{away}", "victim%{away}"),
    Vector("quoted address", "spam@{away}", '"victim@{away}"'),
    Vector("quoted percent", "spam@{away}", '"victim%{away}"'),
    Vector("two at signs", "spam@{away}", "victim@{away}@{ours}"),
    Vector("quoted address at our domain", "spam@{away}", '"victim@{away}"@{ours}'),
    Vector("trailing at sign", "spam@{away}", "victim@{away}@"),
    Vector("bang path", "spam@{away}", "{away}!victim"),
    Vector("bang path at our domain", "spam@{away}", "{away}!victim@{ours}"),
    Vector("bang and percent", "spam@{away}", "{away}!victim%{ours}@{ours}"),
    Vector("sender rewriting without a key", "spam@{away}", "SRS0=hash=tt={away}=victim@{ours}"),
    Vector("parameters inside quotes", "spam@{away}", '"victim@{away}> ORCPT=x@y"@{ours}'),
    Vector("source route", "spam@{away}", "@{ours}:victim@{away}"),
    Vector("long source route", "spam@{away}", "@{ours},@{away}:victim@{away}"),
    Vector("source route and percent", "spam@{away}", "@{ours}:victim%{away}@{ours}"),
    Vector("final dot", "spam@{away}", "victim@{away}."),
    Vector("address literal", "spam@{away}", "victim@[192.0.2.25]"),
    Vector("IPv6 literal", "spam@{away}", "victim@[IPv6:2001:db8::25]"),
    Vector("subdomain of ours", "spam@{away}", "victim@sub.{ours}"),
    Vector("our domain as a suffix", "spam@{away}", "victim@evil{ours}"),
    Vector("port in the domain", "spam@{away}", "victim@{away}:25"),
    Vector("pipe to a command", "spam@{away}", "|/bin/sh@{ours}"),
)
