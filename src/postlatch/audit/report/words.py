"""What verdicts, stands and families are called, in one place, so that all reports speak alike."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from postlatch.audit.probes.values import Stand
from postlatch.audit.values import AuditVerdict, Severity

Tone = Literal["good", "bad", "unsure"]

PRODUCT: Final = "Postlatch"


class Words(NamedTuple):
    """A verdict for people. ``sign`` is one ASCII character, so that nobody needs colours; ``phrase`` follows "it is"."""

    name: str
    phrase: str
    sign: str
    tone: Tone
    means: str
    do: str


VERDICTS: Final = {
    AuditVerdict.OPEN: Words(
        "Open relay",
        "an open relay",
        "x",
        "bad",
        "Anybody on the internet can send mail to anybody through this server, in your name. It was proved: a message from a "
        "stranger to a stranger arrived. Spammers search for such servers all day; when they find it, other servers refuse "
        "your mail, and cleaning that up takes weeks.",
        "Close it now, in the order below, then audit again. Until it is closed, keep strangers from port 25.",
    ),
    AuditVerdict.BACKSCATTER: Words(
        "Backscatter",
        "a source of backscatter",
        "x",
        "bad",
        "This server does not relay for strangers, but it sends bounces to whoever a forged message names as its sender. "
        "Others get mail that they never asked for, and block lists list servers that send it.",
        "Let it refuse unknown recipients while the sender is still connected, instead of sending bounces later.",
    ),
    AuditVerdict.ACCEPTS: Words(
        "Accepts mail of strangers",
        "taking mail of strangers",
        "x",
        "bad",
        "This server took mail from a stranger for a stranger. Nothing was seen to arrive, so an open relay is not proved; "
        "it is not ruled out either.",
        "Find out what becomes of that mail: look into the queue and the log, and refuse it in the first place.",
    ),
    AuditVerdict.SPOOFABLE: Words(
        "Spoofable",
        "spoofable",
        "x",
        "bad",
        "This server does not relay for strangers, but strangers can write to your own people in the name of your own domain. "
        "That is how invoice fraud begins.",
        "Let it refuse mail from outside that claims to come from your domain.",
    ),
    AuditVerdict.INCONCLUSIVE: Words(
        "Inconclusive",
        "inconclusive",
        "?",
        "unsure",
        "It could not be found out whether strangers can send mail through this server. That is no good news: what was "
        "refused may have been refused for another reason.",
        "Remove what stood in the way, as said below, and audit again.",
    ),
    AuditVerdict.CLOSED: Words(
        "Closed",
        "closed",
        "+",
        "good",
        "Strangers cannot send mail to strangers through this server. It took mail for its own mailbox and refused everything "
        "that it must refuse.",
        "Nothing has to be done for this. Audit again after every change of its configuration.",
    ),
}

STANDS: Final = {
    Stand.HELD: ("held", "+"),
    Stand.TAKEN: ("taken", "!"),
    Stand.BROKE: ("broke", "x"),
    Stand.UNDECIDED: ("undecided", "?"),
    Stand.ABSENT: ("not asked", "-"),
}
# Which of several answers a summary shows: the one that matters most.
STAND_ORDER: Final = (Stand.BROKE, Stand.TAKEN, Stand.UNDECIDED, Stand.HELD, Stand.ABSENT)

FAMILIES: Final = {
    "C+": "Control: an existing mailbox is taken",
    "C-": "Control: an unknown one is refused",
    "A": "Senders of many kinds",
    "B": "Addresses inside addresses",
    "C": "Routes in the address",
    "D": "Ways to write a domain",
    "E": "Order and state of commands",
    "F": "Smuggling",
    "G": "Logins",
    "H": "Forged senders of its own domain",
    "I": "Trust in addresses and proxies",
    "J": "Forwarding and wildcards",
}

SEVERITIES: Final = tuple(Severity)


def family(vector: str) -> str:
    """The key of FAMILIES that a vector belongs to; of one that is not known, its letters."""
    if vector in FAMILIES:
        return vector
    return vector.rstrip("0123456789")[:2] or "?"


def family_name(key: str) -> str:
    """For a table."""
    return FAMILIES.get(key, f"Others ({key})")


def rank(severity: Severity) -> int:
    """0 is the worst."""
    return SEVERITIES.index(severity)


def one_line(text: str) -> str:
    """Nothing but what can be seen, in one line: a control or bidirectional character is shown as its code."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def counted(number: int, one: str, many: str = "") -> str:
    """``1 finding``, ``3 findings``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
