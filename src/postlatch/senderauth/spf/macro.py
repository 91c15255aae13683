"""The macro language of RFC 7208 section 7: parsed once, expanded for each check. Both in one pass over the text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote

from postlatch.senderauth.spf.names import MAX_NAME, fitted
from postlatch.senderauth.spf.problem import TermError

_IN_TERMS: Final = frozenset("slodiphv")
_IN_EXPLANATIONS: Final = _IN_TERMS | frozenset("crt")  # section 7.2: only in the text that exp= names
_DELIMITERS: Final = ".-+,/_="
_FIXED: Final = {"%": "%", "_": " ", "-": "%20"}
_DIGITS: Final = "0123456789"
_ALPHANUMERIC: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_ALL_PARTS: Final = 999  # more than any text of bounded length has


class Macro(NamedTuple):
    """``%{…}``: how the value of its letter is split, turned, cut and escaped."""

    letter: str  # lower-case
    escape: bool  # upper-case in the record
    parts: int
    reverse: bool
    delimiters: str


Part = str | Macro


class DomainSpec(NamedTuple):
    """A name with macros in it. ``needs_ptr``: it has a ``%{p}``, whose value costs look-ups."""

    parts: tuple[Part, ...]
    needs_ptr: bool


class Values(Protocol):
    """What the letters stand for in one check."""

    def value(self, letter: str) -> str:
        """The value of a lower-case letter."""
        ...


def parse_domain_spec(text: str) -> DomainSpec:
    """A domain-spec (section 7.1): a macro-string that ends in a macro or in a dot and a top label. TermError if it is none."""
    parts, end = _parse(text, _IN_TERMS, " ")
    if not text or (end < len(text) and not _ends_in_toplabel(text[end:])):
        raise TermError("a name must end in a dot and a top-level label, or in a macro (RFC 7208 section 7.1)")
    return DomainSpec(parts, needs_ptr(parts))


def needs_ptr(parts: Iterable[Part]) -> bool:
    """True if there is a %{p} among them."""
    return any(isinstance(part, Macro) and part.letter == "p" for part in parts)


def check_macro_string(text: str) -> None:
    """TermError if this is not what a modifier of unknown meaning may hold (section 6)."""
    _parse(text, _IN_TERMS, " ")


def parse_explanation(text: str) -> tuple[Part, ...]:
    """The text that exp= names: macro-strings and spaces (section 6.2). TermError if it is anything else."""
    return _parse(text, _IN_EXPLANATIONS, "")[0]


def expand_name(spec: DomainSpec, values: Values) -> str:
    """The name that a domain-spec stands for, lower-case, of at most 253 characters; perhaps none that can be asked for."""
    found: list[str] = []
    length = 0
    # From the right, because what is too long is cut off on the left: a record of a thousand macros costs no more than a name.
    for part in reversed(spec.parts):
        text = part if isinstance(part, str) else _expanded(part, values)
        found.append(text)
        length += len(text)
        if length > MAX_NAME + 1:
            break
    return fitted("".join(reversed(found)).lower())


def expand_text(parts: Sequence[Part], values: Values, longest: int) -> str:
    """An explanation, at least ``longest`` characters of it if it has so many."""
    return "".join(_up_to(longest, (part if isinstance(part, str) else _expanded(part, values) for part in parts)))


def _up_to(longest: int, texts: Iterable[str]) -> Iterator[str]:
    length = 0
    for text in texts:
        yield text
        length += len(text)
        if length > longest:
            return


def _parse(text: str, letters: frozenset[str], forbidden: str) -> tuple[tuple[Part, ...], int]:
    """The parts, and where the literal text after the last macro begins."""
    if not text.isascii() or not text.isprintable() or (forbidden and forbidden in text):
        raise TermError("only printable ASCII may stand here (RFC 7208 section 7.1)")
    parts: list[Part] = []
    end = 0
    while (at := text.find("%", end)) >= 0:
        if at > end:
            parts.append(text[end:at])
        part, end = _expand_at(text, at, letters)
        parts.append(part)
    if end < len(text):
        parts.append(text[end:])
    return tuple(parts), end


def _expand_at(text: str, at: int, letters: frozenset[str]) -> tuple[Part, int]:
    """The macro-expand at a percent sign, and where it ends."""
    kind = text[at + 1 : at + 2]
    if kind in _FIXED:
        return _FIXED[kind], at + 2
    close = text.find("}", at + 2)
    if kind != "{" or close < 0:
        raise TermError("% must be followed by {...}, %, _ or - (RFC 7208 section 7.1)")
    return _macro(text[at + 2 : close], letters), close + 1


def _macro(inner: str, letters: frozenset[str]) -> Macro:
    letter = inner[:1].lower()
    if not letter or letter not in letters:
        raise TermError("there is no such macro letter here (RFC 7208 sections 7.1 and 7.2)")
    rest = inner[1:].lstrip(_DIGITS)
    digits = inner[1 : len(inner) - len(rest)]
    reverse = rest[:1] in {"r", "R"}
    delimiters = rest[1:] if reverse else rest
    if delimiters.strip(_DELIMITERS):
        raise TermError("a macro is a letter, digits, r and delimiters out of .-+,/_= (RFC 7208 section 7.1)")
    return Macro(letter, inner[0] != letter, _count(digits), reverse, "".join(sorted(set(delimiters))) or ".")


def _count(digits: str) -> int:
    number = digits.lstrip("0")
    if digits and not number:
        raise TermError("a macro cannot keep 0 parts (RFC 7208 section 7.1)")
    return int(number) if 0 < len(number) <= 3 else _ALL_PARTS


def _expanded(macro: Macro, values: Values) -> str:
    text = values.value(macro.letter)
    first = macro.delimiters[0]
    for delimiter in macro.delimiters[1:]:
        text = text.replace(delimiter, first)
    parts = text.split(first)
    if macro.reverse:
        parts.reverse()
    text = ".".join(parts[-macro.parts :])
    return quote(text, safe="", errors="replace") if macro.escape else text


def _ends_in_toplabel(tail: str) -> bool:
    _, dot, label = tail.removesuffix(".").rpartition(".")
    if not dot or not label or label.isdigit():
        return False
    return not label.strip(_ALPHANUMERIC + "-") and label[0] != "-" and label[-1] != "-"
