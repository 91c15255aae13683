"""MTA-STS, the part without I/O: the TXT record, the policy file, and which mail hosts a policy names (RFC 8461)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from postlatch.model.address import AddressError, parse_domain

MAX_POLICY: Final = 65_536  # octets, section 3.3 suggests a bound of this size
MAX_AGE: Final = 31_557_600  # seconds, section 3.2
MAX_PATTERNS: Final = 100
_MAX_LINES: Final = 1_000

_ID: Final = re.compile(r"[A-Za-z0-9]{1,32}")
_FIELD: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31}+)[ \t]*+:[ \t]*+(.*)")
_AGE: Final = re.compile(r"[0-9]{1,10}")


class StsMode(StrEnum):
    """What a domain wants done with a host that does not meet its policy."""

    ENFORCE = "enforce"
    TESTING = "testing"
    NONE = "none"


class StsError(ValueError):
    """A policy file that is none; its text is ours and safe to show."""


class StsPolicy(NamedTuple):
    """A policy. ``mx`` are host names and ``*.`` names in lower case; empty only in mode ``none``."""

    mode: StsMode
    mx: tuple[str, ...]
    max_age: int

    @property
    def lines(self) -> tuple[str, ...]:
        """The policy as TLS reports show it (RFC 8460 section 4.4)."""
        hosts = [f"mx: {pattern}" for pattern in self.mx]
        return ("version: STSv1", f"mode: {self.mode}", *hosts, f"max_age: {self.max_age}")

    def names(self, host: str) -> bool:
        """True if the policy lists this mail host (section 4.1)."""
        return any(matches(pattern, host) for pattern in self.mx)


def read_record(records: Iterable[bytes]) -> str | None:
    """The id of the one valid record at ``_mta-sts``; None if there is none, or more than one (section 3.1)."""
    found = [text for raw in records if (text := _text(raw)) is not None and _is_record(text)]
    if len(found) != 1:
        return None
    ids = []
    for part in found[0].split(";")[1:]:
        name, equals, value = part.strip(" \t").partition("=")
        if equals and name.rstrip(" \t") == "id":
            ids.append(value.lstrip(" \t"))
    return ids[0] if len(ids) == 1 and _ID.fullmatch(ids[0]) else None


def read_policy(body: bytes) -> StsPolicy:
    """A policy file; StsError says why it is none. Fields that are not known are passed over (section 3.2)."""
    if len(body) > MAX_POLICY:
        raise StsError(f"the policy is larger than {MAX_POLICY} octets")
    text = _utf8(body)
    first: dict[str, str] = {}
    patterns: list[str] = []
    lines = text.replace("\r\n", "\n").split("\n")
    if len(lines) > _MAX_LINES:
        raise StsError(f"the policy has more than {_MAX_LINES} lines")
    for line in lines:
        if not line.strip(" \t"):
            continue
        match = _FIELD.fullmatch(line.rstrip(" \t"))
        if match is None:
            raise StsError("a line of the policy is not NAME: VALUE")
        name, value = match.groups()
        if name == "mx":
            patterns.append(_pattern(value))
        else:
            first.setdefault(name, value)  # section 3.2: of fields that are given twice the first holds
    return _policy(first, patterns)


def matches(pattern: str, host: str) -> bool:
    """True if ``pattern`` names ``host``: the same name, or ``*.`` for exactly one label on the left (section 4.1)."""
    host = host.lower().rstrip(".")
    if not pattern.startswith("*."):
        return pattern == host
    label, dot, rest = host.partition(".")
    return bool(label and dot) and rest == pattern[2:]


def _policy(fields: dict[str, str], patterns: list[str]) -> StsPolicy:
    if fields.get("version") != "STSv1":
        raise StsError("the policy does not say version: STSv1")
    try:
        mode = StsMode(fields.get("mode", ""))
    except ValueError:
        raise StsError("the policy's mode is not enforce, testing or none") from None
    age = fields.get("max_age", "")
    if not _AGE.fullmatch(age):
        raise StsError("the policy has no max_age in seconds")
    if not patterns and mode is not StsMode.NONE:
        raise StsError("the policy names no mail host")
    if len(patterns) > MAX_PATTERNS:
        raise StsError(f"the policy names more than {MAX_PATTERNS} mail hosts")
    return StsPolicy(mode, tuple(patterns), min(int(age), MAX_AGE))


def _pattern(text: str) -> str:
    name = text.removeprefix("*.")
    try:
        domain = parse_domain(name.rstrip(".")) if name.isascii() else ""
    except AddressError:
        domain = ""
    if not domain:
        raise StsError("an mx of the policy is no host name")
    return f"*.{domain}" if text.startswith("*.") else domain


def _is_record(text: str) -> bool:
    version, semicolon, _ = text.partition(";")
    return bool(semicolon) and version.rstrip(" \t") == "v=STSv1"


def _text(raw: bytes) -> str | None:
    return raw.decode("ascii") if raw.isascii() else None


def _utf8(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        raise StsError("the policy is not UTF-8") from None
