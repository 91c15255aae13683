"""Records that are tag lists, ``v=STSv1; id=1``: which of a name's TXT records are meant, and what is wrong with one."""

from __future__ import annotations

from typing import NamedTuple

from postlatch.app.dns_records.rows import printable
from postlatch.senderauth.dkim.tags import TagError, parse_tags

_SPACE = " \t\r\n"


class Chosen(NamedTuple):
    """The records of one kind at a name: ``records`` are some; ``meant`` were to be some and are not."""

    records: tuple[str, ...]
    meant: tuple[str, ...]


def choose(texts: tuple[str, ...], version: str) -> Chosen:
    """Those that begin with ``v=VERSION``: receivers look at no other (RFC 8461 section 3.1; DMARC and TLS-RPT likewise)."""
    records = tuple(text for text in texts if _is_version(text, version))
    return Chosen(records, tuple(text for text in texts if text not in records and _looks_like(text, version)))


def read(text: str) -> tuple[dict[str, str], str]:
    """The tags, and what is wrong with the list as part of a sentence (``""``: nothing)."""
    try:
        return parse_tags(text), ""
    except TagError as error:
        return {}, printable(str(error), 200)


def _is_version(text: str, version: str) -> bool:
    name, equals, value = text.partition(";")[0].partition("=")
    return bool(equals) and name.strip(_SPACE) == "v" and value.strip(_SPACE) == version


def _looks_like(text: str, version: str) -> bool:
    """Somebody meant to write such a record: other case, quotes that a form took literally, no ``v=``."""
    plain = text[:100].lower().replace(" ", "").lstrip("\"'\\")
    return plain.startswith((f"v={version.lower()}", version.lower()))
