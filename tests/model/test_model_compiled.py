"""What the compiler of the compiled rooms does to Python that looks harmless, and what is therefore not written."""

from __future__ import annotations

import ast
import importlib.machinery
import importlib.util
from pathlib import Path
from typing import Any

from postlatch.testing.source import parse

ROOT = Path(__file__).resolve().parents[2]


def compiled() -> list[Path]:
    """The sources that ``script/compile`` compiles."""
    loader = importlib.machinery.SourceFileLoader("compile_script", str(ROOT / "script" / "compile"))
    spec = importlib.util.spec_from_loader("compile_script", loader)
    assert spec is not None
    script: Any = importlib.util.module_from_spec(spec)
    loader.exec_module(script)
    found: list[Path] = script.sources()
    return found


def handlers(function: ast.AST) -> dict[str, set[str]]:
    """The classes of exceptions by the name that a function gives to them."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.ExceptHandler) and node.name and node.type is not None:
            found.setdefault(node.name, set()).add(ast.unparse(node.type))
    return found


def test_no_compiled_function_gives_one_name_to_exceptions_of_two_classes() -> None:
    """mypyc takes the first class for the name's type, and raises TypeError when the second comes: the handler never runs."""
    sources = compiled()
    assert len(sources) > 50
    wrong = [
        f"{path.relative_to(ROOT)}: {node.name}: {name} is {sorted(classes)}"
        for path in sources
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for name, classes in handlers(node).items()
        if len(classes) > 1
    ]
    assert wrong == []
