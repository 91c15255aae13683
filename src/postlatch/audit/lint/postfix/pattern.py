"""Regular expressions of lookup tables (POSIX extended, and what PCRE adds without looking around) as automata.

Python's own engine may take time exponential in the subject; this one is linear in it, and it can also be asked for a text that
matches one pattern and none of others: what would a stranger have to say?
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

_MOST_STATES: Final = 4000
_MOST_LENGTH: Final = 2000
_MOST_DEPTH: Final = 50
_ALL: Final = frozenset(range(256))
_DIGIT: Final = frozenset(b"0123456789")
_WORD: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
_SPACE: Final = frozenset(b" \t\n\r\f\v")
_UPPER: Final = frozenset(range(65, 91))
_LOWER: Final = frozenset(range(97, 123))
_CLASSES: Final = {
    "alpha": _UPPER | _LOWER,
    "digit": _DIGIT,
    "alnum": _UPPER | _LOWER | _DIGIT,
    "upper": _UPPER,
    "lower": _LOWER,
    "space": _SPACE,
    "blank": frozenset(b" \t"),
    "punct": frozenset(range(33, 127)) - _UPPER - _LOWER - _DIGIT,
    "xdigit": frozenset(b"0123456789abcdefABCDEF"),
    "print": frozenset(range(32, 127)),
    "graph": frozenset(range(33, 127)),
    "cntrl": frozenset(range(32)) | {127},
    "word": _WORD,
}
_ESCAPES: Final = {"d": _DIGIT, "D": _ALL - _DIGIT, "w": _WORD, "W": _ALL - _WORD, "s": _SPACE, "S": _ALL - _SPACE}
_CONTROLS: Final = {"n": 10, "t": 9, "r": 13, "f": 12, "e": 27, "a": 7}
# Edges that take no character: nothing, and what must hold at this place.
_EMPTY, _START, _END, _BORDER, _INSIDE = 0, 1, 2, 3, 4


class PatternError(ValueError):
    """A pattern that is malformed, too large, or looks around or back."""


class Pattern:
    """A compiled pattern, matched anywhere in a text as ``regexec`` does."""

    def __init__(self, source: str, *, ignore_case: bool = True, extended: bool = True) -> None:
        """PatternError if it is none. ``extended`` False: basic expressions, in which ``( ) { } + ? |`` mean themselves."""
        if len(source) > _MOST_LENGTH:
            raise PatternError("is longer than 2,000 characters")
        parser = _Parser(source if extended else _from_basic(source), ignore_case=ignore_case)
        self._moves, self._jumps, self._first, self._last = parser.parse()
        self.groups = parser.groups
        self.sets = frozenset(wanted for moves in self._moves.values() for wanted, _ in moves)
        self.has_borders = any(condition >= _BORDER for jumps in self._jumps.values() for condition, _ in jumps)

    def matches(self, text: str) -> bool:
        """Whether any part of ``text`` matches."""
        octets = text.encode("utf-8", "surrogateescape")
        state = self.begin(None if not octets else octets[0])
        for place, octet in enumerate(octets):
            if state.found:
                return True
            state = self.step(state, octet, octets[place + 1] if place + 1 < len(octets) else None)
        return state.found

    def begin(self, following: int | None) -> State:
        """Before the first octet, which is ``following``; None: the text is empty."""
        return self._closed(frozenset((self._first,)), None, following)

    def step(self, state: State, octet: int, following: int | None) -> State:
        """After one more octet. A search begins anew at every place."""
        if state.found:
            return state
        after = {target for number in state.numbers for wanted, target in self._moves.get(number, ()) if octet in wanted}
        return self._closed(frozenset(after | {self._first}), octet, following)

    def _closed(self, numbers: frozenset[int], before: int | None, following: int | None) -> State:
        seen, waiting = set(numbers), list(numbers)
        while waiting:
            for condition, target in self._jumps.get(waiting.pop(), ()):
                if target not in seen and _holds(condition, before, following):
                    seen.add(target)
                    waiting.append(target)
        return State(frozenset(seen) if self._last not in seen else frozenset(), self._last in seen)


class State(NamedTuple):
    """Where the automaton may be, and whether it has found a match already."""

    numbers: frozenset[int]
    found: bool


def _holds(condition: int, before: int | None, following: int | None) -> bool:
    if condition == _EMPTY:
        return True
    if condition == _START:
        return before is None
    if condition == _END:
        return following is None
    border = (before in _WORD) != (following in _WORD)
    return border if condition == _BORDER else not border


def _from_basic(source: str) -> str:
    """A basic expression as an extended one."""
    made, escaped, bracket = "", False, False
    for character in source:
        if bracket:
            bracket = character != "]"
            made += character
        elif escaped:
            escaped = False
            made += character if character in "(){}|+?" else "\\" + character
        elif character == "\\":
            escaped = True
        else:
            bracket = character == "["
            made += "\\" + character if character in "(){}|+?" else character
    return made


Fragment = tuple[int, int]


class _Parser:
    """Recursive descent into an automaton of Thompson's kind: one first and one last state a fragment."""

    def __init__(self, source: str, *, ignore_case: bool) -> None:
        self._source = source
        self._at = 0
        self._fold = ignore_case
        self._count = 0
        self._depth = 0
        self.groups = 0
        self._moves: dict[int, list[tuple[frozenset[int], int]]] = {}
        self._jumps: dict[int, list[tuple[int, int]]] = {}

    def parse(
        self,
    ) -> tuple[dict[int, list[tuple[frozenset[int], int]]], dict[int, list[tuple[int, int]]], int, int]:
        if self._source.startswith("(?i)"):
            self._at, self._fold = 4, True
        first, last = self._either()
        if self._at < len(self._source):
            raise PatternError("has a ) without (")
        return self._moves, self._jumps, first, last

    def _state(self) -> int:
        self._count += 1
        if self._count > _MOST_STATES:
            raise PatternError("is too large")
        return self._count

    def _jump(self, source: int, target: int, condition: int = _EMPTY) -> None:
        self._jumps.setdefault(source, []).append((condition, target))

    def _next(self) -> str:
        return self._source[self._at : self._at + 1]

    def _either(self) -> Fragment:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise PatternError("is nested too deeply")
        first, last = self._state(), self._state()
        while True:
            inner_first, inner_last = self._sequence()
            self._jump(first, inner_first)
            self._jump(inner_last, last)
            if self._next() != "|":
                self._depth -= 1
                return first, last
            self._at += 1

    def _sequence(self) -> Fragment:
        first = last = self._state()
        while self._next() and self._next() not in "|)":
            inner_first, inner_last = self._repeated()
            self._jump(last, inner_first)
            last = inner_last
        return first, last

    def _repeated(self) -> Fragment:
        begin = self._at
        fragment = self._atom()
        end = self._at
        while (bounds := self._quantifier()) is not None:
            fragment = self._times(fragment, self._source[begin:end], *bounds)
            end = self._at
        return fragment

    def _quantifier(self) -> tuple[int, int | None] | None:
        sign = self._next()
        if sign and sign in "*+?":
            self._at += 1
            bounds: tuple[int, int | None] = {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        elif sign == "{" and (counted := self._counted()) is not None:
            bounds = counted
        else:
            return None
        if self._next() == "?":  # a lazy one matches the same texts
            self._at += 1
        if self._next() == "+":
            raise PatternError("repeats without going back, which is not judged here")
        return bounds

    def _counted(self) -> tuple[int, int | None] | None:
        close = self._source.find("}", self._at)
        least, comma, most = self._source[self._at + 1 : close if close > 0 else self._at + 1].partition(",")
        if not least.isdigit() or (most and not most.isdigit()) or len(least + most) > 6:
            return None
        self._at = close + 1
        low, high = int(least), (int(most) if most else None) if comma else int(least)
        if low > 255 or (high is not None and (high > 255 or high < low)):
            raise PatternError("repeats too often")
        return low, high

    def _times(self, fragment: Fragment, text: str, low: int, high: int | None) -> Fragment:
        """Copies of a fragment are made by parsing its text again."""
        copies = max(low, 1 if high is None else high)
        parts = [fragment, *(self._again(text) for _ in range(copies - 1))] if copies else []
        first = last = self._state()
        end = self._state()
        for number, (inner_first, inner_last) in enumerate(parts):
            if number >= low:
                self._jump(last, end)
            self._jump(last, inner_first)
            last = inner_last
            if high is None and number == copies - 1:
                self._jump(inner_last, inner_first)
        self._jump(last, end)
        return first, end

    def _again(self, text: str) -> Fragment:
        source, at, groups = self._source, self._at, self.groups
        self._source, self._at = text, 0
        fragment = self._sequence()
        self._source, self._at, self.groups = source, at, groups
        return fragment

    def _atom(self) -> Fragment:
        sign = self._next()
        self._at += 1
        if sign == "(":
            return self._group()
        if sign in "^$":
            return self._condition(_START if sign == "^" else _END)
        if sign == "[":
            return self._one_of(self._bracket())
        if sign == ".":
            return self._one_of(_ALL)
        if sign == "\\":
            return self._escape()
        if sign in "*+?":
            raise PatternError(f"repeats nothing with {sign}")
        octets = sign.encode("utf-8", "surrogateescape")
        first = last = self._state()
        for octet in octets:
            inner_first, inner_last = self._one_of(frozenset((octet,)))
            self._jump(last, inner_first)
            last = inner_last
        return first, last

    def _condition(self, condition: int) -> Fragment:
        first, last = self._state(), self._state()
        self._jump(first, last, condition)
        return first, last

    def _group(self) -> Fragment:
        if self._source.startswith("?:", self._at):
            self._at += 2
        elif self._next() == "?":
            raise PatternError("looks around or sets options within, which is not judged here")
        else:
            self.groups += 1
        fragment = self._either()
        if self._next() != ")":
            raise PatternError("has a ( without )")
        self._at += 1
        return fragment

    def _one_of(self, octets: frozenset[int]) -> Fragment:
        if self._fold:
            octets |= {octet ^ 32 for octet in octets if octet in _UPPER or octet in _LOWER}
        first, last = self._state(), self._state()
        self._moves.setdefault(first, []).append((octets, last))
        return first, last

    def _escape(self) -> Fragment:
        sign = self._next()
        self._at += 1
        if sign in {"b", "<", ">"}:
            return self._condition(_BORDER)
        if sign == "B":
            return self._condition(_INSIDE)
        if sign in {"A", "`"}:
            return self._condition(_START)
        if sign in {"z", "Z", "'"}:
            return self._condition(_END)
        if sign in _ESCAPES:
            return self._one_of(_ESCAPES[sign])
        if sign in _CONTROLS:
            return self._one_of(frozenset((_CONTROLS[sign],)))
        if not sign or sign.isalnum():
            raise PatternError(f"has \\{sign or ''}, which is not judged here")
        return self._one_of(frozenset(sign.encode("utf-8", "surrogateescape")[:1]))

    def _bracket(self) -> frozenset[int]:
        negated = self._next() == "^"
        self._at += negated
        chosen: set[int] = set()
        begin = self._at
        while self._next() and (self._next() != "]" or self._at == begin):
            chosen |= self._member()
        if not self._next():
            raise PatternError("has a [ without ]")
        self._at += 1
        if negated and self._fold:
            chosen |= {octet ^ 32 for octet in chosen if octet in _UPPER or octet in _LOWER}
        return _ALL - chosen if negated else frozenset(chosen)

    def _member(self) -> frozenset[int]:
        if self._source.startswith("[:", self._at) and (end := self._source.find(":]", self._at)) > 0:
            name = self._source[self._at + 2 : end]
            self._at = end + 2
            if name not in _CLASSES:
                raise PatternError("names a class of characters that does not exist")
            return _CLASSES[name]
        low = self._single()
        if isinstance(low, frozenset):
            return low
        if self._next() == "-" and self._source[self._at + 1 : self._at + 2] not in {"]", ""}:
            self._at += 1
            high = self._single()
            if isinstance(high, frozenset) or high < low:
                raise PatternError("has a range from more to less")
            return frozenset(range(low, high + 1))
        return frozenset((low,))

    def _single(self) -> int | frozenset[int]:
        sign = self._next()
        self._at += 1
        # POSIX takes a backslash in brackets for itself, PCRE for an escape: both are let match, as a doubt is no refusal.
        if sign == "\\" and (escaped := self._next()) and escaped in _ESCAPES:
            self._at += 1
            return _ESCAPES[escaped]
        if sign == "\\" and self._next() and self._next() in "].-\\^[/":
            sign = self._next()
            self._at += 1
        octets = sign.encode("utf-8", "surrogateescape")
        return octets[0] if len(octets) == 1 else frozenset(octets)


@lru_cache(maxsize=4096)
def compiled(source: str, *, ignore_case: bool = True, extended: bool = True) -> Pattern:
    """The same pattern is looked up many times. PatternError as from ``Pattern``."""
    return Pattern(source, ignore_case=ignore_case, extended=extended)
