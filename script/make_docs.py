"""The pages of ``docs/`` that are printed by the program: configuration, commands, SMTP states and fixed numbers.

Run by ``script/make-docs``. ``tests/docs`` fails when a page is not what this prints. ``pages()`` is the whole interface.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import docs_numbers  # the neighbour of this file

from postlatch.cli.catalogue import CATALOGUE, GROUPS, ROWS, SECTIONS, Argument, Command, Kind, Way
from postlatch.settings import reference
from postlatch.smtp import client_states, states

DOCS = Path(__file__).resolve().parent.parent / "docs"
MADE = "<!-- Made by `script/make-docs`. Change {source}, not this page. -->"

# Named in the catalogue and not printed by the program yet. `tests/docs` fails as soon as one of them is printed.
NOT_PRINTED = frozenset({("accounts", "last_login"), ("recipients", "original")})

_INTRODUCTION = """\
`postlatch [--config FILE] COMMAND …`. The configuration is `--config FILE`, else `$POSTLATCH_CONFIG`, else
`./postlatch.toml`, else `/etc/postlatch/postlatch.toml`. `--config` may stand before or after the command. `-h` and `--help`
explain every command; `postlatch --version` prints the version.

While the relay runs, a command goes to it through the socket `control.sock` in `data_dir`, which only the relay's user and root
may open. While it does not run, the command opens the database itself, under the same lock. The result is the same.
`init`, `check`, `serve` and `demo` never ask the relay; `restore` and `salvage` want it stopped.

## Exit status

| Status | Meaning |
|---|---|
| 0 | Good: the command did what it was asked, the answer is yes. |
| 1 | Bad news: refused, open, nothing found or changed, a named danger in the configuration. |
| 2 | Unusable input: malformed TOML, an unknown key, a wrong type, an unknown account, a bad flag, a store that cannot open. |
| 3 | Undecided: the policy defers, or the relay cannot do it now. Try again. |
| 130 | A stream was interrupted (Ctrl-C). |

Every command ends with 2 on a bad flag, without a usable configuration (`init` and `demo` need none), and when the database
cannot be opened. Every command that changes something ends with 3 when the database does not write. The table of a command
adds what is particular to it.

## JSON

Every command that prints a result takes `--json` and then prints one object, in printable ASCII. Its `schema` is
`postlatch.NAME/1`, where `NAME` is the command with dots for spaces, such as `postlatch.queue.list/1`. `journal tail` and
`journal export` print one event a line instead (NDJSON). Fields are never renamed; further ones may be there. Times are
RFC 3339 in UTC, except `at` of an event: seconds since 1970.

