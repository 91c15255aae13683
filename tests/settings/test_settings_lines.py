"""The line locator: every key that tomllib finds has a line, and it is the right one."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postlatch.settings.tomlines import KeyPath, find_line, key_lines

TEXT = '''\
# a comment with [a.table] and key = "value" in it
hostname = "mx.example.com"   # hostname = "no"
data_dir = 'C:\\new'

[store]
url = "sqlite:a#b"

[[listeners]]
name = "mx"
address = [
    "0.0.0.0:25",   # [ ] , "
    "[::]:25",
]
[[listeners]]
name = "relay"
role = """
[domains]
key = 1
"""

[domains."example.com"]
deliver = "maildir:mail"
aliases = { info = ["alice",
   "bob"], "a.b" = [] }
[domains.'Quoted \\ name'.sub]
x.y = 1
x."z z" = 2027-06-30 07:32:00

[listeners.extra]   # goes into the newest listener
k = 1
[[rights]]
limits.messages = ["1/day"]
[[rights]]
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("hostname",), 2),
        (("data_dir",), 3),
        (("store",), 5),
        (("store", "url"), 6),
        (("listeners",), 8),
        (("listeners", 0), 8),
        (("listeners", 0, "name"), 9),
        (("listeners", 0, "address"), 10),
        (("listeners", 0, "address", 0), 11),
        (("listeners", 0, "address", 1), 12),
        (("listeners", 1), 14),
        (("listeners", 1, "name"), 15),
        (("listeners", 1, "role"), 16),
        (("domains",), 21),
        (("domains", "example.com"), 21),
        (("domains", "example.com", "deliver"), 22),
        (("domains", "example.com", "aliases", "info"), 23),
        (("domains", "example.com", "aliases", "info", 1), 24),
        (("domains", "example.com", "aliases", "a.b"), 24),
        (("domains", "Quoted \\ name"), 25),
        (("domains", "Quoted \\ name", "sub", "x"), 26),
        (("domains", "Quoted \\ name", "sub", "x", "z z"), 27),
        (("listeners", 1, "extra", "k"), 30),
        (("rights", 0, "limits", "messages", 0), 32),
        (("rights", 1), 33),
        (("rights", 2), None),
        (("nothing",), None),
        (("key",), None),
    ],
)
def test_every_form_of_key_is_found_on_its_line(key: KeyPath, line: int | None) -> None:
    tomllib.loads(TEXT)
    assert find_line(TEXT, key) == line


@pytest.mark.parametrize(
    "text",
    [
        'a = """x"""""\nb = 1',
        "a = '''x''''\nb = 1",
        'a = """\\\n  x"""\nb = 1',
        "a = ''''x'''\nb = 1",
        'a = "\\""\nb = 1',
        "a = [[1, [2]], { c = 1 }, ]\nb = 1",
        "a = {}\nb = []",
        "a = 1979-05-27T07:32:00Z # x\nb = +inf",
        '"" = 1\nb = 1',
        "a = 1\r\nb = 2\r\n",
        "'a' . b . \"c\" = 1\nb = 1",
        '"\\u00e9" = 1\nb = 1',
        "[ a . b ]\nb = 1\n[[ c . d ]]\nb=2\n[[c.d]]\n[c.d.e]\nb=3",
    ],
)
def test_odd_but_valid_toml_is_found_whole(text: str) -> None:
    assert set(key_lines(text)) == set(_paths(tomllib.loads(text)))


@pytest.mark.parametrize(
    "text", ["a", "a = ", "[", "[a", "a = [1, ", "a = {b", 'a = "', "= 1", "[[a]\n", "a = [1 2]", "\x00", "a = }"]
)
def test_text_that_is_no_toml_never_fails(text: str) -> None:
    assert find_line(text, ("b",)) is None


def test_what_comes_before_a_fault_is_still_found() -> None:
    assert find_line("a = 1\nb = 2\nc = [1 2]\n", ("b",)) == 2


def test_a_deep_nest_does_not_break_the_walk() -> None:
    assert find_line("a = " + "[" * 100_000, ("a",)) == 1


@given(st.text(max_size=200))
def test_any_text_is_survived(text: str) -> None:
    key_lines(text)


# Documents are written with a record of where each key went; the locator must agree with the writer and with tomllib.

_KEYS = st.text(st.sampled_from('ab.-_ "\\#[]=é'), min_size=1, max_size=4)
_SCALARS = st.one_of(
    st.integers(-5, 5),
    st.booleans(),
    st.text(st.sampled_from("ab\"\\#[]{},='\té"), max_size=6),
    st.sampled_from([0.5, float("inf")]),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=8,
)


class _Writer:
    def __init__(self) -> None:
        self.text = ""
        self.lines: dict[KeyPath, int] = {}

    def put(self, text: str) -> None:
        self.text += text

    def mark(self, path: KeyPath) -> None:
        self.lines[path] = self.text.count("\n") + 1

    def value(self, value: Any, path: KeyPath) -> None:
        if isinstance(value, list):
            self.put("[\n")
            for index, item in enumerate(value):
                self.put("  # , ]\n")
                self.mark((*path, index))
                self.value(item, (*path, index))
                self.put(",\n")
            self.put("]")
        elif isinstance(value, dict):
            self.put("{")
            for number, (key, item) in enumerate(value.items()):
                self.put(", " if number else " ")
                self.mark((*path, key))
                self.put(f"{_quoted(key)} = ")
                self.value(item, (*path, key))
            self.put("}")
        else:
            self.put(_quoted(value) if isinstance(value, str) else str(value).lower())


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _paths(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _paths(item, (*path, key))


@given(
    st.dictionaries(_KEYS, _VALUES, max_size=3),
    st.lists(st.dictionaries(_KEYS, _VALUES, max_size=3), max_size=3),
    st.dictionaries(_KEYS, st.dictionaries(_KEYS, _VALUES, max_size=2), max_size=2),
)
def test_every_key_of_any_document_is_found_on_its_line(
    top: dict[str, Any], tables: list[dict[str, Any]], named: dict[str, Any]
) -> None:
    writer = _Writer()
    for key, value in top.items():
        writer.mark(("t" + key,))
        writer.put(f"{_quoted('t' + key)} = ")
        writer.value(value, ("t" + key,))
        writer.put(" # x\n")
    headers: list[tuple[KeyPath, dict[str, Any], str]] = [
        (("tables", index), table, "[[tables]]") for index, table in enumerate(tables)
    ]
    headers += [(("named", name), table, f"[named.{_quoted(name)}]") for name, table in named.items()]
    for path, table, header in headers:
        writer.lines.setdefault(path[:1], writer.text.count("\n") + 1)
        writer.mark(path)
        writer.put(header + "\n\n")
        for key, value in table.items():
            writer.mark((*path, key))
            writer.put(f"{_quoted(key)} = ")
            writer.value(value, (*path, key))
            writer.put("\n")
    assert set(_paths(tomllib.loads(writer.text))) == set(writer.lines)
    assert key_lines(writer.text) == writer.lines
