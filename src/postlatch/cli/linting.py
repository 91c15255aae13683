"""The command that reads other servers' configurations."""

from __future__ import annotations

from postlatch.cli.command import Argument, Command, Kind

# What the members of the lists in results hold, as ``ROWS`` in the catalogue.
LINT_ROWS = {"findings": ("id", "severity", "file", "line", "message", "why", "fix")}

KINDS = ("postfix", "exim", "sendmail", "opensmtpd", "exchange", "haraka", "hmailserver", "compose")
_FORMATS = ("text", "json", "html", "sarif", "junit")

LINT = Command(
    "lint",
    "Who could relay by another server's configuration, and which line to change? Nothing of it is changed.",
    (
        Argument(
            "kind",
            Kind.CHOICE,
            "The server, or compose for compose and Kubernetes files.",
            metavar="KIND",
            required=True,
            choices=KINDS,
        ),
        Argument(
            "path", Kind.PATH, "Its configuration: the file, or the directory for postfix.", metavar="PATH", required=True
        ),
        Argument("client", Kind.ADDRESS, "Ask for this client alone.", "--client", "IP"),
        Argument("fix", Kind.PATH, "Write the changes as a patch into this new file (postfix).", "--fix", "FILE"),
        Argument("format", Kind.CHOICE, "How the result is printed.", "--format", choices=_FORMATS, default="text"),
    ),
    ("verdict", "can_relay", "findings", "patch", "lines"),
    examples=(
        "postlatch lint postfix /etc/postfix",
        "postlatch lint postfix /etc/postfix --client 198.51.100.7",
        "postlatch lint compose docker-compose.yml --format sarif > postlatch.sarif",
    ),
)
