"""What is to be changed, as text of a zone file (RFC 1035 section 5.1). Pure.

Every name ends with a dot, so the text is right wherever it is pasted. Only records of the domain's own zone stand there to be
loaded; what goes elsewhere, may stay away or must be removed is a comment.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from postlatch.app.dns_records.published import Published, ancestors
from postlatch.app.dns_records.rows import BAD, Row, Status, printable
from postlatch.app.dns_records.wanted import TTL, Site

STRING: Final = 255  # octets of one string in a TXT record (RFC 1035 section 3.3)
_REMOVED: Final = 2000  # characters of a record that is to be removed


def fragment(site: Site, published: Published, rows: list[Row]) -> str:
    """The text; ``""`` if there is nothing to change."""
    zone = apex(site.domain, published)
    lines = [line for row in rows for line in _lines(row, site, zone, published)]
    if not lines:
        return ""
    return "\n".join([f"; For {site.domain}, in the zone {zone}. Lines that begin with ; are for you to read.", *lines]) + "\n"


def apex(name: str, published: Published) -> str:
    """The zone that holds a name: the nearest name at or above it that has name servers; else the name itself."""
    return next((above for above in ancestors(name, 2) if published.at(above, "NS").records), name)


def _lines(row: Row, site: Site, zone: str, published: Published) -> Iterator[str]:
    if row.status in BAD:
        yield from (f"; remove: {record(row.name, row.type, text)}" for text in row.remove if text != row.publish)
    if row.publish and (row.status in BAD or row.status is Status.OPTIONAL) and row.publish not in row.published:
        yield f"{_prefix(row, site, zone, published)}{record(row.name, row.type, row.publish)}"
    if row.status in BAD or row.status is Status.OPTIONAL:
        yield from (f"; {printable(line)}" for line in row.note)


def _prefix(row: Row, site: Site, zone: str, published: Published) -> str:
    if row.type == "PTR":
        return "; at the provider of the address: "
    if not _is_in(row.name, site, zone, published):
        return f"; {'optional, ' if row.status is Status.OPTIONAL else ''}in another zone: "
    return "; optional: " if row.status is Status.OPTIONAL else ""


def _is_in(name: str, site: Site, zone: str, published: Published) -> bool:
    """True if a record of this name belongs into the zone of the domain."""
    if not (name == zone or name.endswith(f".{zone}")):
        return False
    of_host = name == site.hostname or name.endswith(f".{site.hostname}")
    host_zone = apex(site.hostname, published)
    return not of_host or host_zone in {zone, site.hostname, name} or not host_zone.endswith(f".{zone}")


def record(name: str, kind: str, data: str) -> str:
    """One record as a line of a zone file. ``data`` of TXT is plain text, of other types as it is to stand there."""
    written = quoted(data.encode("utf-8", "surrogateescape")) if kind == "TXT" else printable(data, _REMOVED)
    return f"{printable(name)}. {TTL} IN {kind} {written}"


def quoted(text: bytes) -> str:
    """The strings of a TXT record: at most 255 octets each, quoted, and everything but printable ASCII escaped."""
    parts = [text[start : start + STRING] for start in range(0, len(text), STRING)] or [b""]
    return " ".join(f'"{"".join(map(_escaped, part))}"' for part in parts)


def _escaped(octet: int) -> str:
    character = chr(octet)
    if character in {'"', "\\"}:
        return f"\\{character}"
    return character if 0x20 <= octet < 0x7F else f"\\{octet:03d}"
