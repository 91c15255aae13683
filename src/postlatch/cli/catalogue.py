"""Every command: its arguments, their types, and the fields of its result. The parser is made from this table, and the docs
are compared with it.

To the backend go JSON values under the names below: an argument that was not given is absent, a flag is present as true, a
repeated one is a list of texts.
"""

from __future__ import annotations

from postlatch.cli.app_passwords import APP_PASSWORD_ROWS, APP_PASSWORDS
from postlatch.cli.command import Argument, Command, Kind, Way
from postlatch.cli.delegations import DELEGATION_ROWS, DELEGATIONS
from postlatch.cli.guarding import GUARD_ROWS, GUARDING
from postlatch.cli.limiting import LIMIT_ROWS, LIMITING
from postlatch.cli.other_servers import OTHER_SERVER_ROWS, OTHER_SERVERS
from postlatch.cli.senders import SENDER_ROWS, SENDERS
from postlatch.cli.strangers import GREYLIST, REPUTATION, STRANGER_ROWS
from postlatch.cli.wayout import OUTBOUND, WAY_OUT_ROWS

GROUPS = {
    "account": "Who may log in and send.",
    "account.delegate": "Addresses that an account may send as until a day.",
    "account.app-password": "Passwords of single devices and programs, which may do less than their account.",
    "right": "Machines that may relay by their address.",
    "limits": "How much of what they may somebody has used.",
    "destination": "Where mail is sent: how it goes there, and pauses by hand.",
    "queue": "Mail that waits, was held, or was delivered lately.",
    "journal": "What happened: append-only, chained, searchable.",
    "ban": "Addresses that may not connect.",
    "firewall": "Bans in nftables, and rules for the ports.",
    "dkim": "Keys that sign the mail of our domains.",
    "greylist": "Strangers who were asked to come back.",
}

# The order of the sections is that of ``postlatch --help``.
SECTIONS = {
    "Begin": ("init", "check", "serve", "demo"),
    "Who may relay": ("rights", "decide", "account", "right", "limits"),
    "Who really sent it": ("verify", "spf", "reputation", "dkim", "dns", "reports"),
    "Run": ("queue", "destination", "outbound", "journal", "greylist", "ban", "firewall", "backup", "restore", "salvage"),
    "Other servers": ("audit", "lint", "updates"),
}

STATES = ("queued", "deferred", "active", "held", "delivered", "bounced", "deleted")

# What the members of the lists in results hold. Times are RFC 3339 in UTC, those of the journal seconds since 1970.
# Fields may be added and are never renamed (DESIGN section 9).
ROWS = {
    "rights": (
        *("name", "reason", "who", "listeners", "networks", "senders", "recipients", "limits", "owner", "expires"),
        *("last_used", "source", "state", "unused", "fix", "rewrite_from"),
    ),
    "errors": ("file", "key", "line", "message"),
    "accounts": ("login", "state", "why", "send_as", "created", "last_login", "source", "app_passwords"),
    "recipients": (
        *("id", "message_id", "recipient", "sender", "state", "attempts", "next_attempt", "last_reply", "grant", "size"),
        "priority",
        *("original", "destination", "grant_ref", "finished_at", "last_remote", "possible_duplicate"),  # by queue show
    ),
    "messages": (
        *("message_id", "sender", "received_at", "size", "account", "client", "listener", "helo", "header_message_id", "kind"),
        *("priority", "recipients"),
    ),
    "destinations": (
        *("destination", "state", "waiting", "active", "concurrency", "rate", "last_reply", "next_attempt"),
        *("paused_at", "paused_by", "why"),
    ),
    "masks": ("listener", "address", "sign", "why", "since", "suspended"),
    "self_test": ("target", "listener", "verdict", "sent_from", "arrived_as", "proxy", "why"),
    **GUARD_ROWS,
    **LIMIT_ROWS,
    **OTHER_SERVER_ROWS,
    **SENDER_ROWS,
    **APP_PASSWORD_ROWS,
    **DELEGATION_ROWS,
    **STRANGER_ROWS,
    **WAY_OUT_ROWS,
}

