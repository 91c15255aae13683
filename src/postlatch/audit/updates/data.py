"""The file of known faults, ``postlatch.advisories/1``: one comes with the program, a newer one may be fetched beside it.

A file may come from elsewhere, so it is read like any other stranger's text: bounded in size, depth and number, every field of
its type and length, and a file that breaks a rule is refused whole, with what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from importlib.resources import files
from typing import Any, Final, NamedTuple

from postlatch.audit.printable import printable

SCHEMA: Final = "postlatch.advisories/1"
MOST_OCTETS: Final = 4 * 1024 * 1024
MOST_ENTRIES: Final = 10_000
STALE: Final = 90  # days
SEVERITIES: Final = ("critical", "high", "medium", "low", "unknown")
_MOST_TEXT: Final = 500
_MOST_PARTS: Final = 50


class AdvisoryDataError(Exception):
    """A file that cannot be used. Its text is safe to show."""


class Range(NamedTuple):
    """Versions from ``since`` (empty: the first), before ``before``, which mends it, or up to ``through``, which does not."""

    since: str
    before: str
    through: str


class Mended(NamedTuple):
    """A distribution's package that has the fix brought back. ``release`` is VERSION_ID of os-release(5)."""

    distribution: str
    release: str
    package: str
    fixed: str


class Entry(NamedTuple):
    """One fault of one product. ``product`` as in `audit.fingerprint`; empty where the source did not tell it.

    ``confirmed``: the versions were read at the source. Without ranges it matches nothing by version.
    """

    product: str
    id: str
    ranges: tuple[Range, ...]
    mended: tuple[Mended, ...]
    severity: str
    summary: str
    source: str
    note: str
    confirmed: bool


class Data(NamedTuple):
    """All faults that are known, as of ``date``."""

    date: date
    entries: tuple[Entry, ...]

    def age(self, now: float) -> int:
        """Whole days, 0 if the clock stands before it."""
        return max(0, (datetime.fromtimestamp(now, UTC).date() - self.date).days)

    def stale(self, now: float) -> bool:
        """Whether it is too old to be silent about."""
        return self.age(now) > STALE


def bundled() -> Data:
    """The one that comes with this release."""
    return read((files("postlatch.audit.updates") / "advisories.json").read_bytes())


def read(octets: bytes) -> Data:
    """A file's content, checked. AdvisoryDataError says what is wrong with it."""
    if len(octets) > MOST_OCTETS:
        raise AdvisoryDataError(f"it is larger than {MOST_OCTETS} octets")
    found = load(octets)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise AdvisoryDataError(f"its schema is not {SCHEMA}")
    entries = found.get("entries")
    if not isinstance(entries, list) or len(entries) > MOST_ENTRIES:
        raise AdvisoryDataError(f'"entries" must be a list of at most {MOST_ENTRIES}')
    return Data(_date(found.get("date")), tuple(_entry(entry, place) for place, entry in enumerate(entries)))


def load(octets: bytes) -> Any:
    """JSON of a stranger. AdvisoryDataError for text that is none, and for nesting that no honest file has."""
    try:
        return json.loads(octets)
    except RecursionError:
        raise AdvisoryDataError("it is nested too deeply") from None
    except ValueError:
        raise AdvisoryDataError("it is not JSON") from None


def _date(value: object) -> date:
    try:
        return date.fromisoformat(value) if isinstance(value, str) and len(value) == 10 else _bad_date()
    except ValueError:
        return _bad_date()


def _bad_date() -> date:
    raise AdvisoryDataError('"date" must be YEAR-MONTH-DAY')


def _entry(value: object, place: int) -> Entry:
    where = f"entry {place + 1}"
    if not isinstance(value, dict):
        raise AdvisoryDataError(f"{where} is not an object")
    severity = _text(value, "severity", where)
    if severity not in SEVERITIES:
        raise AdvisoryDataError(f'{where}: "severity" must be one of {", ".join(SEVERITIES)}')
    return Entry(
        _text(value, "product", where),
        _text(value, "id", where, needed=True),
        tuple(_range(part, where) for part in _list(value, "ranges", where)),
        tuple(_mended(part, where) for part in _list(value, "mended", where)),
        severity,
        _text(value, "summary", where, needed=True),
        _text(value, "source", where),
        _text(value, "note", where),
        value.get("confirmed") is True,
    )


def _range(value: Any, where: str) -> Range:
    found = Range(*(_text(value, name, where) for name in ("from", "before", "through")))
    if bool(found.before) == bool(found.through):
        raise AdvisoryDataError(f'{where}: a range needs "before" or "through"')
    return found


def _mended(value: Any, where: str) -> Mended:
    names = ("distribution", "release", "package", "fixed")
    return Mended(*(_text(value, name, where, needed=True) for name in names))


def _list(value: Mapping[str, object], name: str, where: str) -> list[Any]:
    found = value.get(name, [])
    if not isinstance(found, list) or len(found) > _MOST_PARTS or not all(isinstance(part, dict) for part in found):
        raise AdvisoryDataError(f'{where}: "{name}" must be a list of at most {_MOST_PARTS} objects')
    return found


def _text(value: Mapping[str, object], name: str, where: str, *, needed: bool = False) -> str:
    found = value.get(name, "")
    if not isinstance(found, str) or len(found) > _MOST_TEXT or (needed and not found):
        raise AdvisoryDataError(f'{where}: "{name}" must be text of at most {_MOST_TEXT} characters')
    return printable(found, _MOST_TEXT)
