"""The commands that look at audits over time."""

from __future__ import annotations

from postlatch.cli.auditing import AUDIT_ARGUMENTS
from postlatch.cli.command import Argument, Command, Kind, Way

_CHANGES = ("target", "what", "sentence", "id", "place", "before", "after")

# What the members of the lists in results hold, as ``ROWS`` in the catalogue.
AUDIT_HISTORY_ROWS = {"worse": _CHANGES, "better": _CHANGES, "new": _CHANGES, "gone": _CHANGES, "unsure": _CHANGES}

COMPARE = Command(
    "audit.compare",
    "What changed between two results of postlatch audit --json? Status 1 if anything is worse.",
    (
        Argument("before", Kind.PATH, "The earlier result, as --json wrote it.", metavar="BEFORE", required=True),
        Argument("after", Kind.PATH, "The later one.", metavar="AFTER", required=True),
    ),
    ("worse", "better", "new", "gone", "unsure", "same"),
    examples=("postlatch audit compare monday.json tuesday.json",),
)

SCHEDULE = Command(
    "audit.schedule",
    "Audit now and again and again, keep the results, and tell somebody when it gets worse.",
    (
        *AUDIT_ARGUMENTS,
        Argument("every", Kind.DURATION, "How often; at least a minute.", "--every", "DURATION", default="1 day"),
        Argument(
            "history",
            Kind.PATH,
            "Where the results are kept. Default: ~/.local/state/postlatch/audits.",
            "--history",
            "DIR",
        ),
        Argument("keep", Kind.COUNT, "How many results of each target are kept.", "--keep", "N", default=400),
        Argument("once", Kind.FLAG, "Audit once, for a timer; status 1 if it got worse.", "--once"),
        Argument(
            "alert_command",
            Kind.TEXT,
            "Run this when it gets worse (no shell): the difference is on its standard input, as JSON.",
            "--alert-command",
            "COMMAND",
        ),
        Argument("alert_mail", Kind.TEXT, "Mail it there, by the sendmail program.", "--alert-mail", "ADDRESS"),
        Argument("json", Kind.FLAG, "Print a line of JSON for each audit.", "--json"),
        Argument("print_systemd", Kind.FLAG, "Print a service and a timer that do this, and do nothing.", "--print-systemd"),
        Argument("print_cron", Kind.FLAG, "Print a line for a crontab that does this, and do nothing.", "--print-cron"),
    ),
    way=Way.RUN,
    examples=(
        "postlatch audit schedule mail.example.com --i-own-this --local alice@example.com --alert-mail ops@example.com",
        "postlatch audit schedule mail.example.com --i-own-this --every '12 hours' --print-systemd",
    ),
)

AUDIT_HISTORY = (COMPARE, SCHEDULE)
