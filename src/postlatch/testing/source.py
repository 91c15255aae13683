"""Reading source files, for tests that look at code."""

from __future__ import annotations

import ast
import gc
from pathlib import Path


def parse(path: Path) -> ast.Module:
    """The syntax tree of a file.

    Without the garbage collector meanwhile: in CPython 3.11 a finaliser that runs in the middle of it ends it, now and then,
    with "SystemError: AST constructor recursion depth mismatch" (python/cpython#106905).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(path.read_text("utf-8"))
    finally:
        if was_enabled:
            gc.enable()
