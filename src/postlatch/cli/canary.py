"""The command that waits for the mail of audits."""

from __future__ import annotations

from postlatch.cli.command import Argument, Command, Kind, Way

CANARY = Command(
    "audit.canary",
    "Wait for mail of an audit that runs elsewhere: takes it, tells of it, and forgets it. Relays and keeps nothing.",
    (
        Argument("listen", Kind.TEXT, "Where: HOST:PORT, as in 0.0.0.0:25 or [::]:25.", "--listen", "PLACE", required=True),
        Argument(
            "domain",
            Kind.DOMAIN,
            "Take mail for this domain and its subdomains; on loopback: any if none is named.",
            "--domain",
            "DOMAIN",
            many=True,
        ),
        Argument("record", Kind.PATH, "Append the lines to this file too, for --canary-record.", "--record", "FILE"),
    ),
    way=Way.RUN,
    examples=("postlatch audit canary --listen 0.0.0.0:25 --domain canary.example.net --record arrivals.ndjson",),
)
