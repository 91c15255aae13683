"""The commands about strangers: how the relay would judge one, and who was asked to come back."""

from __future__ import annotations

from postlatch.cli.command import Argument, Command, Kind

# What the members of the lists in results hold, as ``ROWS`` in the catalogue.
STRANGER_ROWS = {
    "reasons": ("sign", "weight", "why"),
    "lists": ("zone", "about", "result", "codes", "why"),
    "entries": ("group", "sender", "recipient", "state", "first_at", "last_at", "retry_at"),
    "allowed": ("group", "successes", "last_at", "until"),
}

REPUTATION = Command(
    "reputation",
    "How would a stranger be judged? The score, with the reason of each part.",
    (
        Argument("client", Kind.ADDRESS, "The client's address.", metavar="CLIENT", required=True),
        Argument("helo", Kind.TEXT, "What it says in EHLO.", "--helo", "NAME"),
        Argument("mail_from", Kind.TEXT, "The envelope sender, for lists of domains.", "--mail-from", "ADDRESS"),
        Argument("zone", Kind.PATH, "Ask this zone file (JSON) instead of the DNS.", "--zone", "ZONEFILE"),
    ),
    ("client", "score", "action", "checked", "reasons", "lists", "seconds"),
    examples=("postlatch reputation 192.0.2.1 --helo mail.example.org",),
)

GREYLIST = (
    Command(
        "greylist.list",
        "Show who was asked to come back, and which groups are let through.",
        (Argument("limit", Kind.COUNT, "Show at most so many.", "--limit", "N", default=100),),
        ("entries", "allowed", "count"),
    ),
    Command(
        "greylist.forget",
        "Forget a group, as if it had never been seen.",
        (
            Argument(
                "group",
                Kind.TEXT,
                "As greylist list shows it: 192.0.2.0/24, or spf:example.org.",
                metavar="GROUP",
                required=True,
            ),
        ),
        ("group", "forgotten"),
        examples=("postlatch greylist forget spf:example.org",),
    ),
)
