"""Expands strings as far as they can be known beforehand. Exim specification, chapter 11.

What depends on the client's own words (its sender, its HELO, its message) the client chooses; what depends on look-ups, files
of other hosts or programs, only the server can know.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

_DEEPEST: Final = 30
_LONGEST: Final = 16 * 1024
_NAME: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
# Variables that a stranger sets at will.
_CHOSEN: Final = re.compile(
    r"sender_(helo_name|address\w*|host_name|ident|rcvhost)|h_.*|header_.*|rh_.*|bh_.*|message_\w+|body_\w+|recipients\w*|spam_\w+|"
    r"malware_name|tls_in_\w+|tls_cipher|tls_sni|received_\w+|smtp_command\w*|acl_verify_message|dkim_\w+|spf_\w+|dmarc_\w+|mime_\w+|"
    r"rcpt_count|max_received_linelength|interface_port|local_part|local_part_data|domain|domain_data|sender_data|dnslist_\w+|tod_\w+|sender_host_port"
)


# Every client over the network has these.
_ALWAYS: Final = frozenset(
    ("sender_host_address", "sender_host_port", "interface_address", "interface_port", "received_port", "received_ip_address")
)


class Known(NamedTuple):
    """The text is this."""

    text: str


class Fork(NamedTuple):
    """The text is one of two; ``chosen``: the client has the choice, else nobody knows beforehand."""

    chosen: bool
    yes: Text
    no: Text


class Opaque(NamedTuple):
    """Some text; ``chosen`` by the client, or unknown."""

    chosen: bool


Text = Known | Fork | Opaque


class _Doubt(Exception):
    """What is asked for cannot be known beforehand."""

    def __init__(self, chosen: bool) -> None:
        super().__init__()
        self.chosen = chosen


def expand(text: str, known: Mapping[str, str], exists: Callable[[str], bool]) -> Text:
    """``known``: the values of variables. ``exists``: whether there is a file."""
    if "$" not in text and "\\" not in text:
        return Known(text)
    if len(text) > _LONGEST:
        return Opaque(chosen=False)
    return _Expander(known, exists).expand(text, 0)


class _Expander:
    def __init__(self, known: Mapping[str, str], exists: Callable[[str], bool]) -> None:
        self._known = known
        self._exists = exists

    def expand(self, text: str, depth: int) -> Text:
        if depth > _DEEPEST:
            return Opaque(chosen=False)
        stripped = text.strip()
        if stripped.startswith("${if") and _end_of_braces(stripped, 1) == len(stripped):
            return self._if(stripped[4:-1], depth)
        try:
            return Known(self._plain(text, depth))
        except _Doubt as doubt:
            return Opaque(doubt.chosen)

    def _plain(self, text: str, depth: int) -> str:
        parts: list[str] = []
        at, length = 0, 0
        while at < len(text):
            part, at = self._item(text, at, depth)
            parts.append(part)
            length += len(part)
            if length > _LONGEST:
                raise _Doubt(chosen=False)
        return "".join(parts)

    def _item(self, text: str, at: int, depth: int) -> tuple[str, int]:
        if text.startswith("\\N", at):
            end = text.find("\\N", at + 2)
            return (text[at + 2 :], len(text)) if end < 0 else (text[at + 2 : end], end + 2)
        if text[at] == "\\":
            return {"n": "\n", "t": "\t"}.get(text[at + 1 : at + 2], text[at + 1 : at + 2]), at + 2
        if text[at] != "$":
            end = next((i for i in range(at + 1, len(text)) if text[i] in "\\$"), len(text))
            return text[at:end], end
        if name := _NAME.match(text, at):
            return self._variable(name[1] or name[2]), name.end()
        if text[at + 1 : at + 2] != "{":
            raise _Doubt(chosen=False)
        end = _end_of_braces(text, at + 1)
        inner = text[at + 2 : end - 1]
        return self._operation(inner, depth), end

    def _variable(self, name: str) -> str:
        if name in self._known:
            return self._known[name]
        raise _Doubt(chosen=bool(_CHOSEN.fullmatch(name)))

    def _operation(self, inner: str, depth: int) -> str:
        name, colon, rest = inner.partition(":")
        if colon and name in {"lc", "uc", "domain", "local_part"} and depth < _DEEPEST:
            value = self._plain(rest, depth + 1)
            return value.upper() if name == "uc" else value.lower() if name == "lc" else _address_part(name, value)
        if inner.startswith("if"):
            made = self._if(inner[2:], depth + 1)
            if isinstance(made, Known):
                return made.text
            raise _Doubt(chosen=made.chosen)
        raise _Doubt(chosen=_only_chosen(inner))

    def _if(self, inner: str, depth: int) -> Text:
        """``${if CONDITION {YES}{NO}}``; without {YES} the text is "true" or empty."""
        holds, rest = self._condition(inner.strip(), depth)
        yes, no = _branches(rest)
        if isinstance(holds, bool):
            return self.expand(yes if holds else no, depth + 1)
        return Fork(holds.chosen, self.expand(yes, depth + 1), self.expand(no, depth + 1))

    def _condition(self, text: str, depth: int) -> tuple[bool | _Doubt, str]:
        """Whether it holds, and what stands behind it."""
        negated = text.startswith("!")
        text = text.lstrip("! \t") if negated else text
        head = re.match(r"[\w:=<>]+", text)
        name = head[0] if head else ""
        rest = text[len(name) :].lstrip()
        if name.startswith("def:"):
            return self._negate(self._defined(name[4:]), negated), rest
        arguments: list[str] = []
        most = 2 if name in _TWO else 1
        while rest.startswith("{") and len(arguments) < most:
            end = _end_of_braces(rest, 0)
            arguments.append(rest[1 : end - 1])
            rest = rest[end:].lstrip()
        return self._negate(self._holds(name, arguments, depth), negated), rest

    @staticmethod
    def _negate(holds: bool | _Doubt, negated: bool) -> bool | _Doubt:
        return not holds if isinstance(holds, bool) and negated else holds

    def _defined(self, name: str) -> bool | _Doubt:
        if name in _ALWAYS:
            return True
        try:
            return bool(self._variable(name))
        except _Doubt as doubt:
            return doubt

    def _holds(self, name: str, arguments: list[str], depth: int) -> bool | _Doubt:
        if depth > _DEEPEST or not arguments:
            return _Doubt(chosen=False)
        if name in {"and", "or"}:
            return self._all_or_any(name, arguments[0], depth)
        try:
            values = [self._plain(argument, depth + 1) for argument in arguments]
        except _Doubt as doubt:
            return doubt
        if name == "exists":
            return self._exists(values[0])
        if name == "bool":
            return values[0].strip().lower() in {"true", "yes", "1"}
        if name in {"eq", "eqi"} and len(values) == 2:
            return values[0] == values[1] if name == "eq" else values[0].lower() == values[1].lower()
        return _Doubt(chosen=False)

    def _all_or_any(self, name: str, inner: str, depth: int) -> bool | _Doubt:
        doubts: list[_Doubt] = []
        rest = inner.strip()
        while rest.startswith("{"):
            end = _end_of_braces(rest, 0)
            holds, _ = self._condition(rest[1 : end - 1].strip(), depth + 1)
            rest = rest[end:].lstrip()
            if isinstance(holds, _Doubt):
                doubts.append(holds)
            elif holds == (name == "or"):
                return holds
        if doubts:
            return _Doubt(chosen=all(doubt.chosen for doubt in doubts))
        return name == "and"


_TWO: Final = frozenset(
    [
        "eq",
        "eqi",
        "match",
        "match_domain",
        "match_address",
        "match_local_part",
        "match_ip",
        "inlist",
        "inlisti",
        "forany",
        "forall",
        "=",
        "==",
        "<",
        ">",
        "<=",
        ">=",
        "ge",
        "gei",
        "gt",
        "gti",
        "le",
        "lei",
        "lt",
        "lti",
        "crypteq",
    ]
)


def _only_chosen(inner: str) -> bool:
    """Whether an operation reads nothing but the client's words: no look-up, file, program or socket."""
    if re.match(r"(lookup|readfile|readsocket|run|perl|dlfunc|acl|env|extract|certextract|if)\b", inner):
        return False
    names = [found[1] or found[2] for found in _NAME.finditer(inner)]
    return bool(names) and all(_CHOSEN.fullmatch(name) for name in names)


def _branches(rest: str) -> tuple[str, str]:
    if not rest.startswith("{"):
        return "true", ""
    end = _end_of_braces(rest, 0)
    yes, rest = rest[1 : end - 1], rest[end:].lstrip()
    if not rest.startswith("{"):
        return yes, ""
    return yes, rest[1 : _end_of_braces(rest, 0) - 1]


def _end_of_braces(text: str, start: int) -> int:
    """Behind the brace that closes the one at ``start``, or the end."""
    depth, at = 0, start
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 1
        elif letter == "{":
            depth += 1
        elif letter == "}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return len(text)


def _address_part(name: str, value: str) -> str:
    local, _, domain = value.rpartition("@")
    return domain if name == "domain" else local
