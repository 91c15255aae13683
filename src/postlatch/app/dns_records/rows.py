"""What is found out about one record: its row in the answer of ``postlatch dns``."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NamedTuple

SHOWN = 500  # characters of a published record, and records of a name: what a zone holds has no bound
MANY = 20
PASTED = 4096  # characters of a record to publish: a key of 8192 bits has 1,500


class Status(StrEnum):
    """How it is with one record. ``missing``, ``wrong`` and ``extra`` are to be mended; ``optional`` may stay away."""

    OK = "ok"
    MISSING = "missing"
    WRONG = "wrong"
    EXTRA = "extra"
    UNKNOWN = "unknown"
    OPTIONAL = "optional"


BAD = frozenset({Status.MISSING, Status.WRONG, Status.EXTRA})


class Row(NamedTuple):
    """``publish`` is the data to publish as a whole, ``""`` if there is nothing to paste; names in it end with a dot.

    Data of TXT records are the plain text without quotes, as the forms of most providers take it. ``remove`` is what of
    ``published`` must go. ``note`` are lines that the fragment shows as comments.
    """

    name: str
    type: str
    status: Status
    why: str
    publish: str = ""
    published: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    note: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The row for people and programs: printable ASCII of bounded length."""
        return {
            "name": printable(self.name),
            "type": self.type,
            "publish": printable(self.publish, PASTED),
            "published": [printable(text) for text in self.published[:MANY]],
            "status": self.status.value,
            "why": self.why,
        }


def printable(text: str, most: int = SHOWN) -> str:
    """Text that a zone holds as printable ASCII of bounded length."""
    if len(text) > most:
        text = text[: most - 3] + "..."
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isascii() and c.isprintable() else f"\\x{{{ord(c):x}}}" for c in text)[:most]


def listed(texts: Iterable[object], most: int = 5) -> str:
    """``a, b and c``, cut short where there are many, as printable ASCII."""
    found = [printable(str(text), 200) for text in texts]
    if len(found) > most:
        found = [*found[:most], f"{len(found) - most} more"]
    return " and ".join(filter(None, (", ".join(found[:-1]), *found[-1:])))


def sentences(*texts: str) -> str:
    """Sentences joined, those that are empty left out."""
    return " ".join(filter(None, texts))
