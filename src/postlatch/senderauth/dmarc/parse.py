"""The DMARC record: RFC 9989 sections 4.7 and 4.8. Unknown tags and faulty values are ignored, as the RFC asks; only ``v``
decides whether a text is a record at all."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from postlatch.model.address import AddressError, parse_address
from postlatch.senderauth.results import Disposition

MAX_REPORT_ADDRESSES: Final = 10
_MAX_URI: Final = 500  # characters
_USUAL: Final = 512  # octets of a record

_VERSION: Final = re.compile(r"[vV][ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")  # the value alone is case-sensitive
_VALUE: Final = re.compile(r"[\x20-\x3a\x3c-\x7e\t]+")  # WSP belongs to the separators
_OTHER_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:[A-Za-z0-9\-._~:/?#\[\]@$&'()*+;=%]+")
_OLD_SIZE: Final = re.compile(r"![0-9]{1,20}[kmgtKMGT]?\Z")
_FO: Final = frozenset("01ds")


class Record(NamedTuple):
    """What a record asks for, with its defaults in place.

    ``p``, ``sp`` and ``np`` are None where the tag is absent; of a record with a fault in one of them only ``p=none`` is left,
    and if it has no address for reports either, ``usable`` is False (section 4.10.1). ``psd`` is ``y``, ``n`` or ``u``.
    ``fo`` is normalised, for reports. ``rua`` are mailboxes that take aggregate reports, at most ten, as they stand.
    """

    p: Disposition = Disposition.NONE
    sp: Disposition | None = None
    np: Disposition | None = None
    usable: bool = True
    testing: bool = False
    psd: str = "u"
    strict_dkim: bool = False
    strict_spf: bool = False
    fo: str = "0"
    rua: tuple[str, ...] = ()

    def policy_for_subdomain(self, *, exists: bool) -> Disposition:
        """What holds for mail of a subdomain: ``sp``, or ``np`` if the name does not exist, and ``p`` where they are absent."""
        existing = self.p if self.sp is None else self.sp
        return existing if exists or self.np is None else self.np


def is_record(text: bytes) -> bool:
    """Begins with the version tag, which must be the first one (section 4.7, ``v``)."""
    return _VERSION.match(text.decode("latin-1")) is not None


def parse_record(texts: list[bytes]) -> Record | None:
    """The record of a name from all its TXT records: None if there is none, or more than one (section 4.10, step 2)."""
    records = [text for text in texts if is_record(text)]
    if len(records) != 1:
        return None
    return (_parse_again if len(records[0]) <= _USUAL else _parse)(records[0].decode("latin-1"))


def _parse(text: str) -> Record:
    tags = _tags(text)
    rua, has_destination = report_addresses(tags.get("rua", ""))
    asked = {name: _disposition(tags.get(name)) for name in ("p", "sp", "np")}
    faulty = asked["p"] is None or any(name in tags and asked[name] is None for name in ("sp", "np"))
    if faulty:
        asked = dict.fromkeys(asked)
    return Record(
        p=asked["p"] or Disposition.NONE,
        sp=asked["sp"],
        np=asked["np"],
        usable=not faulty or has_destination,
        testing=tags.get("t", "").lower() == "y",
        psd=_one_of(tags.get("psd"), "yn", "u"),
        strict_dkim=tags.get("adkim", "").lower() == "s",
        strict_spf=tags.get("aspf", "").lower() == "s",
        fo=_failure_options(tags.get("fo", ""), has_ruf="ruf" in tags),
        rua=rua,
    )


# Much mail is of few domains; what is longer than any usual record must not fill the memory.
_parse_again = lru_cache(maxsize=1024)(_parse)


def _tags(text: str) -> dict[str, str]:
    """The tags behind the version. A tag that stands twice is an error in the syntax: neither value is believed.

    A value that cannot be one becomes ``""``, which no tag has as a valid value.
    """
    found: dict[str, str] = {}
    for part in text.split(";")[1:]:
        name, equals, value = part.partition("=")
        name = name.strip(" \t").lower()
        if not equals or not name.isascii() or not name.isalpha():
            continue
        valid = _VALUE.fullmatch(value) is not None and name not in found
        found[name] = value.strip(" \t") if valid else ""
    return found


def _disposition(value: str | None) -> Disposition | None:
    try:
        return Disposition((value or "").lower())
    except ValueError:
        return None


def _one_of(value: str | None, choices: str, default: str) -> str:
    found = (value or "").lower()
    return found if len(found) == 1 and found in choices else default


def _failure_options(value: str, *, has_ruf: bool) -> str:
    """``fo`` counts only beside ``ruf``; 0 and 1 exclude each other, and nothing stands twice (section 4.8)."""
    options = value.lower().replace(" ", "").split(":")
    valid = set(options) <= _FO and len(options) == len(set(options)) and not {"0", "1"} <= set(options)
    return ":".join(options) if has_ruf and valid else "0"


def report_addresses(value: str) -> tuple[tuple[str, ...], bool]:
    """The mailboxes of a ``rua`` value, and whether it names any valid destination at all: other schemes are ignored."""
    mailboxes: list[str] = []
    valid = False
    for part in value.split(",", 100)[:100]:
        uri = _OLD_SIZE.sub("", part.strip(" \t")[:_MAX_URI])
        mailbox = _mailbox(uri)
        valid = valid or mailbox is not None or (not _is_mailto(uri) and _OTHER_URI.fullmatch(uri) is not None)
        if mailbox is not None and mailbox not in mailboxes and len(mailboxes) < MAX_REPORT_ADDRESSES:
            mailboxes.append(mailbox)
    return tuple(mailboxes), valid


def _is_mailto(uri: str) -> bool:
    return uri[:7].lower() == "mailto:"


def _mailbox(uri: str) -> str | None:
    """The one ASCII mailbox of a ``mailto:`` URI (RFC 6068); its header fields are not ours to set."""
    if not _is_mailto(uri):
        return None
    try:
        address = parse_address(unquote(uri[7:].partition("?")[0], errors="strict"))
    except (AddressError, UnicodeDecodeError):
        return None
    return address.text if not address.is_literal else None
