"""The command about the way out: what would be done with mail for a domain."""

from __future__ import annotations

from postlatch.cli.command import Argument, Command, Kind

# What the members of the lists in results hold, as ``ROWS`` in the catalogue.
WAY_OUT_ROWS = {
    "hosts": ("host", "addresses", "used", "tls", "proof", "policy", "tlsa", "why"),
}

OUTBOUND = Command(
    "outbound",
    "What would be done with mail for this domain now? Its mail hosts, and the TLS that each must give, with reasons.",
    (
        Argument("domain", Kind.DOMAIN, "The recipients' domain.", metavar="DOMAIN", required=True),
        Argument("account", Kind.TEXT, "As if this account had sent it.", "--account", "LOGIN"),
        Argument("sender", Kind.TEXT, "As if it came from this envelope sender.", "--sender", "ADDRESS"),
    ),
    ("domain", "next_hop", "by", "source", "why", "tls", "dnssec", "mta_sts", "hosts"),
    examples=("postlatch outbound example.org",),
)
