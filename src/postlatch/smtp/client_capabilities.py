"""What a server offers in its reply to EHLO or LHLO. RFC 5321 section 4.1.1.1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_LIMIT: Final = re.compile(r"(?<![^ ])(RCPTMAX|MAILMAX)=([1-9][0-9]{0,5})(?![^ ])")  # RFC 9422 section 4


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The extensions that the client knows. A server that was greeted with HELO has none: that is the default.

    ``size`` is the largest message in octets, 0 for no stated limit, None if SIZE is not offered. ``rcpt_max`` and ``mail_max``
    are recipients a transaction and transactions a connection (RFC 9422), 0 for no stated limit. CHUNKING is learned and not
    used: DATA lets the server refuse the recipients before it gets the body, and BDAT has been the buggier of the two.
    """

    pipelining: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    dsn: bool = False
    chunking: bool = False
    starttls: bool = False
    enhanced_codes: bool = False
    size: int | None = None
    mechanisms: frozenset[str] = frozenset()
    rcpt_max: int = 0
    mail_max: int = 0
    requiretls: bool = False


def parse_capabilities(lines: Sequence[bytes]) -> Capabilities:
    """Read the text lines of the reply; the first is the server's name and greeting. What is malformed is not offered."""
    keywords: dict[str, str] = {}
    mechanisms: set[str] = set()
    for line in lines[1:]:
        keyword, _, rest = line.decode("latin-1").strip().upper().partition(" ")
        if keyword.startswith("AUTH="):  # the form of a draft that some servers send beside the real one
            keyword, rest = "AUTH", f"{keyword[5:]} {rest}"
        if keyword == "AUTH":
            mechanisms.update(rest.split())
        keywords[keyword] = rest
    limits = dict(_LIMIT.findall(keywords.get("LIMITS", "")))
    return Capabilities(
        pipelining="PIPELINING" in keywords,
        eight_bit_mime="8BITMIME" in keywords,
        smtputf8="SMTPUTF8" in keywords,
        dsn="DSN" in keywords,
        chunking="CHUNKING" in keywords,
        starttls="STARTTLS" in keywords,
        enhanced_codes="ENHANCEDSTATUSCODES" in keywords,
        size=_size(keywords.get("SIZE")),
        mechanisms=frozenset(mechanisms),
        rcpt_max=int(limits.get("RCPTMAX", 0)),
        mail_max=int(limits.get("MAILMAX", 0)),
        requiretls="REQUIRETLS" in keywords,
    )


def _size(value: str | None) -> int | None:
    """RFC 1870 section 4: the number may be absent, and 0 means no fixed limit."""
    if value is None:
        return None
    return int(value) if _NUMBER.fullmatch(value.strip()) else 0
