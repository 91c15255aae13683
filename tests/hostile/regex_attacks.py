"""Worst cases for a regular expression, made from its own parse tree: what it can read, pumped up, and then spoilt."""

from __future__ import annotations

import ast
import importlib
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().parents[2] / "src"
_FUNCTIONS = frozenset({"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"})
_METHODS = _FUNCTIONS - {"compile"}
_parser: Any = importlib.import_module("re._parser")
_CANDIDATES = "aA0 .-@<>\"\\,;:()[]/=+_'#*\r\n\t\x01\u00e9"
_SPOILERS = ("", "\0", "!", "\n", "\u00e9", '"')
VARIANTS = 3  # letters that are tried for each class of them


@dataclass(frozen=True)
class Used:
    """One regular expression of the program: where it is, what it is, and by which methods it is used."""

    name: str
    pattern: re.Pattern[Any]
    methods: frozenset[str]


def all_patterns() -> Iterator[Used]:
    """Every call of ``re`` in the source."""
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        yield from _patterns_of(module, ast.parse(path.read_text("utf-8")))


def _patterns_of(module: str, tree: ast.Module) -> Iterator[Used]:
    short = module.removeprefix("postlatch.")
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_re(node.func)]
    named: dict[int, ast.expr] = {id(node.value): node.targets[0] for node in tree.body if isinstance(node, ast.Assign)}
    named |= {id(node.value): node.target for node in tree.body if isinstance(node, ast.AnnAssign)}
    for call in calls:
        target = named.get(id(call))
        function = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        if isinstance(target, ast.Name):
            pattern = getattr(importlib.import_module(module), target.id)
            yield Used(f"{short}.{target.id}", pattern, _methods(tree, target.id))
        else:
            flags = [keyword.value for keyword in call.keywords if keyword.arg == "flags"] or [
                node for node in call.args if "re." in ast.unparse(node)
            ]
            source, flag = ast.literal_eval(call.args[0]), 0
            for node in flags:
                flag = int(eval(compile(ast.Expression(node), module, "eval"), {"re": re}))
            yield Used(f"{short}:re.{function}", re.compile(source, flag), frozenset({function}) & _METHODS)


def _is_re(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "re"
        and node.attr in _FUNCTIONS
    )


def _methods(tree: ast.Module, name: str) -> frozenset[str]:
    """``NAME.method`` anywhere in the module; a pattern that is only handed on is tried by ``match``."""
    found = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == name
    }
    return frozenset(found & _METHODS) or frozenset({"match"})


# From a parse tree to texts


def attacks(pattern: re.Pattern[Any], size: int) -> Iterator[Any]:
    """Texts of ``size`` (in the pattern's own kind) that make it work hard, if anything does."""
    tree = _parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags)
    seen: set[str] = set()
    for variant in range(VARIANTS):
        for before, pump in _pumps(list(tree), variant):
            for text in _texts(before, pump, size):
                if text not in seen:
                    seen.add(text)
                    yield text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text


def _texts(before: str, pump: str, size: int) -> Iterator[str]:
    if not pump:
        return
    count = max(1, (size - len(before)) // len(pump))
    for spoiler in _SPOILERS:
        yield (before + pump * count)[: size - len(spoiler)] + spoiler
    # For a search: many beginnings, each with a little or a lot to run over before it fails.
    start = before + pump * 3
    yield start * (size // len(start))
    half = size // 2
    yield (before or pump) * (half // len(before or pump)) + pump * (half // len(pump))


def _pumps(nodes: list[Any], variant: int) -> Iterator[tuple[str, str]]:
    """For each repetition, at any depth: what leads to it, and what it repeats."""
    before = ""
    for operator, argument in nodes:
        name = str(operator)
        if name in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            low, high, inner = argument
            body = _sample(list(inner), variant)
            if int(high) > 1:
                yield before, body
                yield before, body + _sample(list(inner), variant + 1)
                yield from ((before, long * 5 + body) for _, long in _pumps(list(inner), variant))
            yield from ((before + lead, pump) for lead, pump in _pumps(list(inner), variant))
            before += body * max(int(low), 1)
            continue
        for inner in _inside(name, argument):
            yield from ((before + lead, pump) for lead, pump in _pumps(list(inner), variant))
        before += _sample([(operator, argument)], variant)


def _inside(name: str, argument: Any) -> Iterable[Any]:
    match name:
        case "SUBPATTERN":
            return [argument[3]]
        case "BRANCH":
            return list(argument[1])
        case "ATOMIC_GROUP":
            return [argument]
        case "ASSERT" | "ASSERT_NOT":
            return [argument[1]]
    return []


def _sample(nodes: list[Any], variant: int) -> str:
    """A short text that these nodes read."""
    text = ""
    for operator, argument in nodes:
        match str(operator):
            case "LITERAL":
                text += chr(argument)
            case "NOT_LITERAL":
                text += next(c for c in _CANDIDATES[variant:] if ord(c) != argument)
            case "ANY":
                text += _CANDIDATES[variant]
            case "IN":
                text += _member(argument, variant)
            case "BRANCH":
                choices = argument[1]
                text += _sample(list(choices[variant % len(choices)]), variant)
            case "SUBPATTERN":
                text += _sample(list(argument[3]), variant)
            case "ATOMIC_GROUP":
                text += _sample(list(argument), variant)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                low, high, inner = argument
                text += _sample(list(inner), variant) * min(max(int(low), 1), int(high))
    return text


def _member(items: Any, variant: int) -> str:
    found = [c for c in _CANDIDATES if _is_in(items, c)]
    if not found:
        found = [
            chr(low) for operator, low in ((str(o), a[0] if str(o) == "RANGE" else a) for o, a in items) if operator != "NEGATE"
        ]
    return found[variant % len(found)]


def _is_in(items: Any, character: str) -> bool:
    negated = hit = False
    for operator, argument in items:
        match str(operator):
            case "NEGATE":
                negated = True
            case "LITERAL":
                hit |= ord(character) == argument
            case "RANGE":
                hit |= argument[0] <= ord(character) <= argument[1]
            case "CATEGORY":
                kind = str(argument)
                digit, space = character.isdigit(), character.isspace()
                word = character.isalnum() or character == "_"
                found = digit if "DIGIT" in kind else space if "SPACE" in kind else word
                hit |= found is not ("NOT" in kind)
    return hit is not negated


def cost(pattern: re.Pattern[Any], method: str, text: Any) -> float:
    """Seconds of this thread's own work; the best of three if the first is long."""
    best = 1e9
    for _ in range(3):
        began = time.thread_time()
        call = getattr(pattern, method)
        if method in {"sub", "subn"}:
            call(b"" if isinstance(text, bytes) else "", text)
        elif method == "finditer":
            list(call(text))
        else:
            call(text)
        best = min(best, time.thread_time() - began)
        if best < 0.01 or best > 0.2:
            break
    return best
