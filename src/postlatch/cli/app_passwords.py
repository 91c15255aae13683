"""The commands about application passwords."""

from __future__ import annotations

from postlatch.cli.command import Argument, Command, Kind

_LOGIN = Argument("login", Kind.TEXT, "The account.", metavar="LOGIN", required=True)
_NAME = Argument("name", Kind.TEXT, "What it is for, like printer.", metavar="NAME", required=True)

APP_PASSWORD_ROWS = {
    "app_passwords": (*("name", "state", "senders", "networks", "expires", "created", "created_by", "last_used"),),
}

APP_PASSWORDS: tuple[Command, ...] = (
    Command(
        "account.app-password.add",
        "Make an application password; it is shown once.",
        (
            _LOGIN,
            _NAME,
            Argument(
                "senders",
                Kind.TEXT,
                "It may send only as this address or @DOMAIN (repeat). Default: as all of the account's.",
                "--sender",
                "ADDRESS",
                many=True,
            ),
            Argument(
                "networks", Kind.NETWORK, "It may be used only from there (repeat). Default: anywhere.", "--network", "NETWORK",
                many=True,
            ),
            Argument("expires", Kind.DATE, "Its last day, UTC. Default: no end.", "--expires", "DATE"),
        ),
        ("login", "name", "password", "senders", "networks", "expires"),
        examples=(
            "postlatch account app-password add office@example.com printer --network 10.0.3.0/28 --sender scan@example.com",
        ),
    ),
    Command("account.app-password.list", "Show the application passwords of an account.", (_LOGIN,), ("app_passwords",)),
    Command("account.app-password.revoke", "End an application password now.", (_LOGIN, _NAME), ("login", "name")),
)  # fmt: skip
