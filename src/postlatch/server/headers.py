"""Collects the header block of a message as it streams in, and reads from it what the policy wants to know."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import getaddresses
from typing import Final

from postlatch.model.address import Address, AddressError, parse_address
from postlatch.model.headers import Header, split_headers
from postlatch.policy.facts import NamedField
from postlatch.spool.priority import HeaderMarks, read_marks

# Octets of a From field that is read: a library that takes 5 µs an octet must not hold up everyone's mail.
MAX_FROM: Final = 8192
MAX_NAMED: Final = 20  # Sender and Resent fields that are read: a message is not sent on more often
_NAMED: Final = {b"sender": "Sender", b"resent-from": "Resent-From", b"resent-sender": "Resent-Sender"}
MAX_HEADER: Final = 262_144  # octets; Postfix cuts at 102,400, the largest real ones seen are about half of this


@dataclass(init=False, slots=True, unsafe_hash=True)
class HeaderFacts:
    """What the header says. ``header_from`` is None when a From field is absent or does not parse.

    ``named`` are the other fields that say who sends (RFC 5322 sections 3.6.2 and 3.6.6).
    """

    header_from: tuple[Address, ...] | None
    from_count: int
    received_count: int
    message_id: str
    names: set[bytes]
    eight_bit: bool
    marks: HeaderMarks
    named: tuple[NamedField, ...]

    def __init__(
        self,
        header_from: tuple[Address, ...] | None,
        from_count: int,
        received_count: int,
        message_id: str,
        names: set[bytes],
        eight_bit: bool,
        marks: HeaderMarks,
        named: tuple[NamedField, ...] = (),
    ) -> None:
        self.header_from = header_from
        self.from_count = from_count
        self.received_count = received_count
        self.message_id = message_id
        self.names = names
        self.eight_bit = eight_bit
        self.marks = marks
        self.named = named


class HeaderCollector:
    """Gathers octets until the empty line. ``complete`` then holds and ``rest`` is what came behind it."""

    def __init__(self) -> None:
        self.block = b""
        self.rest = b""
        self.complete = False
        self.too_long = False
        self._parts = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next octets of the message; only to be called until ``complete`` or ``too_long``."""
        scan_from = max(0, len(self._parts) - 3)
        self._parts += data
        if self._parts.startswith(b"\r\n"):
            self._end(0, 2)
            return
        end = self._parts.find(b"\r\n\r\n", scan_from)
        if end >= 0:
            self._end(end + 2, end + 4)
        elif len(self._parts) > MAX_HEADER + 1:  # a CR more may be of the empty line: every split must judge alike
            self.too_long = True

    def finish(self) -> None:
        """The message ended inside its header: there is no body."""
        if not self.complete:
            self._end(len(self._parts), len(self._parts))

    def _end(self, block_end: int, rest_start: int) -> None:
        self.block = bytes(self._parts[:block_end])
        self.rest = bytes(self._parts[rest_start:])
        self.complete = True
        self.too_long = block_end > MAX_HEADER
        self._parts = bytearray()


def read_facts(block: bytes) -> HeaderFacts:
    """Read a header block (each line with its CRLF)."""
    fields = split_headers(block)
    senders = [field.value for field in fields if field.name == b"from"]
    message_ids = [field.value for field in fields if field.name == b"message-id"]
    names = {field.name for field in fields}
    return HeaderFacts(
        header_from=_addresses(senders[0]) if len(senders) == 1 else None,
        from_count=len(senders),
        received_count=sum(field.name == b"received" for field in fields),
        message_id=message_ids[0][:998].decode("ascii", "backslashreplace") if message_ids else "",
        names=names,
        eight_bit=not block.isascii(),
        marks=read_marks(fields, names),
        named=() if names.isdisjoint(_NAMED) else _named(fields),
    )


def _named(fields: list[Header]) -> tuple[NamedField, ...]:
    """Sender and the Resent fields. More than a few are nobody's letter, and the first that is too many cannot be read."""
    found = [field for field in fields if field.name in _NAMED]
    read = [NamedField(_NAMED[field.name], _addresses(field.value)) for field in found[:MAX_NAMED]]
    return (*read, NamedField(_NAMED[found[MAX_NAMED].name], None)) if len(found) > MAX_NAMED else tuple(read)


# What nearly every program writes: an address alone, or behind a display name without quoting, comments or lists.
_WORD: Final = r"[^<>()\",:;\\\s@]+"
_PLAIN: Final = re.compile(rf"[A-Za-z0-9 _'.\-]*<(?P<angle>{_WORD}@{_WORD})>|(?P<bare>{_WORD}@{_WORD})")


def _addresses(value: bytes) -> tuple[Address, ...] | None:
    """Every mailbox of a From field, or None if any part of it does not parse strictly: a doubtful From is no From."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if len(value) > MAX_FROM or "\x00" in text or "\r" in text or "\n" in text:
        return None
    plain = _PLAIN.fullmatch(text)
    try:
        pairs = [("", plain["angle"] or plain["bare"])] if plain is not None else getaddresses([text])
        found = tuple(parse_address(address, smtputf8=True) for _, address in pairs)
    except (AddressError, RecursionError):  # the library calls itself for each comment in a comment
        return None
    if len(pairs) > 1 + text.count(","):
        return None  # two addresses with nothing between them: Python's releases differ about what that is
    # getaddresses() forgives much. What it understood must account for every @ outside quotes and comments, else a reader
    # that parses differently could see another author (espoofer's cases a8 to a19).
    return found if found and text.count("@") == sum(a.text.count("@") for a in found) + _quoted_ats(pairs) else None


def _quoted_ats(pairs: list[tuple[str, str]]) -> int:
    return sum(name.count("@") for name, _ in pairs)


__all__ = ["MAX_HEADER", "Header", "HeaderCollector", "HeaderFacts", "read_facts"]