_LOGIN = Argument("login", Kind.TEXT, "The account: an address, or a name.", metavar="LOGIN", required=True)
_SEND_AS = Argument(
    "send_as",
    Kind.TEXT,
    'May also send as this address, as anybody at @DOMAIN, or as "<>" (bounces).',
    "--send-as",
    "ADDRESS",
    many=True,
)
_RIGHT = Argument("name", Kind.TEXT, "The right's name.", metavar="NAME", required=True)
_EXPIRES = Argument("expires", Kind.DATE, "Its last day, UTC.", "--expires", "DATE", required=True)
_LIMIT = Argument("limit", Kind.COUNT, "Show at most so many.", "--limit", "N", default=100)
_SINCE = Argument("since", Kind.TIME, "From this time on (RFC 3339, or a day; UTC).", "--since", "TIME")
_UNTIL = Argument("until", Kind.TIME, "Before this time.", "--until", "TIME")
_FILTERS = (
    Argument("sender", Kind.TEXT, 'From this envelope sender; "<>" for bounces.', "--sender", "ADDRESS"),
    Argument("recipient", Kind.TEXT, "To this recipient.", "--recipient", "ADDRESS"),
    Argument("domain", Kind.DOMAIN, "To this recipient domain.", "--domain", "DOMAIN"),
    Argument("state", Kind.CHOICE, "In this state.", "--state", choices=STATES),
    Argument("account", Kind.TEXT, "Sent by this account.", "--account", "LOGIN"),
)
_IDS = Argument("ids", Kind.TEXT, 'IDs as in "queued as ID", or ID.N for one recipient.', metavar="[ID]...", many=True)
_AFTER = Argument("after", Kind.TEXT, "Go on behind this ID.", "--after", "ID")
_SELECTED = (_IDS, *_FILTERS, _AFTER)
# The last two only where they are needed: how many there were if not all are listed, and where to go on.
_CHANGED = ("changed", "active", "changed_count", "next")

_BEGIN = (
    Command(
        "init",
        "Write a first configuration, keys, a certificate and an administrator.",
        (
            Argument("domain", Kind.DOMAIN, "Your mail domain, like example.com.", metavar="DOMAIN", required=True),
            Argument("dir", Kind.PATH, "Where to write; made if it is missing.", "--dir", "DIR", default="."),
        ),
        ("config", "files", "hostname", "domain", "administrator", "password", "next"),
        examples=("postlatch init example.com --dir /etc/postlatch",),
    ),
    Command(
        "check",
        "Validate the configuration and prove it closed.",
        (
            Argument(
                "self_test", Kind.FLAG, "Also connect to the running relay, and show which address arrives.", "--self-test"
            ),
            Argument(
                "targets",
                Kind.TEXT,
                "For the self-test, connect here as clients outside do (repeat). Default: the listeners' own addresses.",
                "--from",
                "HOST:PORT",
                many=True,
            ),
            Argument(
                "wait",
                Kind.DURATION,
                "For the self-test, wait so long for a connection made from elsewhere.",
                "--wait",
                "DURATION",
            ),
        ),
        ("closed", "classes", "counterexamples", "errors", "self_test"),
        examples=("postlatch check --self-test --from mx.example.com:25",),
    ),
    Command("serve", "Run the relay in the foreground, until SIGTERM.", way=Way.RUN),
    Command("demo", "Run a throw-away relay with sample traffic, until interrupted.", way=Way.RUN),
)

