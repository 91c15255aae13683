"""What a report says, as plain values. Every text that its sender chose is printable ASCII of bounded length here already."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple

MAX_TEXT: Final = 500  # characters of any text that is kept
MAX_ROWS: Final = 10_000  # of one report; what is beyond is only counted
MAX_COUNT: Final = 10**12  # messages in one row: more is no count
_LAST_SECOND: Final = 2**33  # of a time stamp: the year 2242


class ReportError(Exception):
    """This is no report that can be read. The text is a sentence for a person, printable ASCII."""


class AuthResult(NamedTuple):
    """One DKIM signature, or one SPF check, as the reporter saw it. ``selector`` is a signature's, ``scope`` a check's."""

    method: str
    domain: str
    result: str
    selector: str = ""
    scope: str = ""


class Row(NamedTuple):
    """Messages from one address that fared alike. ``dkim`` and ``spf``: an aligned identifier passed.

    ``reasons`` are the overrides as ``type: comment``; ``auth`` what the checks found, aligned or not.
    """

    source: IPv4Address | IPv6Address
    messages: int
    disposition: str
    dkim: bool
    spf: bool
    header_from: str
    envelope_from: str = ""
    envelope_to: str = ""
    reasons: tuple[str, ...] = ()
    auth: tuple[AuthResult, ...] = ()

    @property
    def passed(self) -> bool:
        """DMARC is satisfied by either of the two (RFC 9989 section 4.4)."""
        return self.dkim or self.spf


class AggregateReport(NamedTuple):
    """A DMARC aggregate report: RFC 9990, or the older format of RFC 7489 appendix C.

    ``begin`` and ``end`` are seconds since 1970 UTC. ``policy`` is what the reporter found published, tag by tag. ``left_out``:
    rows that could not be read or were too many; ``left_out_messages``: theirs, as far as they said.
    """

    reporter: str
    contact: str
    report_id: str
    domain: str
    begin: int
    end: int
    policy: dict[str, str]
    rows: tuple[Row, ...]
    errors: tuple[str, ...] = ()
    left_out: int = 0
    left_out_messages: int = 0


class TlsFailure(NamedTuple):
    """Sessions that failed alike (RFC 8460 section 4.4, ``failure-details``). Addresses are as they were written."""

    result: str
    sessions: int
    sending_address: str = ""
    receiving_host: str = ""
    receiving_address: str = ""
    information: str = ""


class TlsPolicyResult(NamedTuple):
    """How sessions fared under one policy. ``kind``: ``sts``, ``tlsa`` or ``no-policy-found``."""

    kind: str
    domain: str
    successes: int
    failures: int
    details: tuple[TlsFailure, ...] = ()


class TlsReport(NamedTuple):
    """A TLS report (RFC 8460)."""

    reporter: str
    contact: str
    report_id: str
    begin: int
    end: int
    policies: tuple[TlsPolicyResult, ...]


def printable(text: str, most: int = MAX_TEXT) -> str:
    """``text`` on one line in printable ASCII, at most ``most`` characters; what is not ASCII is shown as an escape."""
    kept = " ".join(text[: 4 * most].split())
    safe = kept.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in safe)[:most]


def number(text: str, most: int) -> int | None:
    """A decimal number without a sign, None if it is none or above ``most``."""
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > 20:
        return None
    value = int(digits)
    return value if value <= most else None


def moment(text: str) -> int | None:
    """Seconds since 1970 within what a report can speak of."""
    return number(text, _LAST_SECOND)


def address(text: str) -> IPv4Address | IPv6Address | None:
    """An IP address; one of IPv4 that is written as IPv6 is that of IPv4."""
    try:
        found = ip_address(text.strip()[:100])
    except ValueError:
        return None
    if isinstance(found, IPv6Address):
        if found.scope_id is not None:
            return None
        return found.ipv4_mapped or found
    return found


def shown(data: bytes) -> str:
    """Octets for an error's sentence."""
    return printable(data[:60].decode("ascii", "backslashreplace"), 60)
