"""The fields of a delivery status, each made safe on its own: what a peer or a client chose never becomes structure.

RFC 3464 section 2 (fields), RFC 3461 section 4 (xtext), RFC 6533 section 3 (UTF-8 addresses in ASCII).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime

from postlatch.model.address import Address
from postlatch.smtp import xtext

MAX_DIAGNOSTIC = 500  # octets (DESIGN section 11)

_STATUS = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_REMOTE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,253}[A-Za-z0-9])?")
_TYPE = re.compile(r"[A-Za-z0-9-]{1,32}")
_PRINTABLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_CODE = re.compile(r"[245][0-9]{2}(?:[ -]|$)")
_UNSAFE = re.compile(r"[^\x20-\x7e]")
_NOT_XTEXT_UTF8 = re.compile(r"[^\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]")


def date(at: float) -> str:
    """An RFC 5322 date in UTC."""
    return format_datetime(datetime.fromtimestamp(at, UTC))


def status(enhanced: str, action_class: str) -> str:
    """``enhanced`` if it is a status of this class (``2``, ``4`` or ``5``), else that class's ``X.0.0``.

    A failure may bear class 4: a temporary condition that lasted until the message was given up (RFC 3463 section 2).
    """
    good = _STATUS.fullmatch(enhanced) is not None
    if good and (enhanced[0] == action_class or (action_class == "5" and enhanced[0] == "4")):
        return enhanced
    return f"{action_class}.0.0"


def remote_mta(remote: str) -> str | None:
    """``dns; NAME`` if ``remote`` (``NAME[ADDRESS]:PORT``) begins with a host name, else None."""
    name = remote.partition("[")[0]
    return f"dns; {name}" if _REMOTE.fullmatch(name) and "." in name else None


def diagnostic(reply: str, *, remote: bool) -> str:
    """``smtp; …`` for what a peer said, ``x-postlatch; …`` for what we found ourselves; printable, bounded, on one line."""
    kind = "smtp" if remote and _CODE.match(reply) else "x-postlatch"
    return f"{kind}; {escaped(reply)}"[:MAX_DIAGNOSTIC].rstrip()


def escaped(text: str) -> str:
    r"""Printable ASCII: every other character as ``\xHH``, ``\uHHHH`` or ``\UHHHHHHHH``."""
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return f"\\x{ord(character):02x}" if character < "\x80" else character.encode("ascii", "backslashreplace").decode()


def envelope_id(envid: str) -> str | None:
    """The ENVID behind its xtext if it is printable (RFC 3464 section 2.2.1), else None: better absent than altered."""
    return _plain(envid)


def original_recipient(orcpt: str, named: Address | None, *, utf8: bool) -> str | None:
    """The Original-Recipient: ORCPT as the client gave it if it is valid, else the alias that it named, else None."""
    kind, semicolon, value = orcpt.partition(";")
    if semicolon and _TYPE.fullmatch(kind):
        if kind.lower() == "utf-8":
            # Already in the form of RFC 6533 unless the client sent raw UTF-8; its own escapes must stay as they are.
            value = _UNSAFE.sub(_utf8_escape, value)
            return f"{kind}; {value}" if _PRINTABLE.fullmatch(value) else None
        decoded = _plain(value)
        if decoded is not None:
            return f"{kind}; {decoded}"
    return final_recipient(named, utf8=utf8) if named is not None else None


def final_recipient(address: Address, *, utf8: bool) -> str:
    """``rfc822; ADDRESS``, or its ``utf-8`` form: raw in a report that may hold UTF-8, else written in ASCII."""
    if not address.needs_smtputf8:
        return f"rfc822; {address.text}"
    return f"utf-8; {address.text if utf8 else ascii_utf8(address.text)}"


def ascii_utf8(text: str) -> str:
    r"""RFC 6533 section 3: ``\x{HEX}`` for what is not ASCII, and for ``\ + =`` and spaces."""
    return _NOT_XTEXT_UTF8.sub(_utf8_escape, text)


def _utf8_escape(match: re.Match[str]) -> str:
    return f"\\x{{{ord(match[0]):X}}}"


def _plain(value: str) -> str | None:
    try:
        decoded = xtext.decode(value)
    except ValueError:
        return None
    return decoded if len(decoded) <= MAX_DIAGNOSTIC and _PRINTABLE.fullmatch(decoded) else None
