"""The commands about senders: who really sent this, our own signatures, the records to publish, the reports of others."""

from __future__ import annotations

from postlatch.cli.command import Argument, Command, Kind

_CLIENT = Argument("client", Kind.ADDRESS, "The address that the mail came from.", "--client", "IP", required=True)
_HELO = Argument("helo", Kind.TEXT, "What the client said in EHLO.", "--helo", "NAME", required=True)
_MAIL_FROM = Argument(
    "mail_from", Kind.TEXT, 'The envelope sender; "<>" or empty for a bounce.', "--mail-from", "ADDRESS", required=True
)
_ZONE = Argument("zone", Kind.PATH, "Ask this zone file (JSON) instead of the DNS.", "--zone", "ZONEFILE")
_DOMAIN = Argument("domain", Kind.DOMAIN, "One of our domains.", metavar="DOMAIN", required=True)
_KEYS = ("keys",)

# What the members of the lists in results hold, as ``ROWS`` in the catalogue.
SENDER_ROWS = {
    "dkim": ("domain", "selector", "algorithm", "result", "reason", "identity", "body_hash"),
    "keys": (
        *("domain", "selector", "algorithm", "state", "created", "published_at", "active_at", "retired_at", "name", "record"),
        "next",
    ),
    "records": ("name", "type", "publish", "published", "status", "why"),
    "reports": (
        *("id", "kind", "domain", "reporter", "report_id", "begin", "end", "received_at", "messages", "passed", "failed"),
        *("verified", "author", "sources"),
    ),
}

SENDERS: tuple[Command, ...] = (
    Command(
        "verify",
        "Check who really sent a message: SPF, DKIM, ARC and DMARC, explained.",
        (
            Argument("file", Kind.PATH, "The message as it came in (RFC 5322).", metavar="FILE", required=True),
            _CLIENT,
            _HELO,
            _MAIL_FROM,
            _ZONE,
            Argument("at", Kind.TIME, "As if it were this time (RFC 3339, or a day; UTC).", "--at", "TIME"),
        ),
        ("spf", "dkim", "arc", "dmarc", "authentication_results"),
        examples=("postlatch verify message.eml --client 192.0.2.1 --helo mail.example.org --mail-from bob@example.org",),
    ),
    Command(
        "spf",
        "May this address send for this domain? With the mechanism that decided.",
        (_CLIENT, _HELO, _MAIL_FROM, _ZONE),
        ("result", "explanation", "mechanism", "lookups", "reason", "domain", "scope"),
        examples=("postlatch spf --client 192.0.2.1 --helo mail.example.org --mail-from bob@example.org",),
    ),
    Command(
        "dkim.keygen",
        "Make the keys that sign the mail of a domain; prints the records to publish.",
        (_DOMAIN,),
        _KEYS,
        examples=("postlatch dkim keygen example.com",),
    ),
    Command("dkim.list", "Show all signing keys, what to publish for them, and what comes next.", result=_KEYS),
    Command(
        "dkim.rotate",
        "Make new keys for a domain; they sign once they are seen on all its name servers.",
        (_DOMAIN,),
        _KEYS,
    ),
    Command(
        "dns",
        "Show the records to publish for a domain, what is published, and the difference.",
        (_DOMAIN, _ZONE),
        ("ok", "records", "fragment"),
        examples=("postlatch dns example.com",),
    ),
    Command(
        "reports",
        "Show what others report about our domains: DMARC and TLS.",
        (
            Argument("domain", Kind.DOMAIN, "About this domain.", "--domain", "DOMAIN"),
            Argument("kind", Kind.CHOICE, "Of this kind.", "--kind", choices=("dmarc", "tls")),
            Argument("since", Kind.TIME, "From this time on (RFC 3339, or a day; UTC).", "--since", "TIME"),
            Argument("limit", Kind.COUNT, "Show at most so many.", "--limit", "N", default=100),
        ),
        ("reports",),
    ),
)
