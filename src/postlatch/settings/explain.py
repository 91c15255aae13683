"""What pydantic found, said for people: what is wrong, and what would be right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from postlatch.settings.kinds import Place, find_place, found, quote, shown_number, suggest
from postlatch.settings.origin import Origin
from postlatch.settings.problem import Problem
from postlatch.settings.tree import Settings


def explain(errors: Sequence[ErrorDetails], origin: Origin) -> list[Problem]:
    """A problem for every error, at its key."""
    return [_explain(error, origin) for error in errors if not _follows(error, errors)]


def _follows(error: ErrorDetails, errors: Sequence[ErrorDetails]) -> bool:
    """pydantic calls a list too short once its members are refused; that is told already."""
    loc = error["loc"]
    return error["type"] == "too_short" and any(other["loc"][:-1] == loc for other in errors)


def _explain(error: ErrorDetails, origin: Origin) -> Problem:
    path = tuple(part for part in error["loc"] if part != "[key]")
    if error["type"] == "missing":
        return _missing(path, origin)
    if error["type"] == "extra_forbidden":
        return origin.problem(path, _unknown(path))
    place = find_place(Settings, path) or Place(str)
    say = _MESSAGES.get(error["type"], _wrong_type)
    return origin.problem(path, say(error, place), danger=error["type"] == "danger")


def _missing(path: tuple[str | int, ...], origin: Origin) -> Problem:
    parent = find_place(Settings, path[:-1])
    name = str(path[-1])
    examples = parent.fields[name].examples if parent is not None else None
    example = f"add {name} = {examples[0]}" if examples else f"add a [[{name}]] table"
    return origin.problem(path, f"is missing: {example}")


def _unknown(path: tuple[str | int, ...]) -> str:
    parent = find_place(Settings, path[:-1])
    name = str(path[-1])
    known = list(parent.fields) if parent is not None else []
    if hint := suggest(name, known):
        return f"is no known key{hint}"
    if len(path) > 1 and name in Settings.model_fields:
        return (
            f"is no known key here: it belongs to the top of the file, above the first [table], or is a table itself: [{name}]"
        )
    homes = [table for table, info in Settings.model_fields.items() if name in _keys(info.annotation)]
    if homes and len(path) <= 2:
        return f"is no known key here: it belongs into [{homes[0]}]"
    return f"is no known key; known here: {', '.join(known)}"


def _keys(annotation: Any) -> dict[str, Any]:
    return dict(Place(annotation).fields)


def _wrong_type(error: ErrorDetails, place: Place) -> str:
    message = f"must be {place.phrase()}, not {found(error['input'])}"
    key = error["loc"][-1]
    if isinstance(error["input"], dict) and place.elements is not None and place.elements.fields:
        return f"{message}: write [[{key}]], with two brackets, for each"
    parent = find_place(Settings, error["loc"][:-1])
    info = parent.fields.get(str(key)) if parent is not None else None
    return f"{message}: write {key} = {info.examples[0]}" if info is not None and info.examples else message


def _choice(error: ErrorDetails, place: Place) -> str:
    value = error["input"]
    if not isinstance(value, str):
        return _wrong_type(error, place)
    return f"must be {place.phrase()}, not {quote(value)}{suggest(value, place.choices())}"


def _at_least(error: ErrorDetails, _place: Place) -> str:
    return f"must be at least {error['ctx']['ge']}, not {shown_number(error['input'])}"


def _at_most(error: ErrorDetails, _place: Place) -> str:
    return f"must be at most {error['ctx']['le']}, not {shown_number(error['input'])}"


def _too_few(_error: ErrorDetails, place: Place) -> str:
    return f"is empty: it must be {place.phrase()}, with one at least"


def _own_words(error: ErrorDetails, _place: Place) -> str:
    """The parsers' ValueErrors are written for people already."""
    return str(error["ctx"]["error"])


def _reason(error: ErrorDetails, _place: Place) -> str:
    return str(error["ctx"]["reason"])


_MESSAGES: dict[str, Callable[[ErrorDetails, Place], str]] = {
    "value_error": _own_words,
    "danger": _reason,
    "enum": _choice,
    "literal_error": _choice,
    "greater_than_equal": _at_least,
    "less_than_equal": _at_most,
    "too_short": _too_few,
}