A command that fails without a result prints `{"schema": "postlatch.error/1", "status": …, "message": …}`. One that fails on
the configuration prints `errors` as `check` does.
"""

# What a status means for one command, beyond the table of the introduction.
STATUSES: dict[str, dict[int, str]] = {
    "init": {0: "everything is written", 2: "a file is there already, or the folder cannot be written"},
    "check": {
        0: "valid and proved closed",
        1: "a counterexample, or a named danger (an expired right is one); in the self-test, a masked or failed connection",
        2: "malformed, a file that is missing or cannot be read, a user that does not exist",
    },
    "serve": {
        0: "stopped by SIGTERM or SIGINT",
        1: "the configuration is not closed; what has only expired is told and does not stop a start",
        2: "unusable configuration or store, a port that is taken, another relay on the same `data_dir`",
    },
    "demo": {0: "interrupted", 1: "the relay of the demo did not start"},
    "rights": {0: "printed"},
    "decide": {0: "accepted", 1: "refused", 2: "there is no such listener", 3: "deferred; also a call-out that cannot be made"},
    "verify": {
        0: "DMARC passes, or the author's domain has no policy",
        1: "DMARC fails, or its record is faulty",
        2: "the file cannot be read, or something else that was given is unusable",
        3: "undecided: the DNS did not answer",
    },
    "spf": {
        0: "`pass`, `neutral` or `none`",
        1: "`fail`, `softfail` or `permerror`",
        2: "something that was given is unusable",
        3: "undecided (`temperror`): the DNS did not answer",
    },
    "reputation": {
        0: "it would not be refused",
        1: "it would be refused",
        2: "the address is a private one, there is no configuration, or the zone file is none",
    },
    "greylist.list": {0: "printed, also if there is none"},
    "greylist.forget": {0: "forgotten", 2: "nobody of that group is known"},
    "dkim.keygen": {0: "made", 2: "the domain is not one of ours, or has keys already"},
    "dkim.list": {0: "printed, also if there is none"},
    "dkim.rotate": {0: "made", 2: "the domain is not one of ours, or has no key that signs yet"},
    "outbound": {
        0: "mail would be sent",
        1: "no host may be used, for good",
        2: "no such sender, or no DNS",
        3: "not now: the DNS gives no answer, or no host meets the policy",
    },
    "dns": {
        0: "all that is needed is published as it should be",
        1: "something is missing or wrong",
        2: "the domain is not in the configuration, or the zone file is none",
        3: "undecided: the DNS did not answer",
    },
    "reports": {0: "printed, also if there is none"},
    "lint": {
        0: "closed, and nothing worse than low was found",
        1: "somebody could relay, or something of medium or worse was found",
        2: "there is no such path, or the files are not what they should be",
        3: "undecided: what would decide it is in the findings",
    },
    "audit": {
        0: "closed, every one",
        1: "one is open, sends backscatter, can be spoofed, or takes mail that it should not",
        2: "it could not be asked: an option is wrong, or nothing shows that the server is yours",
        3: "undecided: none is bad, and of one it could not be found out; the result says what would decide it",
    },
    "audit.compare": {
        0: "nothing is worse",
        1: "something is worse",
        2: "a file cannot be read, or is no result",
        3: "undecided: of a target that had a verdict there is none now",
    },
    "audit.schedule": {
        0: "it was ended; with `--once`: as before, or better",
        1: "with `--once`: something is worse",
        2: "an option is wrong, or the history cannot be used",
        3: "with `--once`: there is no result, or no verdict any more",
    },
    "audit.canary": {0: "it was ended", 2: "it cannot listen there, or cannot write its record"},
    "audit.self": {
        0: "all listeners are closed",
        1: "one is not",
        2: "no relay is running",
        3: "undecided: no audit was made yet, or it could not find out",
    },
    "audit.posture": {
        0: "nothing of it is bad",
        1: "something is bad",
        2: "an option is wrong, or the system names no DNS server",
        3: "undecided: the DNS did not answer for the domain",
    },
    "updates": {
        0: "no security fix is known to be missing",
        1: "a security fix is missing",
        2: "an option is wrong, or a file cannot be read",
        3: "undecided: nothing at all could be found out",
    },
    "account.add": {0: "added", 2: "the account exists, or the login or the password cannot be one"},
    "account.list": {0: "printed, also if there is none"},
    "account.passwd": {0: "changed", 2: "there is no such account"},
    "account.suspend": {0: "suspended, or was already", 2: "there is no such account"},
    "account.restore": {0: "restored, or was not suspended", 2: "there is no such account"},
    "account.delete": {0: "deleted", 2: "there is no such account"},
    "account.app-password.add": {
        0: "made",
        1: "refused by the proof: the answer is that of `postlatch check`",
        2: "there is no such account, or one of that name already; or it would do more than its account",
    },
    "account.app-password.list": {0: "listed", 2: "there is no such account"},
    "account.app-password.revoke": {0: "over", 2: "there is no such account or application password"},
    "account.delegate.add": {
        0: "delegated",
        1: "refused by the proof: the answer is that of `postlatch check`",
        2: "no such account, no address of ours, a day that is over, or it is delegated already",
    },
    "account.delegate.list": {0: "printed, also if there is none"},
    "account.delegate.revoke": {0: "revoked", 2: "that address is not delegated to that account"},
    "right.add": {
        0: "proved, stored and in force",
        1: "refused: the proof or a danger speaks against it",
        2: "the name is taken",
    },
    "right.list": {0: "printed, also if there is none"},
    "right.renew": {
        0: "renewed",
        1: "refused: the proof or a danger speaks against it",
        2: "there is no such right, or it is in the configuration: change it there and reload",
    },
    "right.masks": {0: "printed, also if there is none"},
    "right.resume": {0: "believed again", 1: "refused by the proof: see `postlatch check`", 2: "no mask was found there"},
    "right.revoke": {0: "revoked", 2: "there is no such right, or it is in the configuration: change it there and reload"},
    "destination.list": {0: "printed, also if there is none"},
    "destination.pause": {0: "paused", 2: "it is paused already, or is no destination"},
    "destination.resume": {0: "resumed", 2: "it is neither paused nor parked, or is no destination"},
    "queue.list": {0: "printed, also if there is none"},
    "queue.show": {0: "printed", 1: "one of the IDs is not in the queue", 2: "one of them is no ID"},
    "queue.hold": {0: "at least one recipient changed", 1: "none did"},
    "queue.release": {0: "at least one recipient changed", 1: "none did"},
    "queue.retry": {0: "at least one recipient changed", 1: "none did"},
    "queue.bounce": {0: "at least one recipient changed", 1: "none did"},
    "queue.delete": {0: "at least one recipient changed", 1: "none did"},
    "journal.tail": {0: "printed", 130: "interrupted while following"},
    "journal.search": {0: "found", 1: "nothing found", 2: "there is no such event, or the client is no address"},
    "journal.export": {0: "printed", 130: "interrupted"},
    "journal.key": {0: "printed", 2: "there is no key yet, or it cannot be written"},
    "journal.verify": {0: "intact; findings are worth reading", 1: "something was changed, removed or damaged"},
    "limits.list": {0: "printed, also if nothing is counted"},
    "limits.reset": {0: "forgotten", 2: "nothing is counted of that key"},
    "ban.add": {0: "in force", 2: "too wide, or somebody who is never banned"},
    "ban.list": {0: "printed, also if there is none"},
    "ban.remove": {0: "lifted", 2: "it is not banned"},
    "ban.export": {0: "printed, also if there is none"},
    "ban.import": {0: "all lines that are bans are in force, also if others are named", 2: "the file cannot be read"},
    "firewall.run": {0: "stopped by SIGTERM", 1: "the table could not be removed", 2: "no nft, or no right to use it"},
    "firewall.status": {0: "active", 1: "the table is not there, or may not be read"},
    "firewall.rules": {0: "printed"},
    "backup": {0: "written", 2: "the file is there already, or cannot be written"},
    "restore": {0: "restored", 2: "`data_dir` is not empty, or the backup is not whole"},
    "salvage": {
        0: "everything was saved",
        1: "saved, but not all of it could be read: the report in `quarantine` lists what is missing",
        2: "nothing could be read, the new file exists already, or the relay runs",
    },
}

# What no single field says.
NOTES: dict[str, str] = {
    "ban.import": "A line is `ADDRESS` or `ADDRESS/LENGTH`, then nothing, seconds, `30m`, `2h`, `7d` or an end (RFC 3339), or "
    "what `fail2ban-client get JAIL banip --with-time` prints; `#` begins a comment. At most 500,000 lines. Who may never be "
    "banned is named and left out ([break-ins.md](break-ins.md#who-is-never-banned)).",
    "firewall.run": "Makes the table `inet postlatch` and drops what comes from banned addresses to the listeners' ports. "
    "It asks the relay once a second and needs no relay to keep what it has ([break-ins.md](break-ins.md#the-firewall)).",
    "firewall.rules": "Changes nothing. What it prints is for `/etc/nftables.conf`, to be read before it is used.",
    "serve": "`ready NAME=ADDRESS:PORT …` on standard output says that every listener is bound; the log goes to standard "
    "error. SIGTERM drains and stops, SIGHUP reloads the configuration: see [operating.md](operating.md#reload).",
    "demo": "Prints its ports, a login and commands to try. Everything is in a folder under the temporary directory, which is "
    "removed at the end. Without a terminal it prints plain lines.",
    "account.add": "Without `--password-stdin` the password is asked for on the terminal. An account whose login is an address "
    "may send as that address.",
    "destination.list": "`moving`: mail goes there. `resting`: it has just failed and is tried again in a moment. `parked`: it "
    "went on failing; its mail gets its next attempt without a connection, and one message tries it at the time shown. "
    "`paused`: by an operator. `waiting` counts what is in memory and on the disk, `concurrency` is how many deliveries it "
    "gets at once, `rate` messages a second (0: no bound). More: [operating.md](operating.md#when-mail-waits).",
    "destination.pause": "Deliveries that are under way end. What waits is not counted as tried, still ends when it is older "
    "than `outbound.max_age`, and its sender hears that it is late.",
    "queue.bounce": "Only a sender whom an account or a right vouches for is told; a stranger's address may be forged.",
    "queue.hold": "`active` in the result holds recipients that were not changed because an attempt is under way.",
    "backup": "The relay writes the file, so its user must be able to. It holds the database and the bodies; not the "
    "configuration, the certificate, or Maildirs.",
    "journal.key": "Keep the key elsewhere, with the heads of `journal export --heads`: `journal verify --heads FILE "
    "--public-key FILE` then does not depend on anything of this machine but its journal.",
    "salvage": "The damaged file is only read. The whole queue is held in the new one, and what could not be saved is listed "
    "in a folder beside it; `next` says how to go on.",
    "restore": "Into an empty or missing `data_dir`. Nothing goes out until `postlatch queue release`.",
    "decide": "Judges MAIL and RCPT, and the header if `--header-from` is given; the first refusal is the answer. Where the "
    'next hop has to be asked (`recipients = "callout"`), only a running relay can.',
}

_KINDS = {
    Kind.TEXT: "a text",
    Kind.COUNT: "a whole number from 1",
    Kind.FLAG: "",
    Kind.DOMAIN: "a domain",
    Kind.ADDRESS: "an IPv4 or IPv6 address",
    Kind.NETWORK: "an address, or `ADDRESS/LENGTH` without host bits",
    Kind.DATE: "a day, `2027-06-30`",
    Kind.TIME: "a day, or RFC 3339",
    Kind.DURATION: "`30 seconds`, `2 hours`, `7 days`",
    Kind.PATH: "a path",
}


def pages() -> dict[str, str]:
    """File name in ``docs/`` → its whole text."""
    return {
        "configuration.md": reference.reference(),
        "commands.md": commands(),
        "smtp-states.md": smtp_states(),
        "numbers.md": docs_numbers.page(MADE),
    }


def commands() -> str:
    """docs/commands.md, from the catalogue."""
    source = "`src/postlatch/cli/catalogue.py` or `script/make_docs.py`"
    lines = ["# Commands", "", MADE.format(source=source), "", _INTRODUCTION]
    for title, names in SECTIONS.items():
        lines += [f"## {title}", ""]
        for name in names:
            for group in (group for group in GROUPS if group.partition(".")[0] == name):
                lines += [f"**`postlatch {group.replace('.', ' ')}`**: {GROUPS[group]}", ""]
            for command in (c for c in CATALOGUE if c.words[0] == name):
                lines += _command(command)
    return "\n".join([*lines, *_row_tables()]).rstrip() + "\n"


def synopsis(command: Command) -> str:
    """As it is typed: required flags first, then ``[OPTIONS]`` if there are others, then what stands without a flag."""
    words = ["postlatch", *command.words]
    words += [f"{a.flag} {_metavar(a)}" for a in command.arguments if a.flag and a.required]
    if command.password or any(a.flag and not a.required for a in command.arguments):
        words.append("[OPTIONS]")
    return " ".join([*words, *(a.metavar for a in command.arguments if not a.flag)])


def result_fields(command: Command) -> tuple[str, ...]:
    """The fields of the JSON object that are really printed."""
    return tuple(name for name in command.result if (command.name, name) not in NOT_PRINTED)


def row_fields(name: str) -> tuple[str, ...]:
    """The fields of the rows in the list ``name`` that are really printed."""
    return tuple(field for field in ROWS[name] if (name, field) not in NOT_PRINTED)


def _command(command: Command) -> Iterator[str]:
    yield from (f"### `postlatch {' '.join(command.words)}`", "", command.help, "")
    yield from ("```", synopsis(command), "```", "")
    rows = [*map(_argument, command.arguments), *_common(command)]
    if rows:
        yield from ("| Argument | Value | Meaning |", "|---|---|---|", *rows, "")
    if command.name in NOTES:
        yield from (NOTES[command.name], "")
    if command.result:
        fields = ", ".join(f"`{name}`" for name in result_fields(command))
        yield from (f"JSON: {fields}.", "")
    statuses = "; ".join(f"{number} {meaning}" for number, meaning in STATUSES[command.name].items())
    yield from (f"Exit status: {statuses}.", "")
    if command.examples:
        yield from ("```", *command.examples, "```", "")


def _common(command: Command) -> Iterator[str]:
    if command.password:
        yield "| `--password-stdin` | | Read the password from standard input, not from the terminal. |"
    if command.way is not Way.RUN:
        yield "| `--json` | | Print JSON. |"


def _argument(argument: Argument) -> str:
    name = f"{argument.flag} {_metavar(argument)}".strip() if argument.flag else argument.metavar
    value = " \\| ".join(f"`{choice}`" for choice in argument.choices) or _KINDS[argument.kind]
    marks = ["required"] if argument.required else []
    marks += ["repeatable"] if argument.many else []
    marks += [f"default `{argument.default}`"] if argument.default is not None else []
    return f"| `{name}` | {'; '.join(filter(None, (value, *marks)))} | {argument.help} |"


def _metavar(argument: Argument) -> str:
    return argument.metavar or ("" if argument.kind is Kind.FLAG else argument.name.upper())


def _row_tables() -> Iterator[str]:
    yield from ("## Rows", "", "What the members of the lists in results hold:", "", "| List | Fields |", "|---|---|")
    for name in ROWS:
        yield f"| `{name}` | {', '.join(f'`{field}`' for field in row_fields(name))} |"
    yield "| `events` | `seq`, `at`, `event`, and the fields of the event: see [events.md](events.md) |"
    yield from ("", "The fields of `recipients` from `destination` on are in `queue show` only.")


_CLIENT = """\
What delivery does with a reply: what it waits for, the first digit of the code, what follows
(`python -m postlatch.smtp.client_states`). Any other reply breaks the protocol and ends the connection."""


def smtp_states() -> str:
    """docs/smtp-states.md: the diagrams of both engines."""
    source = "the tables in `src/postlatch/smtp/states.py` and `client_states.py`"
    return "\n".join(
        [
            "# SMTP states",
            "",
            MADE.format(source=source),
            "",
            "Each engine is one transition table, and these are drawn from it.",
            "",
            "## Server",
            "",
            "What a client may do when (`python -m postlatch.smtp.states`). Commands that a state refuses are not drawn.",
            "",
            "```mermaid",
            f"{states.diagram()}```",
            "",
            "## Client",
            "",
            _CLIENT,
            "",
            "```mermaid",
            f"{client_states.diagram()}```",
            "",
        ]
    )


def main(arguments: list[str]) -> int:
    """Write the pages; with ``--check``, only name those that are out of date (exit status 1)."""
    stale = [name for name, text in pages().items() if not _is(DOCS / name, text)]
    for name in stale:
        if "--check" not in arguments:
            (DOCS / name).write_text(pages()[name], "utf-8")
        sys.stdout.write(f"docs/{name} {'is out of date' if '--check' in arguments else 'written'}\n")
    return 1 if stale and "--check" in arguments else 0


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
