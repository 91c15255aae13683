"""Lookup tables (postmap(1), DATABASE_README): what they say to a key, where it stands, and what cannot be known from here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from postlatch.audit.lint.postfix.cf import Logical, logical, split_list
from postlatch.audit.lint.postfix.files import Place
from postlatch.audit.lint.postfix.pattern import Pattern, PatternError, compiled
from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Line, lines_of, shown
from postlatch.audit.lint.survey import Address, Network, networks_of

_HASHED: Final = frozenset({"hash", "btree", "lmdb", "dbm", "cdb", "sdbm", "texthash"})
_MOST_RULES: Final = 100_000
_MOST_ANSWERS: Final = 50_000


class Unreadable(Exception):
    """What a table says cannot be known from here; the text says why."""


class LookupFails(Exception):
    """The table can never answer: Postfix defers."""


class Entry(NamedTuple):
    """One line of a table: the key or pattern, the value, and where it stands."""

    key: str
    value: str
    place: str

    @property
    def word(self) -> str:
        """What is done: the first word of the value, in capitals; a value may be empty."""
        return self.value.strip().partition(" ")[0].upper()


class Rule(NamedTuple):
    """One line of a regexp, pcre or cidr table. ``pattern`` None: it cannot be judged, ``why`` says so."""

    entry: Entry
    pattern: Pattern | None = None
    network: Network | None = None
    negated: bool = False
    why: str = ""
    conditions: tuple[Rule, ...] = ()  # of the ``if`` that it stands in


class Table:
    """A table of keys. ``partial``: parent domains, networks and users are looked up too (DICT_FLAG_FIXED)."""

    partial = True

    def __init__(self, name: str, entries: Iterable[Entry] = ()) -> None:
        self.name = name
        self.keys: dict[str, Entry] = {}
        for entry in entries:
            self.keys.setdefault(entry.key.lower(), entry)

    def lookup(self, key: str) -> Entry | None:
        """What is said to ``key``. Unreadable or LookupFails as above."""
        return self.keys.get(key.lower())


class Everything(Table):
    """``static:value``."""

    def lookup(self, key: str) -> Entry | None:  # noqa: ARG002 (every key)
        """The same to every key."""
        return next(iter(self.keys.values()))


class Closed(Table):
    """A table whose contents cannot be seen: LDAP, SQL, a missing file."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name)
        self.why = why

    def lookup(self, key: str) -> Entry | None:  # noqa: ARG002 (every key)
        """Unreadable."""
        raise Unreadable(self.why)


class Failing(Table):
    """``fail:``, or a type that does not exist."""

    def lookup(self, key: str) -> Entry | None:  # noqa: ARG002 (every key)
        """LookupFails."""
        raise LookupFails


class Rules(Table):
    """A table of patterns: the first that matches counts, and only whole keys are looked up."""

    partial = False

    def __init__(self, name: str, rules: list[Rule]) -> None:
        super().__init__(name)
        self.rules = rules
        self._answers: dict[str, Entry | None] = {}

    def lookup(self, key: str) -> Entry | None:
        """The first rule that matches."""
        if key not in self._answers:
            if len(self._answers) > _MOST_ANSWERS:
                self._answers.clear()
            self._answers[key] = self._looked_up(key)
        return self._answers[key]

    def _looked_up(self, key: str) -> Entry | None:
        address = networks_of(key) if ":" in key or key.replace(".", "").isdigit() else None
        single = address.network_address if address is not None and address.num_addresses == 1 else None
        for rule in self.rules:
            if all(_matches(outer, key, single) for outer in rule.conditions) and _matches(rule, key, single):
                if "$" in rule.entry.word:
                    raise Unreadable(f"{rule.entry.place} answers with a part of the question")
                return rule.entry
        return None


def _matches(rule: Rule, key: str, address: Address | None) -> bool:
    if rule.network is not None:
        if address is None:
            return False
        return (address in rule.network) != rule.negated
    if rule.pattern is None:
        raise Unreadable(f"{rule.entry.place} {rule.why}")
    return rule.pattern.matches(key) != rule.negated


