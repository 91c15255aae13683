"""The envelopes by which relays have been found open: senders and recipients, as templates.

Placeholders are those of `names.Names`. Where each was first described: nmap's and Metasploit's open relay scripts, Greenbone's
relay tests, the MAPS list, the address rewriting tables of PMDF, and Postfix's own tests of address resolution. RFC 5321
section 3.6.1 and appendix C let a server take a source route apart, never follow it to a stranger's domain.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class Whose(StrEnum):
    """Whose mailbox a recipient is, if it is read as RFC 5321 says."""

    FOREIGN = "foreign"
    UNCLEAR = "unclear"  # the target's own domain, or none, but it names a foreign one somewhere
    LOCAL = "local"


class Vector(NamedTuple):
    """One idea; every sender is asked with every recipient. ``helo`` replaces the auditor's name, ``auth`` is MAIL's AUTH
    parameter (RFC 4954 section 5), ``raw`` says that recipients are whole commands."""

    id: str
    senders: tuple[str, ...]
    recipients: tuple[str, ...]
    whose: Whose = Whose.FOREIGN
    helo: tuple[str, ...] = ()
    auth: tuple[str, ...] = ()
    raw: bool = False


_OUT: Final = ("{U}@{T}",)
_ANY: Final = ("{X}@{T}",)
_HERE: Final = ("{X}@[{IP}]",)
_UNCLEAR: Final = Whose.UNCLEAR

VECTORS: Final = (
    # A. A plain stranger's address; who claims to send it varies.
    Vector("A01", _ANY, _OUT),
    Vector("A02", ("{X}@{T2}",), _OUT),
    Vector("A03", ("",), _OUT),
    Vector("A04", ("{X}@{H}",), _OUT),
    Vector("A05", ("{X}@{L}",), _OUT),
    Vector("A06", ("{R}@{L}",), _OUT),
    Vector("A07", ("postmaster@{H}", "postmaster@{L}"), _OUT),
    Vector("A08", ("{X}@localhost",), _OUT),
    Vector("A09", ("{X}",), _OUT),
    Vector("A10", _HERE, _OUT),
    Vector("A11", ("{X}@[127.0.0.1]", "{X}@[IPv6:::1]", "{X}@localhost.localdomain"), _OUT),
    Vector("A12", ("{X}@{RAND}.{T}",), _OUT),
    Vector("A13", ("{X}@nonexistent.invalid",), _OUT),
    Vector("A14", ("{X}@{L}",), _OUT, auth=("{R}@{L}", "<>")),
    Vector("A15", _ANY, _OUT, helo=("{H}", "{L}", "localhost", "[127.0.0.1]")),
    Vector("A16", ("MAILER-DAEMON", "@{T}:{X}@{L}"), _OUT),
    # B. Percent, bang, more than one at sign, quotes.
    Vector("B01", _HERE, ("{U}%{T}@[{IP}]",), _UNCLEAR),
    Vector("B02", _HERE, ("{U}%{T}@{H}",), _UNCLEAR),
    Vector("B03", ("{X}@{L}",), ("{U}%{T}@{L}", "{U}%{T}@{BMX}"), _UNCLEAR),
    Vector("B04", _HERE, ("{U}%{T}",), _UNCLEAR),
    Vector("B05", _HERE, ("{U}%{T}%{L}@{L}", "{U}%%{T}@{L}", "{U}%{T}@127.0.0.1", "{U}%{T}@localhost"), _UNCLEAR),
    Vector("B06", _HERE, ('"{U}@{T}"',), _UNCLEAR),
    Vector("B07", _HERE, ('"{U}%{T}"',), _UNCLEAR),
    Vector("B08", _HERE, ("{U}@{T}@[{IP}]",), _UNCLEAR),
    Vector("B09", _HERE, ('"{U}@{T}"@[{IP}]',), _UNCLEAR),
    Vector("B10", _HERE, ("{U}@{T}@{H}", "{U}@{T}@{L}"), _UNCLEAR),
    Vector("B11", _HERE, ('"{U}@{T}"@{L}', '"{U}%{T}"@{L}', '"{T}!{U}"@{L}'), _UNCLEAR),
    Vector("B12", _HERE, (r"{U}\@{T}@{L}", r'"{U}\@{T}"@{L}'), _UNCLEAR),
    Vector("B13", _HERE, ("{U}@{T}@",), _UNCLEAR),
    Vector("B14", _HERE, ("{U}@{L}@{T}",)),
    Vector("B15", _HERE, ("{T}!{U}",), _UNCLEAR),
    Vector("B16", _HERE, ("{T}!{U}@[{IP}]",), _UNCLEAR),
    Vector("B17", _HERE, ("{T}!{U}@{H}", "{T}!{U}@{L}"), _UNCLEAR),
    Vector("B18", _HERE, ("{L}!{T}!{U}", "{H}!{T}!{U}@{L}", "{T}!{U}%{L}@{H}", "{T}!{U}%{L}"), _UNCLEAR),
    Vector("B19", _HERE, ("{U}@{T}%{L}", "{T}@{U}!{L}"), _UNCLEAR),
    Vector(
        "B20",
        _HERE,
        (
            "{U}+x%{T}@{L}",
            "{U}={T}@{L}",
            # Sender rewriting without a signature turns its reversal into a relay.
            "SRS0=hash=tt={T}={U}@{L}",
            "SRS1=hash={L}==hash=tt={T}={U}@{L}",
            "prvs=0000000000={U}@{L}",
        ),
        _UNCLEAR,
    ),
    Vector("B21", _HERE, ('"{U}@{T}> ORCPT=x@y"@{L}',), _UNCLEAR),
    Vector("B22", _HERE, ('"{U}@{T} x"@{L}',), _UNCLEAR),
    # C. Source routes.
    Vector("C01", _HERE, ("@[{IP}]:{U}@{T}",)),
    Vector("C02", _HERE, ("@{H}:{U}@{T}", "@{L}:{U}@{T}")),
    Vector("C03", _HERE, ("@{H},@{T}:{U}@{T}", "@a.{T},@b.{T},@c.{T}:{U}@{T}", "@{H},@[{IP}]:{U}@{T}")),
    Vector("C04", _HERE, ("@{L}:{U}%{T}@{L}", '@{L}:"{U}@{T}"@{L}', "@{L}:{T}!{U}"), _UNCLEAR),
    Vector("C05", _HERE, ("@{T}:{R}@{L}",), Whose.LOCAL),
    Vector("C06", _HERE, ("@:{U}@{T}", "@{L},{U}@{T}")),
    # D. Ways to write a domain.
    Vector("D01", _ANY, ("{U}@{T}.", "{U}@{T}..")),
    Vector("D02", _ANY, ("{U}@[{TIP}]",)),
    Vector("D03", _ANY, ("{U}@[IPv6:{TIP6}]", "{U}@[ipv6:{TIP6}]")),
    Vector("D04", _ANY, ("{U}@{TIP}", "{U}@[0x7f.1]", "{U}@[2130706433]", "{U}@[321.1.2.3]")),
    Vector("D05", _ANY, ("{U}@[127.0.0.1]", "{U}%{T}@[127.0.0.1]", "{U}@[::1]", "{U}@[IPv6:::1]"), _UNCLEAR),
    Vector("D06", _ANY, ("{U}@{RAND}.{L}",), _UNCLEAR),
    Vector("D07", _ANY, ("{U}@evil{L}", "{U}@{L}.{T}", "{U}@x{L}", "{U}@{L_DOT_AS_X}")),
    Vector("D08", _ANY, ("{U}@{T_UPPER}", "{U}@xn--{RAND}-0ca.{T}", "{U}@m\u00fcnster.{T}", "{U}@{L_IDEOGRAPHIC_DOT}")),
    Vector("D09", _ANY, ("{U}@{T}\0@{L}", "{U}@{T}\t@{L}", "{U}@{T}\r@{L}"), _UNCLEAR),
    Vector("D10", _ANY, ("{U}@{T}:25", "{U}@{T}/..", "{U}@{T}|cmd", "|cmd", "/etc/x"), _UNCLEAR),
    Vector("D11", _ANY, ("{U}@{MXT}",)),
    Vector("D12", _ANY, ("{U}@{WILD_MX}", "{U}@{A_LOOPBACK}", "{U}@{A_TARGET}", "{U}@{CNAME_L}")),
    Vector("D13", _ANY, ("RCPT TO:{U}(c)@{T}", "RCPT TO: Name <{U}@{T}>", "RCPT TO:{U}@{T}", "RCPT TO:<<{U}@{T}>>"), raw=True),
    Vector("D14", _ANY, ("{LOCAL65}@{T}", "{U}@{DOMAIN256}")),
    Vector("D15", _ANY, ("postmaster@{T}",)),
    # J. What may be relayed because of what a domain's DNS says, or of a wildcard.
    Vector("J01", _ANY, ("{U}@{RAND}.{T}",)),
    Vector("J05", _ANY, ("list@{L}", "owner-list@{L}"), Whose.LOCAL),
)

# Asked again in every other state and place: one of each idea.
BASE: Final = ("A01", "A03", "A05", "A06", "B02", "B03", "C02")


class Question(NamedTuple):
    """One envelope to try. ``sender`` and ``recipient`` are paths without angle brackets, or the whole RCPT with ``raw``."""

    vector: str
    sender: str
    recipient: str
    whose: Whose
    helo: str = ""
    auth: str = ""
    raw: bool = False

    @property
    def mail(self) -> str:
        """The command. AUTH's mailbox is xtext (RFC 4954 section 5), which leaves ordinary letters alone."""
        return f"MAIL FROM:<{self.sender}>" + (f" AUTH={self.auth}" if self.auth else "")

    @property
    def rcpt(self) -> str:
        """The command."""
        return self.recipient if self.raw else f"RCPT TO:<{self.recipient}>"

    @property
    def how(self) -> str:
        """What is asked, for a table."""
        return " ".join(filter(None, (self.mail, self.rcpt, f"HELO {self.helo}" if self.helo else "")))


def questions(vector: Vector, known: Mapping[str, str]) -> list[Question]:
    """The questions of a vector whose placeholders are all known. ``{R}`` is a mailbox of the target, and so on."""
    values = {**known, **_derived(known)}
    senders, recipients = _filled(vector.senders, values), _filled(vector.recipients, values)
    helos = _filled(vector.helo, values) if vector.helo else [""]
    auths = _filled(vector.auth, values) if vector.auth else [""]
    return [
        Question(vector.id, sender, recipient, vector.whose, helo, auth, vector.raw)
        for sender in senders
        for recipient in recipients
        for helo in helos
        for auth in auths
    ]


def _filled(templates: tuple[str, ...], values: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    for template in templates:
        text = template
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        if "{" not in text and text not in found:
            found.append(text)
    return found


def _derived(known: Mapping[str, str]) -> dict[str, str]:
    values = {"LOCAL65": "a" * 65, "T_UPPER": known["T"].upper(), "DOMAIN256": "a" * 60 + ".b" * 100 + f".{known['T']}"}
    if domain := known.get("L"):
        values |= {"L_DOT_AS_X": domain.replace(".", "x"), "L_IDEOGRAPHIC_DOT": domain.replace(".", "\u3002")}
    return values
