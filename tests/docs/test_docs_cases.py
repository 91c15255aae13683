"""Every hardship that ``docs/cases.md`` promises to survive is shown by tests that exist."""

from __future__ import annotations

import ast

import pytest
from docs_support import ROOT, names, page, rows

from postlatch.testing.source import parse

TABLE = [row for row in rows(page("cases.md")) if row[0] != "What goes wrong" and not row[0].startswith("---")]


def _tests(path: str) -> set[str]:
    tree = parse(ROOT / "tests" / path)
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_table_is_the_whole_of_it() -> None:
    assert len(TABLE) > 35
    assert {len(row) for row in TABLE} == {3}


@pytest.mark.parametrize("row", TABLE, ids=[row[0][:60] for row in TABLE])
def test_each_row_names_tests_that_exist(row: list[str]) -> None:
    shown = names(row[2])
    assert shown, "a promise that nothing shows"
    for name in shown:
        path, _, test = name.partition("::")
        assert (ROOT / "tests" / path).is_file(), path
        assert test in _tests(path), name