class Tables:
    """Opens each table once."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._open: dict[str, Table] = {}

    def open(self, name: str) -> Table:
        """The table of ``type:name`` (or ``proxy:type:name``)."""
        if name not in self._open:
            self._open[name] = self._opened(name)
        return self._open[name]

    def closed(self) -> list[tuple[str, str]]:
        """(why, name) of the opened tables that could not be read."""
        return [(table.why, shown(name, 100)) for name, table in self._open.items() if isinstance(table, Closed)]

    def _opened(self, name: str) -> Table:
        kind, _, rest = name.removeprefix("proxy:").partition(":")
        kind = kind.strip().lower()
        inner = rest.strip()[1:-1].strip() if rest.strip().startswith("{") and rest.strip().endswith("}") else None
        if kind == "static":
            return Everything(name, [Entry("*", inner if inner is not None else rest, shown(name, 100))])
        if kind == "fail":
            return Failing(name)
        try:
            if kind == "inline":
                return Table(name, _inline(inner or "", name))
            if kind in {"regexp", "pcre", "cidr"}:
                return Rules(name, list(_rules(kind, self._lines(inner, rest, name))))
            if kind in _HASHED:
                return Table(name, _pairs(self._lines(inner, rest, name)))
        except Unreadable as error:
            return Closed(name, str(error))
        except LintError as error:
            return Closed(name, shown(str(error)))
        return Closed(name, f"{shown(kind, 30)} tables are not in the configuration")

    def _lines(self, inner: str | None, rest: str, name: str) -> Iterable[Logical]:
        if inner is not None:
            texts = (part[1:-1].strip() if part.startswith("{") and part.endswith("}") else part for part in split_list(inner))
            return [Logical(text, shown(name, 100), 0, 0) for text in texts]
        path = self._place.find(rest)
        if path is None:
            raise Unreadable(f"the file {shown(rest)} is not here")
        title = self._place.shown(path)
        lines = (Line(line.text, title, line.number) for line in lines_of(path))
        return logical(lines)


def _placed(line: Logical) -> str:
    return shown(f"{line.file}:{line.first}" if line.first else line.file)


def _inline(inner: str, name: str) -> Iterator[Entry]:
    for part in split_list(inner):
        text = part[1:-1] if part.startswith("{") and part.endswith("}") else part
        key, sign, value = text.partition("=")
        if not sign:
            raise Unreadable(f"{shown(name)} is malformed")
        yield Entry(key.strip(), value.strip(), shown(name, 100))


def _pairs(lines: Iterable[Logical]) -> Iterator[Entry]:
    for line in lines:
        text = line.text
        if text.startswith('"') and (end := text.find('"', 1)) > 0:
            key, value = text[1:end], text[end + 1 :].strip()
        else:
            key, _, value = text.replace("\t", " ").partition(" ")
            value = value.strip()
        if value:
            yield Entry(key, value, _placed(line))


def _rules(kind: str, lines: Iterable[Logical]) -> Iterator[Rule]:
    nested: list[Rule] = []
    for number, line in enumerate(lines):
        if number > _MOST_RULES:
            raise Unreadable("it has more rules than can be judged")
        word = line.text.split(None, 1)[0].lower()
        if word == "endif":
            if nested:
                nested.pop()
            continue
        condition = word == "if"
        text = line.text.split(None, 1)[1] if condition and " " in line.text.strip() else line.text
        rule = _cidr_rule(text, line) if kind == "cidr" else _pattern_rule(kind, text, line)
        if rule is None:
            continue
        rule = rule._replace(conditions=tuple(nested))
        if condition:
            nested.append(rule)
        elif rule.entry.value:
            yield rule


def _cidr_rule(text: str, line: Logical) -> Rule | None:
    key, _, value = text.replace("\t", " ").partition(" ")
    network = networks_of(key.lstrip("!"))
    if network is None:
        return None  # Postfix warns and goes on
    return Rule(Entry(key, value.strip(), _placed(line)), network=network, negated=key.startswith("!"))


def _pattern_rule(kind: str, text: str, line: Logical) -> Rule | None:
    negated = text.startswith("!")
    text = text.lstrip("!").lstrip()
    if not text or text[0].isalnum():
        return None
    end = 1
    while end < len(text) and text[end] != text[0]:
        end += 2 if text[end] == "\\" else 1
    source, rest = text[1:end], text[end + 1 :]
    flags, _, value = rest.replace("\t", " ").partition(" ")
    entry = Entry(shown(text[: end + 1], 100), value.strip(), _placed(line))
    odd = set(flags) - set("imx" if kind == "regexp" else "imsEUX")
    if odd:
        return Rule(entry, negated=negated, why=f"has the flag {shown(min(odd))}, which is not judged here")
    extended = kind == "pcre" or "x" not in flags
    try:
        pattern = compiled(source.replace("\\" + text[0], text[0]), ignore_case="i" not in flags, extended=extended)
    except PatternError as error:
        return Rule(entry, negated=negated, why=str(error))
    return Rule(entry, pattern=pattern, negated=negated)
