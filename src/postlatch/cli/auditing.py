"""The command that asks other servers."""

from __future__ import annotations

from postlatch.cli.command import Argument, Command, Kind

# What the members of the lists in results hold, as ``ROWS`` in the catalogue.
AUDIT_ROWS = {
    "targets": (
        *("target", "verdict", "evidence", "grade", "summary", "decide", "server", "places"),
        *("messages", "connections", "seconds", "at", "findings", "vectors"),
    ),
    "vectors": ("id", "place", "how", "stand", "evidence", "why"),
}

FORMATS = ("text", "json", "html", "sarif", "junit", "csv")

# Shared with ``audit schedule``, which asks the same again and again.
AUDIT_ARGUMENTS = (
    Argument(
        "targets",
        Kind.TEXT,
        "The server: HOST or HOST:PORT. Without a port: 25, 465, 587 and 2525, on all its addresses.",
        metavar="TARGET...",
        required=True,
        many=True,
    ),
    Argument("i_own_this", Kind.FLAG, "You run these servers, or their owner asked you.", "--i-own-this"),
    Argument("token", Kind.TEXT, "A word in their DNS or banner that says so instead.", "--token", "WORD"),
    Argument("local", Kind.TEXT, "A mailbox that exists there: it must be taken.", "--local", "ADDRESS"),
    Argument(
        "canary",
        Kind.TEXT,
        "Where relayed mail would arrive: listen:HOST:PORT, or an address of yours elsewhere.",
        "--canary",
        "WHERE",
    ),
    Argument("canary_domain", Kind.DOMAIN, "Its domain. Default: the address's, or canary.example.", "--canary-domain", "NAME"),
    Argument("canary_maildir", Kind.PATH, "The canary's mailbox is this Maildir.", "--canary-maildir", "DIR"),
    Argument("canary_imap", Kind.TEXT, "Or this one: imaps://USER@HOST/FOLDER.", "--canary-imap", "URL"),
    Argument("canary_record", Kind.PATH, "Or what postlatch audit canary --record wrote.", "--canary-record", "FILE"),
    Argument("local_maildir", Kind.PATH, "The mailbox of --local is this Maildir.", "--local-maildir", "DIR"),
    Argument("local_imap", Kind.TEXT, "Or this one: imaps://USER@HOST/FOLDER.", "--local-imap", "URL"),
    Argument("password_file", Kind.PATH, "Holds the password of the IMAP mailboxes.", "--password-file", "FILE"),
    Argument("deep", Kind.FLAG, "Ask everything everywhere: minutes, not seconds.", "--deep"),
    Argument("source", Kind.ADDRESS, "Ask from this address of this machine.", "--source", "IP"),
    Argument("helo", Kind.TEXT, "Greet by this name.", "--helo", "NAME"),
    Argument("window", Kind.DURATION, "How long a message may take to the canary.", "--window", "DURATION"),
    Argument("time_limit", Kind.DURATION, "How long the questions to one server may take.", "--time-limit", "DURATION"),
    Argument("rate", Kind.COUNT, "Connections a second. Default: 5; 50 in private networks.", "--rate", "N"),
    Argument("messages", Kind.COUNT, "The most messages to one server. Default: 60; deep 300.", "--messages", "N"),
    Argument("resolver", Kind.TEXT, "Ask this name server.", "--resolver", "ADDRESS"),
)

AUDIT = Command(
    "audit",
    "Is this mail server an open relay? Asked from outside; no message goes to anybody but you and the server's owner.",
    (
        *AUDIT_ARGUMENTS,
        Argument("dry_run", Kind.FLAG, "Print what would be said, and connect to nobody.", "--dry-run"),
        Argument("format", Kind.CHOICE, "How the result is printed.", "--format", choices=FORMATS, default="text"),
    ),
    ("targets", "lines"),
    examples=(
        "postlatch audit mail.example.com --i-own-this --local alice@example.com",
        "postlatch audit 192.0.2.25:2525 --i-own-this --canary listen:0.0.0.0:25 --canary-domain canary.example.net",
        "postlatch audit mail.example.com --i-own-this --format html > audit.html",
    ),
)
