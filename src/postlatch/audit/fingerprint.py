"""Which mail server is it? From its greeting, its EHLO answer, and the words in which it helps and refuses.

What a server says of itself is a claim: administrators change banners, and a version is that of the upstream release, whatever
a distribution has mended in it. So the result is a hint for choosing words of advice, never a proof of anything.

Pure, and made for any text: no expressions, every line and list is cut before it is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

MOST_LINES: Final = 100
MOST_LETTERS: Final = 512  # of one line; RFC 5321 section 4.5.3.1.5 allows that many to a reply line
MOST_VERSION: Final = 40

BANNER: Final = "banner"
EHLO: Final = "EHLO"
REPLY: Final = "reply"


class Recognised(NamedTuple):
    """A server. ``product`` is one of `NAMES`, or empty for unknown; ``version`` is upstream's, or empty.

    ``how``: "banner", "EHLO", "reply", or empty. ``distribution``: "Debian", "Ubuntu" and the like, where the banner says it:
    then fixes are likely to have been brought back into an older version.
    """

    product: str = ""
    version: str = ""
    how: str = ""
    distribution: str = ""

    @property
    def name(self) -> str:
        """The product for people, with its version."""
        return " ".join(filter(None, (NAMES.get(self.product, self.product), self.version)))


NAMES: Final[dict[str, str]] = {
    "aiosmtpd": "aiosmtpd",
    "axigen": "Axigen",
    "communigate": "CommuniGate Pro",
    "courier": "Courier",
    "domino": "Domino",
    "exchange": "Microsoft Exchange",
    "exim": "Exim",
    "gmail": "Gmail",
    "haraka": "Haraka",
    "hmailserver": "hMailServer",
    "icewarp": "IceWarp",
    "james": "Apache James",
    "kerio": "Kerio Connect",
    "maddy": "maddy",
    "mailenable": "MailEnable",
    "mdaemon": "MDaemon",
    "opensmtpd": "OpenSMTPD",
    "postfix": "Postfix",
    "postlatch": "Postlatch",
    "qmail": "qmail",
    "sendmail": "Sendmail",
    "smartermail": "SmarterMail",
    "stalwart": "Stalwart",
    "surgemail": "SurgeMail",
}

# Words of a greeting, lower-case. Longer ones first where one holds another.
_IN_BANNER: Final = (
    ("postlatch", "postlatch"),
    ("postfix", "postfix"),
    ("exim", "exim"),
    ("opensmtpd", "opensmtpd"),
    ("sendmail", "sendmail"),
    ("microsoft esmtp mail service", "exchange"),
    ("microsoft exchange", "exchange"),
    ("haraka", "haraka"),
    ("hmailserver", "hmailserver"),
    ("netqmail", "qmail"),
    ("qmail", "qmail"),
    ("stalwart", "stalwart"),
    ("maddy", "maddy"),
    ("python smtp", "aiosmtpd"),
    ("aiosmtpd", "aiosmtpd"),
    ("courier", "courier"),
    ("communigate pro", "communigate"),
    ("mdaemon", "mdaemon"),
    ("mailenable", "mailenable"),
    ("smartermail", "smartermail"),
    ("icewarp", "icewarp"),
    ("axigen", "axigen"),
    ("kerio connect", "kerio"),
    ("kerio mailserver", "kerio"),
    ("surgesmtp", "surgemail"),
    ("james smtp server", "james"),
    ("domino release", "domino"),
    ("gsmtp", "gmail"),
)

# What only one server says in its answer to EHLO. Sendmail, OpenSMTPD and MDaemon greet alike: see `_ehlo`.
_IN_EHLO: Final = (
    ("haraka is at your service", "haraka"),
    ("xverp=courier", "courier"),
    ("x-anonymoustls", "exchange"),
    ("x-exps ", "exchange"),
    ("xexch50", "exchange"),
    ("x-link2state", "exchange"),
    ("x_pipe_connect", "exim"),
    ("pipe_connect", "exim"),
    ("pipeconnect", "exim"),
    ("axigen esmtp hello", "axigen"),
)
_PLEASED: Final = ", pleased to meet you"
_SENDMAIL_OFFERS: Final = frozenset({"deliverby", "etrn", "expn", "verb"})

# What only one server says when it refuses or helps. Our own words are not here: they are meant to be nobody's.
_IN_REPLY: Final = (
    ("this is opensmtpd", "opensmtpd"),
    ("unable to relay recipient in non-accepted domain", "exchange"),
    ("tenantinboundattribution", "exchange"),
    ("5.7.1 unable to relay", "exchange"),
    ("isn't in my list of allowed rcpthosts", "qmail"),
    ("isn't in my validrcptto list", "qmail"),
    ("qmail home page", "qmail"),
    ("unimplemented (#5.5.1)", "qmail"),
    ("i cannot deliver mail for ", "haraka"),
    ("5.1.2 relay not allowed", "stalwart"),
    ("(msg id = ", "maddy"),
    ("this is sendmail", "sendmail"),
    ("relaying denied. proper authentication required", "sendmail"),
    ("relaying denied. ip name ", "sendmail"),
    ("513 relaying denied", "courier"),
    ("550 5.7.1 relaying denied", "sendmail"),
    (": relay access denied", "postfix"),
    ("error: insufficient authorization", "postfix"),
    ("5.5.0 error: smtp protocol synchronization", "postfix"),
    ("5.5.2 error: command not recognized", "postfix"),
    ("5.5.1 error: ", "postfix"),
    ("encryption required for requested authentication mechanism", "postfix"),
    ("sender address rejected: not logged in", "postfix"),
    ("550 relay not permitted", "exim"),
    ("restricted characters in address", "exim"),
    ("554 smtp synchronization error", "exim"),
    ("530 5.5.1 invalid command: must issue an auth command first", "opensmtpd"),
    ("550 invalid recipient", "opensmtpd"),
    ("550 delivery is not allowed to this address", "hmailserver"),
)

_DISTRIBUTIONS: Final = (
    ("debian", "Debian"),
    ("ubuntu", "Ubuntu"),
    ("raspbian", "Raspbian"),
    ("freebsd", "FreeBSD"),
    ("+deb", "Debian"),
)
_INNER: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-.@")  # letters that a longer word or a host name goes on with
_LEADING: Final = ("version", "release", "service", " ", ",", "/", "(", "-", "v", ":")


def recognise(banner: str, ehlo: Sequence[str] = (), replies: Sequence[str] = ()) -> Recognised:
    """The server behind a greeting, the lines of its EHLO answer and other replies, with or without their reply codes.

    The greeting is asked first, since it alone tells a version; the others tell the product where the greeting is silent.
    """
    greeting = [_without_host(_without_code(line)) for line in _lines(banner.splitlines()[:MOST_LINES])]
    for line in greeting:
        if (found := _greeted(line)).product:
            return found
    if product := _ehlo(list(_lines(ehlo))):
        return Recognised(product, "", EHLO)
    for line in _lines(replies):
        if product := next((product for words, product in _IN_REPLY if words in line), ""):
            return Recognised(product, _version_of(line, product), REPLY)
    return Recognised()


def _lines(texts: Sequence[str]) -> Iterator[str]:
    """Lower-case printable ASCII of bounded length and number: letters keep their places."""
    for text in list(texts[:MOST_LINES]):
        yield "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text[:MOST_LETTERS]).lower()


def _without_code(line: str) -> str:
    return line[4:] if line[:3].isdigit() and line[3:4] in {" ", "-"} else line


def _without_host(line: str) -> str:
    """A host may be named after its server, or after another one: its name is no evidence (RFC 5321 section 4.2)."""
    first, _, rest = line.partition(" ")
    return rest if "." in first or first == "localhost" else line


def _greeted(line: str) -> Recognised:
    for words, product in _IN_BANNER:
        place = _word(line, words)
        if place >= 0:
            version = _version(line[place + len(words) :])
            distribution = next((name for mark, name in _DISTRIBUTIONS if mark in line), "")
            return Recognised(product, version, BANNER, distribution)
    return Recognised()


def _word(line: str, words: str) -> int:
    """Where ``words`` stand by themselves, not within a longer word or a host name; -1 for nowhere."""
    start = 0
    while (place := line.find(words, start)) >= 0:
        before, after = line[place - 1 : place] if place else " ", line[place + len(words) :]
        if before not in _INNER and not _goes_on(after):
            return place
        start = place + 1
    return -1


def _goes_on(after: str) -> bool:
    """Whether the word goes on. A full stop or a dash that ends a sentence or stands before a number is no part of it."""
    if after[:1] in {".", "-"}:
        return after[1:2] in _INNER and not after[1:2].isdigit()
    return after[:1] in _INNER


def _version(rest: str) -> str:
    """The version that follows a name: "Postfix (3.7.11)", "Exim 4.96-58-g1234", "Haraka/3.0.3", ", Version: 6.0.3790"."""
    text = rest
    while skipped := next((mark for mark in _LEADING if text.startswith(mark)), ""):
        text = text[len(skipped) :]
    if not text[:1].isdigit():
        return ""
    end = 0
    while end < min(len(text), MOST_VERSION) and (text[end].isalnum() or text[end] in ".-+~_"):
        end += 1
    return text[:end].rstrip(".-+~_")


def _version_of(line: str, product: str) -> str:
    """A version in a reply that names its product ("214-2.0.0 This is sendmail version 8.17.1")."""
    place = _word(line, product)
    return _version(line[place + len(product) :]) if place >= 0 else ""


def _ehlo(lines: list[str]) -> str:
    for line in lines:
        if product := next((product for words, product in _IN_EHLO if words in line), ""):
            return product
    if not any(_PLEASED in line for line in lines):
        return ""
    offers = {_without_code(line).strip() for line in lines}
    if offers & _SENDMAIL_OFFERS:
        return "sendmail"
    return "opensmtpd" if "help" in offers else ""
