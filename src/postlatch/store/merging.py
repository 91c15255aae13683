"""Operations of one kind, run together: one statement for many rows instead of one for each.

Each step of a statement gives the interpreter up and asks for it again, and while the event loop is busy each asking may wait.
So what matters is the number of steps in a transaction, not the rows: with eight messages to a commit this saves four of five.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

LARGEST: Final = 32  # rows in one statement; SQLite permits 32,766 parameters, and the widest row has 22


def run_together(connection: sqlite3.Connection, batch: Sequence[Sequence[Callable[..., Any]]]) -> list[list[Any]]:
    """Run every operation of every submission; the results in the same places.

    A class of operations that has ``run_all(connection, operations) -> results`` is run by that, once for the whole batch and
    behind the others: such operations must not depend on one another, nor any other on them.
    """
    results: list[list[Any]] = [[None] * len(operations) for operations in batch]
    kinds: dict[type, list[tuple[int, int]]] = {}
    for i, operations in enumerate(batch):
        for j, operation in enumerate(operations):
            if hasattr(type(operation), "run_all"):
                kinds.setdefault(type(operation), []).append((i, j))
            else:
                results[i][j] = operation(connection)
    for kind, places in kinds.items():
        run_all: Any = kind.run_all  # type: ignore[attr-defined]
        for (i, j), result in zip(places, run_all(connection, [batch[i][j] for i, j in places]), strict=True):
            results[i][j] = result
    return results


def insert_rows(connection: sqlite3.Connection, head: str, values: str, rows: Sequence[Sequence[object]]) -> None:
    """Insert all ``rows``: ``head`` is ``INSERT INTO t (…) VALUES``, ``values`` one row's parentheses."""
    for part in parts(rows):
        connection.execute(f"{head} {', '.join([values] * len(part))}", list(chain.from_iterable(part)))


def parts(rows: Sequence[Any]) -> list[Sequence[Any]]:
    """``rows`` cut into pieces of at most ``LARGEST``: as many statements as that are kept prepared."""
    return [rows[start : start + LARGEST] for start in range(0, len(rows), LARGEST)]
