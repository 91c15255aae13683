"""The commands about delegations."""

from __future__ import annotations

from postlatch.cli.command import Argument, Command, Kind

_LOGIN = Argument("login", Kind.TEXT, "The account that may send.", metavar="LOGIN", required=True)
_ADDRESS = Argument(
    "address", Kind.TEXT, "The address that it may send as, of a domain of ours.", metavar="ADDRESS", required=True
)

DELEGATION_ROWS = {"delegations": ("login", "address", "owner", "expires", "last_used", "state")}

DELEGATIONS: tuple[Command, ...] = (
    Command(
        "account.delegate.add",
        "Let an account send as somebody else's address until a day. It is proved before it counts.",
        (
            _LOGIN,
            _ADDRESS,
            Argument("owner", Kind.TEXT, "Who vouches for it.", "--owner", "WHO", required=True),
            Argument("expires", Kind.DATE, "Its last day, UTC.", "--expires", "DATE", required=True),
        ),
        ("login", "address", "owner", "expires"),
        examples=(
            "postlatch account delegate add bob@example.com office@example.com --owner ops@example.com --expires 2027-01-31",
        ),
    ),
    Command("account.delegate.list", "Show all delegations, also those that have ended.", result=("delegations",)),
    Command("account.delegate.revoke", "End a delegation now.", (_LOGIN, _ADDRESS), ("login", "address")),
)
