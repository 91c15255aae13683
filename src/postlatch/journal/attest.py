"""Checking signed heads: the signatures, their order, and that no hour is missing. ``verify`` compares them with the chain."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from postlatch.journal.heads import SignedHead, is_signed_by, parse
from postlatch.journal.keys import PublicKey
from postlatch.journal.signer import HOUR
from postlatch.journal.times import when

_LATE = 2 * HOUR  # events older than this must have been signed
_BACK = 60.0  # seconds that a clock may be slewed
_MAX_LISTED = 20
_FIRST_BEHIND = "SELECT first_at FROM journal_batches WHERE first_seq > ? ORDER BY first_seq LIMIT 1"
_FIRST = "SELECT first_seq, first_at FROM journal_batches ORDER BY first_seq LIMIT 1"


class Attested(NamedTuple):
    """``heads`` whose signature is good; sentences for people about the others, as ``verify`` has them."""

    heads: tuple[SignedHead, ...]
    findings: tuple[str, ...]
    failures: tuple[str, ...]


def attest(content: bytes, keys: Mapping[str, PublicKey], source: str) -> Attested:
    """Check the lines of a file of heads; ``source`` is its name for people. ``keys`` are those that count, by name."""
    lines = content.split(b"\n")
    findings = [f"The last line of {source} was cut short while it was written; it does not count."] if lines.pop() else []
    heads: list[SignedHead] = []
    failures: list[str] = []
    for number, line in enumerate(lines, 1):
        problem, head = _judge(line, keys)
        if problem:
            failures.append(f"{source}, line {number}: {problem}.")
        elif head is not None:
            heads.append(head)
    failures += _disorder(heads, source)
    findings += _clock(heads, source)
    return Attested(tuple(heads), tuple(_short(findings)), tuple(_short(failures)))


def _judge(line: bytes, keys: Mapping[str, PublicKey]) -> tuple[str, SignedHead | None]:
    """What is wrong with a line, or its head."""
    try:
        head = parse(line)
    except ValueError as error:
        return f"it is no head ({error})", None
    known = keys.get(head.key)
    if known is None:
        return f"it is signed with a key that is not known ({head.key[:32]!a})", None
    if not is_signed_by(head, known.key):
        return "its signature is not that of the key: it was changed", None
    return "", head


def _disorder(heads: Sequence[SignedHead], source: str) -> Iterator[str]:
    for before, after in pairwise(heads):
        if after.number != before.number + 1:
            yield f"{source}: head {after.number} follows head {before.number}: what was between is missing."
        if after.seq < before.seq or after.batch < before.batch or after.segment < before.segment:
            yield f"{source}: head {after.number} ends before head {before.number} (event {after.seq}): the journal went back."


def _clock(heads: Sequence[SignedHead], source: str) -> Iterator[str]:
    for before, after in pairwise(heads):
        if after.signed_at < before.signed_at - _BACK:
            back = f"from {when(before.signed_at)} to {when(after.signed_at)}"
            yield f"{source}: the clock went back {back} between heads {before.number} and {after.number}."


def unsigned(connection: sqlite3.Connection, heads: Sequence[SignedHead], now: float) -> list[str]:
    """Findings about events that were not signed within two hours. ``heads`` in order, of the file that signing writes."""
    first = connection.execute(_FIRST).fetchone()
    if first is None:
        return []
    if not heads:
        return [f"No head is signed, and the journal begins at {when(first[1])}."] if first[1] < now - _LATE else []
    found: list[str] = []
    if first[0] <= heads[0].seq and first[1] < heads[0].signed_at - _LATE:
        found.append(f"The events before {when(heads[0].signed_at)} were written before the first head was signed.")
    ends = [*((before, after.signed_at) for before, after in pairwise(heads)), (heads[-1], now)]
    found += [
        _gap(before, until) for before, until in ends if until - before.signed_at > _LATE and _left(connection, before, until)
    ]
    return list(_short(found))


def _left(connection: sqlite3.Connection, before: SignedHead, until: float) -> bool:
    """Whether events behind a head were two hours old when the next one was signed."""
    row = connection.execute(_FIRST_BEHIND, (before.seq,)).fetchone()
    return row is not None and row[0] < until - _LATE


def _gap(before: SignedHead, until: float) -> str:
    return f"No head was signed from {when(before.signed_at)} to {when(until)}, although events came behind event {before.seq}."


def _short(sentences: Iterable[str]) -> Iterator[str]:
    """The first of them, and how many more there are."""
    listed = list(sentences)
    yield from listed[:_MAX_LISTED]
    if len(listed) > _MAX_LISTED:
        yield f"And {len(listed) - _MAX_LISTED} more of these."
