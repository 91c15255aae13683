"""From a file to settings, or to everything that is wrong with it at once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from postlatch.settings.crosscheck import cross_check
from postlatch.settings.explain import explain
from postlatch.settings.origin import Origin
from postlatch.settings.problem import Problem, SettingsError
from postlatch.settings.rights import RightSettings
from postlatch.settings.tree import Settings

_POSITION = re.compile(r"^(?P<what>.*?) \(at line (?P<line>\d+), column (?P<column>\d+)\)$", re.DOTALL)
# tomllib's words, and what people most often did. Anything else is shown as tomllib says it.
_ADVICE = {
    "Invalid value": "a text needs quotation marks, and true, false and numbers need none",
    "Expected '=' after a key": "write KEY = VALUE",
    "Expected newline or end of document": "one key a line; a text needs quotation marks",
    "Cannot overwrite a value": "the key or table is given twice; keep one",
    "Cannot declare": "the table is given twice; put its keys together (a list of tables has two brackets: [[rights]])",
    "Unterminated string": "the closing quotation mark is missing",
    "Illegal character": "the closing quotation mark is missing, or a text goes over the end of its line",
    "Invalid date or datetime": "there is no such day or time",
    "Unescaped '\\'": "write \\\\ for a backslash, or use single quotation marks",
    "Unclosed array": "the closing ] is missing",
}


def load(path: Path) -> Settings:
    """Read and check the file; SettingsError holds every problem at once."""
    return load_text(_read(path), path)


def load_text(text: str, path: Path) -> Settings:
    """Check ``text`` as the content of ``path``: messages name it, and relative paths are relative to its folder."""
    data = _parse(text, path)
    origin = Origin(path, text, data)
    problems = cross_check(origin)
    try:
        settings = Settings.model_validate(data, context={"base": path.absolute().parent})
    except ValidationError as error:
        problems = explain(error.errors(include_url=False), origin) + problems
    else:
        if not problems:
            return settings.read_from(origin)
    raise SettingsError(problems)


def check_right(values: Mapping[str, Any]) -> RightSettings:
    """A right that was made by command, under the same checks as a ``[[rights]]`` table; SettingsError as for a file.

    ``values`` are as in TOML (``expires`` a date or its text). Its listeners are not looked up. Keys of problems are the
    table's own, such as ``networks[0]``; their file is empty and they have no line.
    """
    try:
        return RightSettings.model_validate(values)
    except ValidationError as error:
        origin = Origin(Path(), "", {"rights": [dict(values)]})
        details = error.errors(include_url=False)
        for detail in details:
            detail["loc"] = ("rights", 0, *detail["loc"])
        problems = explain(details, origin)
    prefix = origin.show(("rights", 0)) + "."
    raise SettingsError(problem._replace(file="", key=problem.key.removeprefix(prefix)) for problem in problems)


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file; make one with 'postlatch init DOMAIN'") from None
    except IsADirectoryError:
        raise _unreadable(path, "this is a directory: name the file in it, such as postlatch.toml") from None
    except PermissionError:
        raise _unreadable(path, "no permission to read it: run this as its owner or as root") from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, f"cannot be read: {error}") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SettingsError([Problem(str(path), "", line, "is not UTF-8 here: save the file as UTF-8")]) from None


def _unreadable(path: Path, message: str) -> SettingsError:
    return SettingsError([Problem(str(path), "", None, message)])


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError([_malformed(str(error), text, path)]) from None
    except RecursionError:
        raise _unreadable(path, "is nested too deeply to be a configuration") from None
    except ValueError:
        # Not a TOMLDecodeError: Python refuses to read a decimal number of more than 4300 digits.
        raise _unreadable(path, "holds a number of thousands of digits: no setting takes such a number") from None


def _malformed(said: str, text: str, path: Path) -> Problem:
    match = _POSITION.match(said)
    what = match["what"] if match else said.removesuffix(" (at end of document)")
    line = int(match["line"]) if match else text.rstrip("\n").count("\n") + 1
    advice = next((advice for start, advice in _ADVICE.items() if what.startswith(start)), "")
    if match is None and what == "Invalid value":
        advice = "something is not closed: a quotation mark, a ] or a }"
    place = f", column {match['column']}" if match else ", at the end of the file"
    return Problem(
        str(path), "", line, f"is not TOML{place}: {what[:1].lower()}{what[1:]}" + (f" ({advice})" if advice else "")
    )
