"""Authentication-Results (RFC 8601) and Received-SPF (RFC 7208 section 9.1): what was found out, for readers of the message."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from postlatch.senderauth.authres_forged import strip
from postlatch.senderauth.dkim.text import printable
from postlatch.senderauth.results import ArcResult, Authentication, DkimResult, DmarcResult, Result, SpfResult

__all__ = ["field", "received_spf", "strip", "vouched_for"]

MAX_SIGNATURES: Final = 20  # that are reported
_MAX_VALUE: Final = 320  # characters, so that a line stays far below the 998 of RFC 5322
_MAX_REASON: Final = 120
_LINE: Final = 78
_MAX_FIELD: Final = 65_536  # octets of a field of ours
_FIELD_END: Final = re.compile(rb"\r\n(?![ \t])")

# A comment could hold these escaped, but readers disagree about that.
_NO_COMMENT: Final = str.maketrans("()\\", "[]/")
_ATEXT: Final = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
# RFC 8601 section 2.2, pvalue: a token of RFC 2045, or a domain with or without a local part before it.
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~\-]+")
_MAILBOX: Final = re.compile(rf"(?:[{_ATEXT}]+(?:\.[{_ATEXT}]+)*)?@[A-Za-z0-9\-]+(?:\.[A-Za-z0-9\-]+)*")
_DOT_ATOM: Final = re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*")


def field(authserv_id: str, authentication: Authentication, *, smtp_auth: str | None = None) -> bytes:
    """The Authentication-Results field of one message, with its CRLFs. ``smtp_auth`` is who had logged in to send it."""
    results = [] if smtp_auth is None else [_words("auth=pass", (("smtp.auth", smtp_auth),))]
    results += [_spf(one) for one in (authentication.spf, authentication.spf_helo) if one is not None]
    results += [_dkim(one) for one in authentication.dkim[:MAX_SIGNATURES]] or [["dkim=none"]]
    results += [_arc(authentication.arc), _dmarc(authentication.dmarc)]
    lines = [f"Authentication-Results: {_pvalue(authserv_id)}"]
    for words in results:
        lines[-1] += ";"
        lines += _fold(words)
    return ("\r\n".join(lines) + "\r\n").encode("ascii")


def vouched_for(message: bytes, authserv_id: str) -> str:
    """The author's domain, if a message of ours (octets, our fields in front) begins with our field and DMARC passed; else "".

    Only the very first field is looked at: we put it there, and what a sender wrote stands behind our Received.
    """
    head = f"Authentication-Results: {_pvalue(authserv_id)};\r\n\t".encode("ascii")
    if not message.startswith(head):
        return ""
    first = _first_field(message[:_MAX_FIELD], len(head)).decode("ascii", "replace")
    for result in first.split(";\r\n\t"):
        words = result.split()
        if words[:1] == ["dmarc=pass"]:
            return next((word.removeprefix("header.from=") for word in words if word.startswith("header.from=")), "")
    return ""


def _first_field(message: bytes, start: int) -> bytes:
    end = _FIELD_END.search(message, start)
    return message[start : end.start() if end is not None else start]


def _spf(spf: SpfResult) -> list[str]:
    return _words(f"spf={spf.result}", (("smtp.helo" if spf.scope == "helo" else "smtp.mailfrom", spf.domain),))


def _dkim(dkim: DkimResult) -> list[str]:
    properties = (
        ("header.d", dkim.domain),
        ("header.i", dkim.identity),
        ("header.s", dkim.selector),
        ("header.a", dkim.algorithm),
        ("header.b", dkim.signature),
    )
    return _words(f"dkim={dkim.result}", properties, "" if dkim.result is Result.PASS else dkim.reason)


def _arc(arc: ArcResult) -> list[str]:
    """The newest sealer as a comment: RFC 8617 section 7.2 has no property for it."""
    oldest = "" if arc.oldest_pass is None else str(arc.oldest_pass)
    words = _words(f"arc={arc.result}", (("header.oldest-pass", oldest),), arc.reason if arc.result is Result.FAIL else "")
    if arc.sealers:
        words.append(f"(i={arc.instance} sealed by {printable(arc.sealers[-1], _MAX_VALUE).translate(_NO_COMMENT)})")
    return words


def _dmarc(dmarc: DmarcResult) -> list[str]:
    policy = str(dmarc.policy) if dmarc.policy_domain else ""  # RFC 9989: what applies, after t
    return _words(f"dmarc={dmarc.result}", (("header.from", dmarc.from_domain), ("policy.dmarc", policy)))


def _words(result: str, properties: tuple[tuple[str, str], ...], reason: str = "") -> list[str]:
    """One result as what stands between white space; a property without a value is left out."""
    words = [result]
    if reason:
        words.append(f"reason={_quoted(reason, _MAX_REASON)}")
    return words + [f"{name}={_pvalue(value)}" for name, value in properties if value]


def _fold(words: list[str]) -> Iterator[str]:
    line = "\t" + words[0]
    for word in words[1:]:
        if len(line) + 1 + len(word) > _LINE:
            yield line
            line = "\t " + word
        else:
            line += " " + word
    yield line


def _pvalue(text: str) -> str:
    short = printable(text, _MAX_VALUE)
    return short if _TOKEN.fullmatch(short) or _MAILBOX.fullmatch(short) else _quoted(short, _MAX_VALUE)


def _quoted(text: str, limit: int) -> str:
    return '"' + printable(text, limit).replace("\\", "\\\\").replace('"', '\\"') + '"'


def received_spf(spf: SpfResult, *, client: str, helo: str, receiver: str, sender: str | None) -> bytes:
    """The Received-SPF field of RFC 7208 section 9.1, with its CRLFs. ``sender`` is None for ``<>``."""
    pairs = [
        ("client-ip", client),
        ("envelope-from", sender or ""),
        ("helo", helo),
        ("receiver", receiver),
        ("identity", "helo" if spf.scope == "helo" else "mailfrom"),
        ("mechanism", spf.mechanism),
    ]
    if spf.result in {Result.TEMPERROR, Result.PERMERROR}:
        pairs.append(("problem", spf.reason))
    words = [f"{key}={_spf_value(value)};" for key, value in pairs if value or key == "envelope-from"]
    comment = printable(f"{receiver}: {spf.reason}", _MAX_VALUE).translate(_NO_COMMENT)
    lines = [f"Received-SPF: {spf.result} ({comment})", *_fold(words)]
    return ("\r\n".join(lines) + "\r\n").encode("ascii")


def _spf_value(text: str) -> str:
    short = printable(text, _MAX_VALUE)
    return short if _DOT_ATOM.fullmatch(short) else _quoted(short, _MAX_VALUE)
