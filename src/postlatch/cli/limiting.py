"""The commands that show and reset what limits count."""

from __future__ import annotations

from postlatch.cli.command import Argument, Command, Kind

LIMIT_SCOPES = ("account", "credential", "right", "sender_domain", "client", "network", "relay")

LIMIT_ROWS = {
    "limits": ("scope", "key", "kind", "unit", "used", "limit", "warn", "state", "retry_at", "when_reached"),
}

LIMITING = (
    Command(
        "limits.list",
        "Show how full the limits are, the fullest first; those of clients and sender domains only if they are asked for.",
        (
            Argument("account", Kind.TEXT, "Of this account and its application passwords.", "--account", "LOGIN"),
            Argument("scope", Kind.CHOICE, "Of this kind of key.", "--scope", choices=LIMIT_SCOPES),
            Argument("key", Kind.TEXT, "Of this key: a login, a right's name or an address.", "--key", "KEY"),
            Argument("limit", Kind.COUNT, "Show at most so many.", "--limit", "N", default=100),
        ),
        ("limits", "count"),
        examples=("postlatch limits list --account alice@example.com", "postlatch limits list --scope client"),
    ),
    Command(
        "limits.reset",
        "Let somebody begin at nothing again, for every limit of that key.",
        (
            Argument("scope", Kind.CHOICE, "What the key is.", metavar="SCOPE", required=True, choices=LIMIT_SCOPES),
            Argument("key", Kind.TEXT, "As limits list shows it.", metavar="KEY", required=True),
        ),
        ("scope", "key", "forgotten"),
        examples=("postlatch limits reset account alice@example.com",),
    ),
)
