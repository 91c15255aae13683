"""What the tests of the documentation share: the pages, the links in them, and the sentences that are in the code."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from postlatch.testing.source import parse

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SOURCE = ROOT / "src" / "postlatch"
IGNORED = frozenset(
    {".venv", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache", "dist"}
)

_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^()\s]+)\)")
_FENCE = re.compile(r"^```(?P<language>[a-z]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(?P<title>.+)$", re.MULTILINE)


def page(name: str) -> str:
    """The text of a page in ``docs/``."""
    return (DOCS / name).read_text("utf-8")


def pages() -> list[Path]:
    """Every Markdown file that we write."""
    return [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def tracked() -> list[Path]:
    """The files of the tree: those that git knows or would take, else all but caches."""
    try:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return [path for path in ROOT.rglob("*") if path.is_file() and not IGNORED & set(path.relative_to(ROOT).parts)]
    return [path for line in done.stdout.splitlines() if (path := ROOT / line).is_file()]


def links(text: str) -> Iterator[str]:
    """Targets of links and pictures that lead to a file or a heading of ours."""
    for match in _LINK.finditer(_FENCE.sub("", text)):
        if "://" not in match["target"] and not match["target"].startswith("mailto:"):
            yield match["target"]


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = [match["title"].lower() for match in _HEADING.finditer(_FENCE.sub("", text))]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of one language."""
    return [match["text"] for match in _FENCE.finditer(text) if match["language"] == language]


def rows(text: str) -> list[list[str]]:
    """The rows of all tables, as cells without their padding; headings and rulers are among them."""
    lines = [line for line in _FENCE.sub("", text).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def names(cell: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def dangers(folder: str, pattern: str = "*.py") -> Iterator[tuple[str, str]]:
    """(file and line, sentence) of each danger in a room: ``Danger(key, …)``, ``danger(…)``, ``problem(…, danger=True)``."""
    for path in sorted((SOURCE / folder).glob(pattern)):
        tree = parse(path)
        before = 0  # the line of the danger before
        for call in sorted((node for node in ast.walk(tree) if isinstance(node, ast.Call)), key=lambda node: node.lineno):
            if (message := _danger_message(call)) is None:
                continue
            for text in _given(tree, message, before):
                yield f"{path.name}:{call.lineno}", _sentence(text)
            before = call.lineno


def alerts() -> Iterator[tuple[str, str]]:
    """(file and line, sentence) of each alert that the program raises."""
    for path in sorted(SOURCE.rglob("*.py")):
        tree = parse(path)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if _called(call) in {"alert", "_alert"} and call.args:
                for message in _choices(call.args[0]):
                    yield f"{path.name}:{call.lineno}", _sentence(message)


def _danger_message(call: ast.Call) -> ast.expr | None:
    if _called(call) == "Danger":
        return call.args[1]
    if _called(call) == "danger":
        return call.args[0]
    marked = any(keyword.arg == "danger" and _is_true(keyword.value) for keyword in call.keywords)
    return call.args[1] if marked and _called(call) == "problem" and not _is_passed_on(call.args[1]) else None


def _is_true(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


def _is_passed_on(value: ast.expr) -> bool:
    """A danger of the policy on its way through: its sentence is found where it is made."""
    return isinstance(value, ast.Attribute)


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _choices(message: ast.expr) -> list[ast.expr]:
    return [message.body, message.orelse] if isinstance(message, ast.IfExp) else [message]


def _given(tree: ast.Module, message: ast.expr, before: int) -> list[ast.expr]:
    """The texts that ``message`` may be: itself, or what its function assigned to its name since line ``before``."""
    if not isinstance(message, ast.Name):
        return [message]
    starts = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.lineno < message.lineno]
    before = max(before, *starts)
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign) and before < node.lineno < message.lineno]
    found = [node.value for node in assigned if getattr(node.targets[0], "id", "") == message.id]
    assert found, f"line {message.lineno}: {message.id} is not assigned in a way that can be read here"
    return found


def _sentence(message: ast.expr) -> str:
    """The text with … for what is filled in."""
    match message:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in values)
    raise AssertionError(f"line {message.lineno}: not a sentence that can be read from the code")
