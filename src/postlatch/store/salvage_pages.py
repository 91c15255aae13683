"""Looking for rows page by page, for a table whose tree is broken: a damaged page hides all pages that it leads to.

Ours is an auto-vacuum database: its pointer map says of each page which one leads to it (file format, section 1.8). So the
leaves of a table are found from below, by climbing to its root, and their rows are taken from the octets as they are written
(sections 1.5, 1.6 and 2.1 of https://www.sqlite.org/fileformat.html).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR = 13, 10, 2
_ROOT, _TREE = 1, 5  # entries of the pointer map
_DEEPEST = 20  # levels of a tree
_LARGEST = 512 * 1024 * 1024  # octets of one row
_INTEGERS = (0, 1, 2, 3, 4, 6, 8)  # octets of an integer, by its serial type
_double = struct.Struct(">d")

Record = list[Any]


class Pages:
    """The pages of one database file, read only. A damaged page raises ValueError or IndexError where it is met."""

    def __init__(self, path: Path, size: int) -> None:
        self._size = size
        self._file = path.open("rb")
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self.count = len(self._map) // size
        self._trees: dict[int, list[int]] | None = None

    def close(self) -> None:
        """Close the file."""
        self._map.close()
        self._file.close()

    def page(self, number: int) -> bytes:
        """One page, from 1."""
        if not 1 <= number <= self.count:
            raise ValueError(f"there is no page {number}")
        return self._map[(number - 1) * self._size : number * self._size]

    def rows(self, root: int) -> int:
        """How many rows the pages of the tree at ``root`` say that they hold."""
        return sum(int.from_bytes(self._map[start + 3 : start + 5], "big") for start in map(self._start, self._tree(root)))

    def records(self, root: int) -> Iterator[Record]:
        """The rows in all pages of the tree at ``root``; the rowid stands first in those of a table with rowids."""
        for number in self._tree(root):
            yield from self._rows(self.page(number))

    def _start(self, number: int) -> int:
        return (number - 1) * self._size

    def _tree(self, root: int) -> list[int]:
        """The pages with rows in the tree at ``root``."""
        if self._trees is None:
            self._trees = {}
            for number in range(3, self.count + 1):
                if self._map[self._start(number)] in {_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR}:
                    self._trees.setdefault(self._root_of(number), []).append(number)
        return self._trees.get(root, [])

    def _root_of(self, number: int) -> int:
        """The root of the tree that a page is in, by the pointer map; 0 if it is in none."""
        for _ in range(_DEEPEST):
            kind, parent = self._pointer(number)
            if kind == _ROOT:
                return number
            if kind != _TREE:
                return 0
            number = parent
        return 0

    def _pointer(self, number: int) -> tuple[int, int]:
        entries = self._size // 5
        place = (number - 2) // (entries + 1) * (entries + 1) + 2  # the map page that covers it
        if number < 3 or number == place or place > self.count:
            return 0, 0
        start = (number - place - 1) * 5
        entry = self.page(place)[start : start + 5]
        return entry[0], int.from_bytes(entry[1:], "big")

    def _rows(self, page: bytes) -> Iterator[Record]:
        cells = int.from_bytes(page[3:5], "big")
        header = 12 if page[0] == _INDEX_INTERIOR else 8
        for start in range(header, min(header + 2 * cells, self._size - 1), 2):
            with suppress(ValueError, IndexError, struct.error):
                yield self._row(page, int.from_bytes(page[start : start + 2], "big"))

    def _row(self, page: bytes, place: int) -> Record:
        kind = page[0]
        place += 4 if kind == _INDEX_INTERIOR else 0
        length, place = _varint(page, place)
        rowid: Record = []
        if kind == _TABLE_LEAF:
            number, place = _varint(page, place)
            rowid = [number - (1 << 64) if number >> 63 else number]
        return rowid + _values(self._payload(page, place, length, is_table=kind == _TABLE_LEAF))

    def _payload(self, page: bytes, place: int, length: int, *, is_table: bool) -> bytes:
        """A row's octets, the end of which may be in a chain of other pages."""
        if length > _LARGEST:
            raise ValueError("the row is too long")
        usable = self._size
        most = usable - 35 if is_table else (usable - 12) * 64 // 255 - 23
        if length <= most:
            return _slice(page, place, length)
        least = (usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (usable - 4)
        local = local if local <= most else least
        parts = [_slice(page, place, local)]
        following, left = int.from_bytes(_slice(page, place + local, 4), "big"), length - local
        while left > 0:
            other = self.page(following)
            parts.append(other[4 : 4 + min(left, usable - 4)])
            following, left = int.from_bytes(other[:4], "big"), left - (usable - 4)
        return b"".join(parts)


def _slice(data: bytes, start: int, length: int) -> bytes:
    if start + length > len(data):
        raise ValueError("it reaches beyond its end")
    return data[start : start + length]


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for _ in range(8):
        octet = data[place]
        place += 1
        value = value << 7 | octet & 127
        if octet < 128:
            return value, place
    return value << 8 | data[place], place + 1


def _values(payload: bytes) -> Record:
    """The columns of a record."""
    end, place = _varint(payload, 0)
    kinds = []
    while place < end:
        kind, place = _varint(payload, place)
        kinds.append(kind)
    values: Record = []
    place = end
    for kind in kinds:
        value, place = _value(payload, place, kind)
        values.append(value)
    if place != len(payload):
        raise ValueError("its columns are not as long as it is")
    return values


def _value(payload: bytes, place: int, kind: int) -> tuple[Any, int]:
    if kind >= 12:
        length = (kind - 12) // 2
        data = _slice(payload, place, length)
        return (data if kind % 2 == 0 else data.decode("utf-8", "replace")), place + length
    if kind == 0:
        return None, place
    if kind == 7:
        return _double.unpack(_slice(payload, place, 8))[0], place + 8
    if kind in {8, 9}:
        return kind - 8, place
    if kind > 9:
        raise ValueError("a column of a reserved type")
    length = _INTEGERS[kind]
    return int.from_bytes(_slice(payload, place, length), "big", signed=True), place + length
