"""The command that reads what a mail domain shows to everybody."""

from __future__ import annotations

from postlatch.cli.command import Argument, Command, Kind

_FINDING = ("id", "severity", "message", "why", "fix")

# What the members of the lists in results hold, as ``ROWS`` in the catalogue.
POSTURE_ROWS = {"checks": ("id", "title", "state", "detail", "findings"), "first": _FINDING}

POSTURE = Command(
    "audit.posture",
    "How does a mail domain stand: SPF, DKIM, DMARC, MTA-STS, DANE, DNSSEC, TLS, certificates, block lists? It sends no mail.",
    (
        Argument("domain", Kind.DOMAIN, "The domain, as in addresses.", metavar="DOMAIN", required=True),
        Argument(
            "resolver",
            Kind.TEXT,
            "Ask this name server; for DANE and DNSSEC one that validates.",
            "--resolver",
            "ADDRESS[:PORT]",
        ),
        Argument(
            "selector", Kind.TEXT, "A DKIM selector of the domain (default: common ones).", "--selector", "NAME", many=True
        ),
        Argument("dnsbl", Kind.DOMAIN, "Ask this block list (default: a small set).", "--dnsbl", "ZONE", many=True),
        Argument("port", Kind.COUNT, "Look at TLS on this port too, beside 25, 465 and 587.", "--port", "N", many=True),
        Argument("format", Kind.CHOICE, "How the result is printed.", "--format", choices=("text", "html"), default="text"),
        Argument("no_connect", Kind.FLAG, "Only ask the DNS.", "--no-connect"),
        Argument("private", Kind.FLAG, "Connect to private addresses too: a laboratory of your own.", "--private"),
        Argument("time_limit", Kind.DURATION, "How long all of it may take. Default: 60 seconds.", "--time-limit", "DURATION"),
    ),
    ("domain", "grade", "rule", "first", "checks", "seconds", "lines"),
    examples=(
        "postlatch audit posture example.com",
        "postlatch audit posture example.com --selector mail2026 --dnsbl zen.spamhaus.org --resolver 127.0.0.1",
        "postlatch audit posture example.com --no-connect --json",
        "postlatch audit posture example.com --format html > posture.html",
    ),
)