_RELAY = (
    Command("rights", "Show everybody who can relay, why, how much and until when.", result=("rights",)),
    Command(
        "decide",
        "Ask the policy about one message, without sending it: consumes no limit, assumes TLS.",
        (
            Argument("listener", Kind.TEXT, "The listener's name.", "--listener", "NAME", required=True),
            Argument("client", Kind.ADDRESS, "The client's address.", "--client", "IP", required=True),
            Argument("account", Kind.TEXT, "Logged in as this account.", "--account", "LOGIN"),
            Argument("helo", Kind.TEXT, "What the client says in EHLO.", "--helo", "NAME"),
            Argument(
                "mail_from",
                Kind.TEXT,
                'The envelope sender; "<>" or empty for a bounce.',
                "--mail-from",
                "ADDRESS",
                required=True,
            ),
            Argument("rcpt", Kind.TEXT, "The recipient.", "--rcpt", "ADDRESS", required=True),
            Argument(
                "header_from", Kind.TEXT, "The From header; without it, headers are not judged.", "--header-from", "ADDRESS"
            ),
            Argument("at", Kind.TIME, "As if it were this time (RFC 3339, or a day; UTC).", "--at", "TIME"),
        ),
        ("verdict", "reply", "rule", "grant", "destination", "why"),
        examples=(
            "postlatch decide --listener mx --client 198.51.100.7 --mail-from a@other.example --rcpt b@elsewhere.example",
            "postlatch decide --listener relay --client 10.0.3.4 --mail-from scan@example.com --rcpt b@elsewhere.example",
        ),
    ),
    Command("account.add", "Add an account.", (_LOGIN, _SEND_AS), ("login",), password=True),
    Command("account.list", "Show all accounts.", result=("accounts",)),
    Command(
        "account.passwd", "Give an account a new password; sessions and old verdicts end.", (_LOGIN,), ("login",), password=True
    ),
    Command(
        "account.suspend",
        "Stop an account from sending; its queued mail is held.",
        (_LOGIN, Argument("why", Kind.TEXT, "The reason, for the journal and other operators.", "--why", "TEXT")),
        ("login",),
    ),
    Command("account.restore", "Let a suspended account send again.", (_LOGIN,), ("login",)),
    Command("account.delete", "Delete an account.", (_LOGIN,), ("login",)),
    *APP_PASSWORDS,
    Command(
        "right.add",
        "Add a network right. It is proved before it counts.",
        (
            _RIGHT,
            Argument(
                "networks", Kind.NETWORK, "Where the machines are (repeat).", "--network", "NETWORK", required=True, many=True
            ),
            Argument("listeners", Kind.TEXT, "Where it holds (repeat).", "--listener", "NAME", required=True, many=True),
            Argument(
                "senders",
                Kind.TEXT,
                "May send as this address or @DOMAIN (repeat). Default: any.",
                "--sender",
                "ADDRESS",
                many=True,
            ),
            Argument("owner", Kind.TEXT, "Who vouches for it.", "--owner", "WHO", required=True),
            _EXPIRES,
            Argument(
                "fix",
                Kind.CHOICE,
                "Mend this in the header of its mail (repeat).",
                "--fix",
                many=True,
                choices=("date", "message-id", "from"),
            ),
            Argument("rewrite_from", Kind.TEXT, "What --fix from puts into From.", "--rewrite-from", "ADDRESS"),
            Argument("wide", Kind.TEXT, "Accept a wide network, for this reason.", "--wide", "WHY"),
            Argument("masked", Kind.TEXT, "Accept a network behind one address, for this reason.", "--masked", "WHY"),
        ),
        ("name",),
        examples=(
            "postlatch right add printers --network 10.0.3.0/28 --listener relay --owner ops@example.com --expires 2027-06-30",
        ),
    ),
    Command("right.list", "Show the network rights, also expired and suspended ones.", result=("rights",)),
    Command("right.renew", "Give a right another last day.", (_RIGHT, _EXPIRES), ("name",)),
    Command("right.revoke", "End a right now.", (_RIGHT,), ("name",)),
    Command(
        "right.masks",
        "Show listeners whose clients do not arrive with their own addresses, and the rights suspended for that.",
        result=("masks",),
    ),
    Command(
        "right.resume",
        "Believe the addresses of a listener again, and give back the rights that were suspended for a mask.",
        (
            Argument("listener", Kind.TEXT, "The listener's name.", metavar="LISTENER", required=True),
            Argument(
                "why", Kind.TEXT, "What was done about it, for the journal and other operators.", "--why", "TEXT", required=True
            ),
        ),
        ("listener", "rights"),
        examples=("postlatch right resume relay --why userland-proxy-off",),
    ),
)

_QUEUE = (
    Command(
        "queue.list",
        "Show queued recipients, oldest first; with --state also finished ones.",
        (*_FILTERS, _LIMIT, _AFTER),
        ("recipients", "next"),
        examples=("postlatch queue list --state held --domain example.org",),
    ),
    Command(
        "queue.show",
        "Show messages with all their recipients.",
        (_IDS._replace(required=True, metavar="ID..."),),
        ("messages",),
    ),
    Command("queue.hold", "Keep recipients until they are released.", _SELECTED, _CHANGED, selection=True),
    Command("queue.release", "Let held recipients go on.", _SELECTED, _CHANGED, selection=True),
    Command("queue.retry", "Try waiting recipients now; without ID or filter, all of them.", _SELECTED, _CHANGED),
    Command("queue.bounce", "Give up recipients, and tell their senders.", _SELECTED, _CHANGED, selection=True),
    Command("queue.delete", "Delete recipients; nobody is told, the journal names you.", _SELECTED, _CHANGED, selection=True),
)

