"""The command that tells whether anything here is out of date or known to be vulnerable."""

from __future__ import annotations

from postlatch.cli.command import Argument, Command, Kind

# What the members of the lists in results hold, as ``ROWS`` in the catalogue.
UPDATES_ROWS = {"items": ("kind", "name", "installed", "newest", "state", "security", "advisories", "fix", "note")}

UPDATES = Command(
    "updates",
    "Is anything here out of date or known to be vulnerable? Nothing is changed, and without --online nobody is asked.",
    (
        Argument("online", Kind.FLAG, "Ask the package index and OSV over the network.", "--online"),
        Argument("index", Kind.TEXT, "The package index that Postlatch came from (simple API).", "--index", "URL"),
        Argument("osv", Kind.TEXT, "Another server with the API of OSV.", "--osv", "URL", default="https://api.osv.dev"),
        Argument("refresh", Kind.FLAG, "First fetch a newer file of known faults.", "--refresh"),
        Argument("data_url", Kind.TEXT, "Where that file is.", "--data-url", "URL"),
        Argument("data", Kind.PATH, "Where it is kept; else advisories.json in data_dir.", "--data", "FILE"),
        Argument("banner", Kind.TEXT, "Judge the server that greets with this text.", "--banner", "TEXT"),
        Argument("server", Kind.TEXT, "Read this server's greeting, and judge it.", "--server", "HOST[:PORT]"),
    ),
    ("date_of_data", "age_of_data", "online", "notes", "items"),
    examples=(
        "postlatch updates",
        "postlatch updates --online --index https://packages.example/simple",
        "postlatch updates --refresh --data-url https://data.example/advisories.json",
        "postlatch updates --banner '220 mx.example.com ESMTP Exim 4.97'",
        "postlatch updates --server mx.example.com:25",
    ),
)
