"""Security ranges: rows of hm_securityranges as JSON, CSV or SQL, or objects of the COM interface as JSON or CSV."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.ranges import Range, between
from postlatch.audit.lint.reading import read, shown
from postlatch.audit.lint.rows import MOST_ROWS, Row, rows_of

SMTP: Final = 1
LOCAL_TO_REMOTE: Final = 128
REMOTE_TO_REMOTE: Final = 512
AUTH_LOCAL_TO_REMOTE: Final = 16384
AUTH_REMOTE_TO_LOCAL: Final = 32768
AUTH_REMOTE_TO_REMOTE: Final = 65536
TLS_FOR_AUTH: Final = 131072

_PROPERTIES: Final[Mapping[str, int]] = {
    "allowsmtpconnections": SMTP,
    "allowdeliveryfromlocaltoremote": LOCAL_TO_REMOTE,
    "allowdeliveryfromremotetoremote": REMOTE_TO_REMOTE,
    "requiresmtpauthlocaltoexternal": AUTH_LOCAL_TO_REMOTE,
    "requiresmtpauthexternaltolocal": AUTH_REMOTE_TO_LOCAL,
    "requiresmtpauthexternaltoexternal": AUTH_REMOTE_TO_REMOTE,
    "requiressltlsforauth": TLS_FOR_AUTH,
    "requiretlsforauth": TLS_FOR_AUTH,
}
_INSERT: Final = re.compile(r"insert\s+into\s+[`\"\[]?hm_securityranges[`\"\]]?\s*", re.IGNORECASE)
_VALUE: Final = re.compile(r"\s*(?:N?'((?:[^']|'')*)'|([^,()'\s]+))\s*([,)])")
_COLUMNS: Final = [
    "rangeid",
    "rangepriorityid",
    "rangelowerip1",
    "rangelowerip2",
    "rangeupperip1",
    "rangeupperip2",
    "rangeoptions",
    "rangename",
    "rangeexpires",
    "rangeexpirestime",
]


class SecurityRange(NamedTuple):
    """One range: which clients, how important, and the bits of rangeoptions."""

    name: str
    range: Range
    priority: int
    options: int
    row: Row


def load(path: Path) -> list[SecurityRange]:
    """LintError if there are no ranges."""
    rows = _of_sql(path) if path.is_file() and path.suffix.lower() == ".sql" else rows_of(path)
    ranges = [made for row in rows if (made := _range(row)) is not None]
    if not ranges:
        raise LintError("holds no security ranges of hMailServer (rangeoptions or LowerIP)", shown(str(path), 300))
    return ranges


def _range(row: Row) -> SecurityRange | None:
    if row.flag("rangeexpires") or row.flag("expires"):
        return None  # a ban that ends; the range behind it decides then
    if "rangeoptions" in row.values:
        options = _number(row.text("rangeoptions"))
        low = _address(row.text("rangelowerip1"), row.text("rangelowerip2"))
        high = _address(row.text("rangeupperip1"), row.text("rangeupperip2"))
    elif "lowerip" in row.values:
        options = sum({bit for name, bit in _PROPERTIES.items() if row.flag(name)})
        low, high = _address(row.text("lowerip"), ""), _address(row.text("upperip"), "")
    else:
        return None
    range_ = between(low, high) if low is not None and high is not None else None
    if range_ is None or options is None:
        raise LintError("a security range without addresses or options that can be read", row.file, row.line)
    name = shown(row.text("rangename", "name"), 80) or "(without a name)"
    return SecurityRange(name, range_, _number(row.text("rangepriorityid", "priority")) or 0, options, row)


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else None


def _address(first: str, second: str) -> IPv4Address | IPv6Address | None:
    """An address as text, as one number (IPv4), or as two of 64 bits (IPv6)."""
    try:
        return ip_address(first.strip())
    except ValueError:
        pass
    high, low = _number(first), _number(second)
    if high is None:
        return None
    if low is None:
        return IPv4Address(high) if high < 1 << 32 else None
    return IPv6Address(high << 64 | low) if max(high, low) < 1 << 64 else None


def _of_sql(path: Path) -> Iterator[Row]:
    text, name = read(path), shown(str(path), 300)
    for count, found in enumerate(_INSERT.finditer(text)):
        line = text.count("\n", 0, found.start()) + 1
        if count >= MOST_ROWS // 20:
            raise LintError("has too many security ranges", name, line)
        columns, at = _tuple(text, found.end())
        word = re.compile(r"\s*values\s*", re.IGNORECASE).match(text, at if columns else found.end())
        if word is None:
            continue
        names = [column.strip('`"[] ').lower() for column in columns] or _COLUMNS
        at = word.end()
        while True:
            values, at = _tuple(text, at)
            if not values:
                break
            yield Row(dict(zip(names if len(names) == len(values) else _COLUMNS[1:], values, strict=False)), name, line)
            comma = re.compile(r"\s*,\s*").match(text, at)
            if comma is None:
                break
            at = comma.end()


def _tuple(text: str, at: int) -> tuple[list[str], int]:
    """The values between parentheses at ``at``, and where they end; none if there are no parentheses."""
    if text[at : at + 1] != "(":
        return [], at
    values: list[str] = []
    at += 1
    while len(values) < 50 and (found := _VALUE.match(text, at)) is not None:
        values.append(found[2] if found[1] is None else found[1].replace("''", "'"))
        at = found.end()
        if found[3] == ")":
            return ["" if value.upper() == "NULL" else value for value in values], at
    return [], at
