"""Finds the tokens of an audit in what arrived, and tells a message of the audit from a notification about one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from postlatch.audit.canary.values import Arrival
from postlatch.audit.printable import printable

MAX_HEADER: Final = 65_536  # octets
MAX_BODY: Final = 65_536
MAX_MESSAGE: Final = MAX_HEADER + MAX_BODY  # no more of a message is ever looked at
_MAX_FIELDS: Final = 1000
_MAX_RECEIVED: Final = 50

_BEGINS: Final = b"pl"  # Inquiry.token: pl, 8 hex digits, a number, 8 hex digits
_HEX: Final = frozenset(b"0123456789abcdef")
_HEX_LENGTH: Final = 8
_MAX_DIGITS: Final = 6

_OUR_FIELD: Final = b"x-postlatch-audit"
_ANSWER_FIELDS: Final = (b"in-reply-to", b"references")

Field = tuple[bytes, bytes]


class Envelope(NamedTuple):
    """What was said outside of a message. ``sender`` None: not known, as in a mailbox; empty: the null sender."""

    sender: str | None = None
    recipient: str = ""
    client: str = ""


def tokens(octets: bytes, run: str = "") -> Iterator[str]:
    """The tokens in octets, in their order; with ``run`` only those of that audit."""
    text = octets.lower()
    start = text.find(_BEGINS)
    while start >= 0:
        token = _token_at(text, start)
        if token is not None and (not run or token.startswith(f"{run}-")):
            yield token
        start = text.find(_BEGINS, start + len(token or "x"))


def _token_at(text: bytes, start: int) -> str | None:
    if start and text[start - 1 : start].isalnum():
        return None
    number = start + len(_BEGINS) + _HEX_LENGTH + 1
    end = number
    while end - number < _MAX_DIGITS and text[end : end + 1].isdigit():
        end += 1
    last = text[end + 1 : end + 1 + _HEX_LENGTH]
    dashes = text[number - 1 : number] + text[end : end + 1]
    if dashes != b"--" or end - number < 3 or text[end + 1 + _HEX_LENGTH : end + 2 + _HEX_LENGTH].isalnum():
        return None
    if not (_is_hex(text[start + len(_BEGINS) : number - 1]) and _is_hex(last)):
        return None
    return text[start : end + 1 + _HEX_LENGTH].decode("ascii")


def _is_hex(octets: bytes) -> bool:
    return len(octets) == _HEX_LENGTH and _HEX.issuperset(octets)


def read_message(octets: bytes, at: float, run: str = "", envelope: Envelope | None = None) -> Arrival:
    """What a message tells; its token is empty if it has none (of that run). Any octets give an answer.

    It is a message of the audit itself only if its own field says so, its Message-ID, or a Subject that is no answer's. All
    else that holds a token is mail about one: a bounce, a notification, a reply.
    """
    envelope = envelope or Envelope()
    fields, body = _split(octets[:MAX_MESSAGE].replace(b"\r\n", b"\n"))
    sender = envelope.sender if envelope.sender is not None else _return_path(fields)
    token, itself = _own_token(fields, run)
    if not token:
        token, itself = _subject_token(fields, run)
        itself = itself and sender != "" and not _is_notification(fields)
    if not token:
        rest = b"\n".join([value for _, value in fields] + [body.replace(b"=\n", b"")])  # RFC 2045 section 6.7: soft breaks
        token = next(tokens(rest, run), "")
    return Arrival(
        token,
        printable(sender or ""),
        printable(envelope.recipient or _first(fields, b"delivered-to") or _first(fields, b"x-original-to")),
        bounce=bool(token) and not itself,
        received=tuple(printable(value) for name, value in fields if name == b"received")[:_MAX_RECEIVED],
        client=printable(envelope.client),
        at=at,
    )


def _split(octets: bytes) -> tuple[list[Field], bytes]:
    """The fields of a header, unfolded, names in lower case; and the body. Lines end with LF."""
    header, _, body = (b"\n" + octets).partition(b"\n\n")
    fields: list[Field] = []
    for line in header[: MAX_HEADER + 1].split(b"\n")[:_MAX_FIELDS]:
        name, colon, value = line.partition(b":")
        if line[:1] in {b" ", b"\t"} and fields:
            fields[-1] = (fields[-1][0], fields[-1][1] + b" " + line.strip())
        elif colon:
            fields.append((name.strip().lower(), value.strip()))
    return fields, body[:MAX_BODY]


def _first(fields: list[Field], name: bytes) -> str:
    return next((value.decode("utf-8", "surrogateescape") for field, value in fields if field == name), "")


def _return_path(fields: list[Field]) -> str | None:
    """The envelope's sender as a mailbox keeps it (RFC 5321 section 4.4)."""
    if not any(name == b"return-path" for name, _ in fields):
        return None
    return _first(fields, b"return-path").strip("<>")


def _own_token(fields: list[Field], run: str) -> tuple[str, bool]:
    for wanted in (_OUR_FIELD, b"message-id"):
        for name, value in fields:
            if name == wanted and (token := next(tokens(value, run), "")):
                return token, True
    return "", False


def _subject_token(fields: list[Field], run: str) -> tuple[str, bool]:
    """The token of the Subject, and can the Subject be ours? In front of an answer's stands a word with a colon."""
    subject = _first(fields, b"subject").encode("utf-8", "surrogateescape")
    token = next(tokens(subject, run), "")
    return token, bool(token) and b":" not in subject.lower().partition(token.encode())[0]


def _is_notification(fields: list[Field]) -> bool:
    """Does a header say that this answers something? (RFC 3462, RFC 3834, RFC 5322 section 3.6.4.)"""
    for name, value in fields:
        if name == b"content-type" and value.lower().startswith(b"multipart/report"):
            return True
        if name == b"auto-submitted" and value.lower().startswith(b"auto-replied"):
            return True
        if name in _ANSWER_FIELDS and next(tokens(value), ""):
            return True
    return False
