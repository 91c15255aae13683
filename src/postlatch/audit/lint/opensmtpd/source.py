"""smtpd.conf as statements of words. smtpd.conf(5)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import Budget, Line, is_readable_file, read, shown

_DEEPEST: Final = 20
_MOST_STATEMENTS: Final = 50_000
_TOKEN: Final = re.compile(
    r"(?P<skip>[ \t\r]+|\\\n|#[^\n\\]*(?:\\(?:.|\n)[^\n\\]*)*)|(?P<newline>\n)|"
    r'"(?P<quoted>(?:[^"\\\n]|\\.)*)"|(?P<sign>[{}(),=!])|(?P<word>[^\s{}(),=!"#]+)'
)


class Word(NamedTuple):
    """A word; ``quoted`` ones are never keywords."""

    text: str
    quoted: bool = False


class Statement(NamedTuple):
    """The words of a statement, and where it begins. ``text``: as it is shown."""

    words: list[Word]
    line: Line

    @property
    def text(self) -> str:
        """The statement on one line."""
        return shown(" ".join(word.text for word in self.words), 160)


class Source:
    """Reads statements through includes, with macros replaced."""

    def __init__(self, path: Path, budget: Budget) -> None:
        self.folder = path.parent
        self.missing: list[Line] = []
        self._budget = budget
        self._macros: dict[str, list[Word]] = {}
        self._count = 0

    def statements(self, path: Path, depth: int = 0) -> Iterator[Statement]:
        """Those of a file and of what it includes."""
        if depth > _DEEPEST:
            raise LintError("files include each other more than 20 deep", shown(str(path), 300))
        for statement in self._split(path):
            self._count += 1
            if self._count > _MOST_STATEMENTS:
                raise LintError(f"has more than {_MOST_STATEMENTS} statements", statement.line.file, statement.line.number)
            words = statement.words
            if len(words) >= 3 and words[1] == Word("=") and not words[0].quoted:
                self._macros[words[0].text] = self._replaced(words[2:])
            elif words[0] == Word("include") and len(words) == 2:
                yield from self._include(words[1].text, statement.line, depth)
            else:
                yield Statement(self._replaced(words), statement.line)

    def find(self, name: str) -> Path | None:
        """A file as the configuration says, or of that name beside it."""
        if not name or "\0" in name or len(name) > 1000:
            return None
        candidates = (Path(name), self.folder / name, self.folder / Path(name).name)
        return next((path for path in candidates if is_readable_file(path)), None)

    def _include(self, name: str, line: Line, depth: int) -> Iterator[Statement]:
        path = self.find(name)
        if path is None:
            self.missing.append(Line(name, line.file, line.number))
            return
        yield from self.statements(path, depth + 1)

    def _replaced(self, words: list[Word]) -> list[Word]:
        made: list[Word] = []
        for word in words:
            self._budget.spend()
            if not word.quoted and word.text.startswith("$"):
                made += self._macros.get(word.text[1:], [word])
                self._budget.spend(len(made) // 64)
            else:
                made.append(word)
        return made

    def _split(self, path: Path) -> Iterator[Statement]:
        name, text = shown(str(path), 300), read(path)
        words: list[Word] = []
        first, number, at, depth = 1, 1, 0, 0
        while at < len(text):
            self._budget.spend()
            found = _TOKEN.match(text, at)
            if found is None:
                raise LintError("a quote that does not end", name, number)
            at = found.end()
            if found["newline"] is not None:
                if words and depth <= 0:
                    yield Statement(words, Line("", name, first))
                    words = []
            elif found["skip"] is None:
                first = first if words else number
                word = _word(found)
                depth += 0 if word.quoted else {"{": 1, "}": -1}.get(word.text, 0)
                words.append(word)
            number += found[0].count("\n")
        if words:
            yield Statement(words, Line("", name, first))


def _word(found: re.Match[str]) -> Word:
    if found["quoted"] is not None:
        return Word(re.sub(r"\\(.)", r"\1", found["quoted"]), quoted=True)
    return Word(found["sign"] or found["word"])
