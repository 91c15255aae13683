"""Lines and tables for a terminal or a pipe. Everything passes ``clean`` here, so that no rendering can forget it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple
from unicodedata import combining, east_asian_width

Style = dict[str, Any]  # arguments of click.style


class Line(NamedTuple):
    """One line; ``style`` holds arguments of ``click.style`` and shows on a terminal only."""

    text: str = ""
    style: Style | None = None


class Table(NamedTuple):
    """A table under a row of headings."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


GOOD_STYLE: Style = {"fg": "green", "bold": True}
BAD_STYLE: Style = {"fg": "red", "bold": True}
UNSURE_STYLE: Style = {"fg": "yellow", "bold": True}
HEADING_STYLE: Style = {"bold": True}

_GAP = "  "


def clean(text: str) -> str:
    """One line in which nothing can command a terminal or hide: control, format (bidirectional) and unassigned characters,
    line ends and lone surrogates are shown as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def present(blocks: Sequence[Line | Table], width: int | None) -> Iterator[tuple[str, Style | None]]:
    """The lines of ``blocks`` with their styles. ``width`` None: a pipe, where nothing is wrapped."""
    for block in blocks:
        if isinstance(block, Line):
            yield clean(block.text), block.style
        else:
            yield from _table(block, width)


def _table(table: Table, width: int | None) -> Iterator[tuple[str, Style | None]]:
    rows = [table.headings, *(tuple(clean(cell) for cell in row) for row in table.rows)]
    widths = [max(map(_cells, column)) for column in zip(*rows, strict=True)]
    if width is not None and _total(widths) > width:
        words = [max(_cells(word) for cell in column for word in cell.split(" ")) for column in zip(*rows, strict=True)]
        if _total(words) > width:
            yield from _cards(table.headings, rows[1:])
            return
        widths = _shared_out(words, widths, width)
    for number, row in enumerate(rows):
        for line in _laid_out(row, widths):
            yield line, None if number else HEADING_STYLE


def _cells(text: str) -> int:
    """Columns on a terminal: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _shared_out(least: Sequence[int], wanted: Sequence[int], width: int) -> list[int]:
    """Each column its longest word, and the rest to those that want it, the most modest wish first."""
    widths = list(least)
    spare = width - _total(widths)
    by_wish = sorted(range(len(widths)), key=lambda index: wanted[index] - least[index])
    for place, index in enumerate(by_wish):
        share = min(wanted[index] - least[index], spare // (len(by_wish) - place))
        widths[index] += share
        spare -= share
    return widths


def _laid_out(row: tuple[str, ...], widths: Sequence[int]) -> Iterator[str]:
    columns = [_wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    for parts in zip_longest(*columns, fillvalue=""):
        yield _GAP.join(part + " " * (width - _cells(part)) for part, width in zip(parts, widths, strict=True)).rstrip()


def _wrap(cell: str, width: int) -> list[str]:
    """Broken between words only; ``width`` is at least that of the longest."""
    if _cells(cell) <= width:
        return [cell]
    lines = [""]
    for word in cell.split(" "):
        longer = f"{lines[-1]} {word}".removeprefix(" ")
        if _cells(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _cards(headings: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, Style | None]]:
    """Where a table would break words: a row a paragraph, so that addresses and IDs stay whole and can be copied."""
    margin = max(map(len, headings[1:]), default=0)
    for number, (first, *rest) in enumerate(rows):
        if number:
            yield "", None
        yield first, HEADING_STYLE
        for heading, cell in zip(headings[1:], rest, strict=True):
            yield f"  {heading.lower():<{margin}}{_GAP}{cell}", None
