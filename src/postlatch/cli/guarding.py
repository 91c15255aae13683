"""The commands against those who break in: bans, and the firewall that carries them out."""

from __future__ import annotations

from postlatch.cli.command import Argument, Command, Kind, Way

# What the members of the lists in results hold, as ``ROWS`` in the catalogue.
GUARD_ROWS = {
    "bans": ("network", "until", "why", "since", "kind", "strikes"),
    "not_taken": ("line", "why"),
}

_NETWORK = Argument("network", Kind.NETWORK, "An address, or ADDRESS/LENGTH.", metavar="NETWORK", required=True)
_WHY = Argument("why", Kind.TEXT, "The reason, for the journal and other operators.", "--why", "TEXT")
_FORMATS = ("plain", "fail2ban", "nft", "json")  # those of app/ban_files.py; a test compares them

GUARDING: tuple[Command, ...] = (
    Command(
        "ban.add",
        "Ban an address or network, and end its sessions.",
        (
            _NETWORK,
            Argument("seconds", Kind.DURATION, 'How long, like "2 hours". Default: until it is removed.', "--for", "DURATION"),
            _WHY,
        ),
        ("network", "until"),
    ),
    Command("ban.list", "Show the bans in force.", result=("bans",)),
    Command("ban.remove", "Lift a ban, and forget that there was one.", (_NETWORK,), ("network",)),
    Command(
        "ban.export",
        "Print the bans in force, for other programs.",
        (Argument("format", Kind.CHOICE, "How they are written.", "--format", choices=_FORMATS, default="plain"),),
        ("lines",),
        examples=("postlatch ban export --format fail2ban > bans.txt",),
    ),
    Command(
        "ban.import",
        "Ban what a list names: one address or network a line, with or without a time.",
        (
            Argument("file", Kind.TEXT, "The list; - for standard input.", metavar="FILE", required=True),
            Argument("seconds", Kind.DURATION, "How long, where a line does not say.", "--for", "DURATION"),
            _WHY,
        ),
        ("imported", "refused", "not_taken"),
        examples=("postlatch ban import banned.txt",),
    ),
    Command("firewall.run", "Keep nftables sets as the bans are, until SIGTERM; needs CAP_NET_ADMIN.", way=Way.RUN),
    Command("firewall.status", "Show what nftables holds and has dropped.", result=("active", "why", "sets", "dropped")),
    Command(
        "firewall.rules",
        "Print a ruleset for the listeners' ports and the networks of the rights, to paste.",
        (
            Argument(
                "submission",
                Kind.NETWORK,
                "Only these networks may log in (repeat). Default: all.",
                "--submission-from",
                "NETWORK",
                many=True,
            ),
        ),
        ("lines",),
        examples=("postlatch firewall rules --submission-from 10.0.0.0/8",),
    ),
)
