"""The words for what a value should be: one phrase per type, used by the error messages and by the reference."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Kind:
    """Names a type of value for people: ``one`` with its article, ``many`` for "a list of …"."""

    one: str
    many: str = ""


class Place(NamedTuple):
    """Where a key leads in the settings: its type without ``Annotated`` and ``None``, and the annotations it had."""

    type: Any
    metadata: tuple[Any, ...] = ()

    @property
    def kind(self) -> Kind | None:
        """The kind that was given to this place, if any."""
        return next((item for item in self.metadata if isinstance(item, Kind)), None)

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """The keys of a table; empty for anything else."""
        return dict(self.type.model_fields) if isinstance(self.type, type) and issubclass(self.type, BaseModel) else {}

    @property
    def elements(self) -> Place | None:
        """What a list or a table with free keys holds."""
        origin = get_origin(self.type)
        if origin is tuple:
            return unwrap(get_args(self.type)[0])
        return unwrap(get_args(self.type)[1]) if isinstance(origin, type) and issubclass(origin, Mapping) else None

    def child(self, part: str | int) -> Place | None:
        """The place of one key or index below this one."""
        if self.fields:
            info = self.fields.get(str(part))
            return None if info is None else of_field(info)
        return self.elements

    def phrase(self) -> str:
        """Like "a list of networks", for "must be …"."""
        if self.kind is not None:
            return self.kind.one
        if get_origin(self.type) is tuple and self.elements is not None:
            return f"a list of {self.elements.plural()}"
        if choices := self.choices():
            return "one of " + ", ".join(f'"{choice}"' for choice in choices)
        return _PLAIN.get(self.type, ("a table", ""))[0]

    def plural(self) -> str:
        """The phrase for several."""
        if self.kind is not None and self.kind.many:
            return self.kind.many
        return _PLAIN.get(self.type, ("", "tables"))[1]

    def choices(self) -> tuple[str, ...]:
        """The permitted texts of an enumeration."""
        if get_origin(self.type) is Literal:
            return get_args(self.type)
        return tuple(item.value for item in self.type) if isinstance(self.type, type) and issubclass(self.type, Enum) else ()


_PLAIN: dict[Any, tuple[str, str]] = {
    str: ("a text", "texts"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
}


def unwrap(annotation: Any, metadata: tuple[Any, ...] = ()) -> Place:
    """Take ``Annotated[…]`` and ``… | None`` off a type; of a union the first member speaks."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *more = get_args(annotation)
        return unwrap(inner, (*metadata, *more))
    if origin in {UnionType, Union}:
        return unwrap(next(item for item in get_args(annotation) if item is not NoneType), metadata)
    return Place(annotation, metadata)


def of_field(info: FieldInfo) -> Place:
    """The place of a model's field."""
    return unwrap(info.annotation, tuple(info.metadata))


def find_place(root: type[BaseModel], path: Iterable[str | int]) -> Place | None:
    """Follow ``path`` through the models; None if it leads nowhere."""
    place: Place | None = Place(root)
    for part in path:
        if place is None:
            return None
        place = place.child(part)
    return place


def found(value: Any) -> str:
    """What a TOML value is, in words, with short values shown."""
    match value:
        case bool():
            return f"true or false ({str(value).lower()})"
        case str():
            return f"a text ({quote(value)})"
        case int():
            return f"a whole number ({shown_number(value)})"
        case float():
            return f"a number ({value})"
        case datetime() | time():
            return "a time"
        case date():
            return f"a date ({value})"
        case list():
            return "a list"
        case _:
            return "a table"


def shown_number(value: float) -> str:
    """A number for a message. A hexadecimal one may have more digits than Python writes, and than anybody reads."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"
    return str(value)


def quote(text: str) -> str:
    """``text`` in quotation marks for a message: one line, nothing unprintable, at most 60 characters."""
    short = text if len(text) <= 60 else text[:57] + "..."
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii") for c in short)
    return f'"{safe}"'


def suggest(wrong: str, known: Iterable[str]) -> str:
    """`` (did you mean "…"?)`` with the nearest known word, or nothing."""
    near = difflib.get_close_matches(wrong.lower(), list(known), n=1, cutoff=0.6)
    return f' (did you mean "{near[0]}"?)' if near else ""