_DESTINATION_NAME = Argument(
    "destination",
    Kind.TEXT,
    "A recipient domain, or a next hop as the configuration writes it, like smtp://10.1.0.5:25.",
    metavar="DOMAIN-OR-HOP",
    required=True,
)
_DESTINATION = (
    Command(
        "destination.list",
        "Show the destinations of mail that waits or moves.",
        result=("destinations", "partial"),
    ),
    Command(
        "destination.pause",
        "Send nothing there until it is resumed; its mail waits, and no attempt is counted.",
        (_DESTINATION_NAME, Argument("reason", Kind.TEXT, "The reason, for other operators.", "--reason", "TEXT")),
        ("destination", "paused_at"),
        examples=("postlatch destination pause partner.example --reason moving",),
    ),
    Command(
        "destination.resume",
        "Let a paused destination go on, or try a parked one now.",
        (_DESTINATION_NAME,),
        ("destination", "woken"),
    ),
)

_JOURNAL = (
    Command(
        "journal.tail",
        "Show the newest events, and with --follow those to come.",
        (
            Argument("lines", Kind.COUNT, "Begin with so many.", "--lines", "N", default=20),
            Argument("follow", Kind.FLAG, "Go on until interrupted.", "--follow"),
        ),
        ("events",),
    ),
    Command(
        "journal.search",
        "Find events. Everything that is given must hold.",
        (
            Argument("text", Kind.TEXT, "A part of the event, in any case.", metavar="[TEXT]"),
            Argument("message", Kind.TEXT, "Of this message.", "--message", "ID"),
            Argument("account", Kind.TEXT, "Of this account.", "--account", "LOGIN"),
            Argument("address", Kind.TEXT, "From or to this address.", "--address", "ADDRESS"),
            Argument("client", Kind.TEXT, "Of this client address or network.", "--client", "NETWORK"),
            Argument("event", Kind.TEXT, "Of this name (recipient.refused) or family (delivery).", "--event", "NAME"),
            _SINCE,
            _UNTIL,
            _LIMIT,
        ),
        ("events",),
        examples=("postlatch journal search --account alice@example.com --since 2026-11-01 --event sender.refused",),
    ),
    Command(
        "journal.export",
        "Write events as NDJSON to standard output.",
        (
            _SINCE,
            _UNTIL,
            Argument("heads", Kind.FLAG, "Write the signed heads instead: for a copy elsewhere, to verify with.", "--heads"),
        ),
        way=Way.STREAM,
        examples=(
            "postlatch journal export --since 2026-11-01 > november.ndjson",
            "postlatch journal export --heads > heads.ndjson",
        ),
    ),
    Command(
        "journal.key",
        "Print the public key that checks signed heads.",
        (Argument("new", Kind.FLAG, "Make a new key first; the journal says so, and old heads still verify.", "--new"),),
        ("key", "since", "public", "keys"),
        examples=("postlatch journal key > journal.pem",),
    ),
    Command(
        "journal.verify",
        "Prove that no event was changed or removed.",
        (
            Argument("heads", Kind.PATH, "Also compare these heads, exported earlier.", "--heads", "FILE"),
            Argument("public_key", Kind.PATH, "Trust only the keys in this file (PEM).", "--public-key", "FILE"),
        ),
        result=("ok", "events", "batches", "failures", "findings", "head"),
    ),
)

_REST = (
    Command(
        "backup",
        "Write a consistent backup, also while the relay runs.",
        (Argument("file", Kind.PATH, "The file to write.", metavar="FILE", required=True),),
        ("file", "size", "messages"),
    ),
    Command(
        "restore",
        "Restore a backup of a stopped relay; the restored queue is held.",
        (Argument("file", Kind.PATH, "The backup.", metavar="FILE", required=True),),
        ("directory", "held"),
    ),
    Command(
        "salvage",
        "Save what can be read of a stopped relay's damaged database into a new file.",
        (Argument("to", Kind.PATH, "The new file. Default: beside the database, named .salvaged.", "--to", "FILE"),),
        (
            *("file", "damaged", "messages", "held", "without_body", "accounts", "rights", "bans", "events"),
            *("tables", "lost", "quarantine", "next"),
        ),
    ),
)

CATALOGUE: tuple[Command, ...] = (
    *_BEGIN,
    *_RELAY,
    *LIMITING,
    *DELEGATIONS,
    *_QUEUE,
    *_DESTINATION,
    *_JOURNAL,
    *SENDERS,
    REPUTATION,
    *GREYLIST,
    OUTBOUND,
    *GUARDING,
    *OTHER_SERVERS,
    *_REST,
)

__all__ = ["CATALOGUE", "GROUPS", "ROWS", "SECTIONS", "STATES", "Argument", "Command", "Kind", "Way"]
