"""Tables, listeners, actions and rules of smtpd.conf, of version 6.4 and later and of the ones before."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.opensmtpd.source import Source, Statement, Word
from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Budget, Line, lines_of, shown

_LOOPBACK: Final = frozenset(("lo", "lo0", "localhost", "127.0.0.1", "::1"))
# What a condition compares, for the words that stand before its value.
_SUBJECTS: Final = {"src": "src", "source": "src", "domain": "domain", "mail-from": "mail-from", "sender": "mail-from"}
_MORE_SUBJECTS: Final = {
    "rcpt-to": "rcpt-to",
    "recipient": "rcpt-to",
    "rdns": "rdns",
    "helo": "helo",
    "auth": "auth",
    "tag": "tag",
}
_VALUES: Final = _SUBJECTS | _MORE_SUBJECTS | {"tagged": "tag", "virtual": "domain"}


class Table(NamedTuple):
    """The entries of a table, or None if only the server can read them."""

    entries: list[str] | None


class Listener(NamedTuple):
    """A ``listen`` statement."""

    on: str
    words: list[str]
    tag: str
    line: Line

    @property
    def is_local(self) -> bool:
        """Whether strangers cannot reach it."""
        return self.on in _LOOPBACK or self.on.startswith("127.") or self.on == "socket"

    def has(self, word: str) -> bool:
        """Whether it was said."""
        return word in self.words


class Condition(NamedTuple):
    """One condition of a rule. ``table`` None: any value will do."""

    subject: str
    negated: bool
    table: Table | None = None
    regex: bool = False


class Rule(NamedTuple):
    """``match`` or ``accept``; ``action`` None: it rejects."""

    conditions: list[Condition]
    action: str | None
    statement: Statement


class Config:
    """All that a judgement needs."""

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.listeners: list[Listener] = []
        self.actions: dict[str, Statement] = {}
        self.rules: list[Rule] = []
        self.filters: dict[str, Statement] = {}
        self.missing: list[Line] = []
        self.file = ""


def load(path: Path, budget: Budget) -> Config:
    """Reads smtpd.conf, or a folder that holds it."""
    file = path / "smtpd.conf" if path.is_dir() else path
    source = Source(file, budget)
    reader = _Reader(source)
    for statement in source.statements(file):
        reader.read(statement)
    reader.config.missing = source.missing
    reader.config.file = shown(str(file), 300)
    if not reader.config.rules and not reader.config.listeners:
        raise LintError("has neither listen nor match: it is no smtpd.conf", reader.config.file)
    return reader.config


class _Reader:
    def __init__(self, source: Source) -> None:
        self.config = Config()
        self._source = source

    def read(self, statement: Statement) -> None:
        words = statement.words
        known = {
            "table": self._table,
            "listen": self._listener,
            "action": self._action,
            "filter": self._filter,
            "match": self._rule,
            "accept": self._rule,
            "reject": self._rule,
        }
        reader = None if words[0].quoted else known.get(words[0].text)
        if reader is not None:
            reader(statement)

    def _table(self, statement: Statement) -> None:
        words = statement.words
        if len(words) < 3:
            raise LintError("table needs a name and a source", statement.line.file, statement.line.number)
        self.config.tables[words[1].text] = self._entries(words[2:])

    def _entries(self, words: list[Word]) -> Table:
        if words[0] == Word("{"):
            values, last_sign = [], "{"
            for word in words[1:]:
                if not word.quoted and word.text in "{},=":
                    last_sign = word.text
                elif last_sign != "=":
                    values.append(word.text)
            return Table(values)
        kind, colon, name = words[0].text.partition(":")
        if kind not in {"file", "static"} or not colon:
            return Table(None if colon and kind in _BACKENDS else [words[0].text])
        path = self._source.find(name)
        if path is None:
            return Table(None)
        lines = (line.text.split("#")[0].split() for line in lines_of(path))
        return Table([line[0].rstrip(":") for line in lines if line])

    def _listener(self, statement: Statement) -> None:
        words = [word.text for word in statement.words]
        if len(words) < 2:
            raise LintError("listen needs an interface", statement.line.file, statement.line.number)
        on = words[2] if words[1] == "on" and len(words) > 2 else words[1]
        at = words.index("tag") if "tag" in words else -1
        tag = words[at + 1] if 0 <= at < len(words) - 1 else ""
        self.config.listeners.append(Listener(on, words, tag, statement.line))

    def _action(self, statement: Statement) -> None:
        if len(statement.words) < 3:
            raise LintError("action needs a name and a method", statement.line.file, statement.line.number)
        self.config.actions[statement.words[1].text] = statement

    def _filter(self, statement: Statement) -> None:
        if len(statement.words) > 1:
            self.config.filters[statement.words[1].text] = statement

    def _rule(self, statement: Statement) -> None:
        self.config.rules.append(_Rule(statement, self.config).read())


_BACKENDS: Final = frozenset(
    ("db", "ldap", "mysql", "postgres", "sqlite", "redis", "socketmap", "passwd", "proc", "proc-exec", "getpwnam")
)


class _Rule:
    """Reads one rule from left to right."""

    def __init__(self, statement: Statement, config: Config) -> None:
        self._statement = statement
        self._words = statement.words
        self._at = 1
        self._config = config
        self._conditions: list[Condition] = []
        self._sides: set[str] = set()

    def read(self) -> Rule:
        action: str | None = None
        legacy = self._words[0].text != "match"
        while self._at < len(self._words):
            word = self._next()
            if word == "action":
                action = self._next()
            elif word in {"relay", "deliver", "backup"} and legacy:
                action = action or ("relay" if word != "deliver" else "deliver")
            elif word == "reject":
                action = None
            else:
                self._condition(word)
        # Without "from" and "for", a rule is about this machine and its own names.
        if "from" not in self._sides:
            self._conditions.append(Condition("local", negated=False))
        if "for" not in self._sides:
            self._conditions.append(Condition("own-names", negated=False))
        if self._words[0].text == "reject":
            action = None
        return Rule(self._conditions, action, self._statement)

    def _next(self) -> str:
        self._at += 1
        return self._words[self._at - 1].text if self._at <= len(self._words) else ""

    def _peek(self) -> str:
        return self._words[self._at].text if self._at < len(self._words) else ""

    def _negation(self) -> bool:
        if self._peek() == "!":
            self._at += 1
            return True
        return False

    def _condition(self, word: str) -> None:
        negated = word == "!"
        if negated:
            word = self._next()
        side = word if word in {"from", "for"} else ""
        if side:
            self._sides.add(side)
            negated = self._negation() or negated
            word = self._next()
        if word == "any":
            if negated:
                self._conditions.append(Condition("nothing", negated=False))
        elif word in {"local", "socket"}:
            subject = ("own-names" if side == "for" else "local") if word == "local" else "nothing"
            self._conditions.append(Condition(subject, negated))
        elif word == "tls":
            self._conditions.append(Condition("tls", negated))
        elif word in _VALUES:
            self._conditions.append(self._compared(_VALUES[word], negated))

    def _compared(self, subject: str, negated: bool) -> Condition:
        regex = self._peek() == "regex"
        if regex:
            self._at += 1
        optional = subject in {"auth", "rdns"} and self._peek() in _KEYWORDS
        if optional or not self._peek():
            return Condition(subject, negated)
        return Condition(subject, negated, self._value(), regex)

    def _value(self) -> Table:
        word = self._next()
        if word == "{":
            values: list[str] = []
            while (part := self._next()) not in {"", "}"}:
                if part != ",":
                    values.append(part)
            return Table(values)
        if word.startswith("<") and word.endswith(">"):
            return self._config.tables.get(word[1:-1], Table(None))
        return Table([word])


_KEYWORDS: Final = frozenset(("", "for", "from", "action", "reject", "tls", "tag", "helo", "mail-from", "rcpt-to", "!", "auth"))
