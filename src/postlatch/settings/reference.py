"""The complete reference as Markdown: ``python -m postlatch.settings.reference > docs/configuration.md``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from postlatch.settings.kinds import Place, of_field
from postlatch.settings.tree import Settings

_INTRODUCTION = """# Configuration

<!-- Made by `python -m postlatch.settings.reference`. Change the descriptions in `src/postlatch/settings/`, not this page. -->

Postlatch reads one TOML file: `--config FILE`, else `$POSTLATCH_CONFIG`, else `./postlatch.toml`, else
`/etc/postlatch/postlatch.toml`. Every relative path in it is relative to the file. Unknown keys are errors, and nothing is
guessed: `postlatch check` names every problem with its line, and what would be right. SIGHUP reloads the file; one that is
wrong, or that would open the relay, is refused and the running configuration stays.
"""


def reference() -> str:
    """The whole page."""
    lines = [_INTRODUCTION, "## The top of the file", "", *_rows(Place(Settings))]
    for name, info in Settings.model_fields.items():
        place = of_field(info)
        if _is_table(place):
            lines += _section((name,), place)
    return "\n".join(lines).rstrip() + "\n"


def _is_table(place: Place) -> bool:
    return bool(place.fields or (place.elements is not None and place.elements.fields))


def _section(path: tuple[str, ...], place: Place) -> Iterator[str]:
    table = place if place.fields else place.elements
    assert table is not None
    yield from ("", f"## `{_header(path, place)}`", "", inspect.getdoc(table.type) or "", "")
    yield from _rows(table)
    for name, info in table.fields.items():
        inner = of_field(info)
        if _is_table(inner) and not (info.examples or []):
            yield from _section((*path, name), inner)


def _header(path: tuple[str, ...], place: Place) -> str:
    name = ".".join(path)
    if place.fields:
        return f"[{name}]"
    return f'[{name}."example.com"]' if _has_free_keys(place) else f"[[{name}]]"


def _has_free_keys(place: Place) -> bool:
    return getattr(place.type, "__origin__", None) is not tuple


def _rows(table: Place) -> Iterator[str]:
    fields = {name: info for name, info in table.fields.items() if not _is_table(of_field(info)) or info.examples}
    if not fields:
        return
    yield from ("| Key | Value | Default | Meaning |", "|---|---|---|---|")
    for name, info in fields.items():
        yield f"| `{name}` | {_value(info)} | {_default(info)} | {_cell(info.description or '')} |"


def _value(info: FieldInfo) -> str:
    example = f", e.g. `{_cell(info.examples[0])}`" if info.examples else ""
    return _cell(of_field(info).phrase()) + example


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "*required*"
    return "none" if info.default is None or info.default == "" else f"`{_cell(toml(info.default))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def toml(value: Any) -> str:
    """A default as it would stand in the file."""
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return "[" + ", ".join(map(toml, value)) + "]"
        case dict():
            return "{}"
        case str():
            return f'"{value}"'
        case _:
            return str(value)


if __name__ == "__main__":
    sys.stdout.write(reference())
