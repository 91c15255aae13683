"""Which of a name's TXT records is its SPF record, and what it says (RFC 7208 sections 3, 4.5, 4.6.1, 5 and 6).

The whole record is parsed before anything of it counts: an error anywhere is an error of all (section 4.6).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from string import ascii_letters, digits
from typing import Final

from postlatch.senderauth.results import Result
from postlatch.senderauth.spf.macro import DomainSpec, check_macro_string, parse_domain_spec
from postlatch.senderauth.spf.problem import RecordError, TermError
from postlatch.senderauth.spf.record import Kind, Mechanism, Record

MAX_RECORD: Final = 8192  # octets; section 3.4 asks for records that fit in a UDP answer of 512
_CACHED: Final = 512  # records, of at most _MAX_CACHED octets: some 10 MB if all are as dense as can be
_MAX_CACHED: Final = 1024
_VERSION: Final = b"v=spf1"
_NAME: Final = ascii_letters + digits + "-_."
_QUALIFIERS: Final = {"+": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}
_KINDS: Final = {kind.name.lower(): kind for kind in Kind}


def spf_records(texts: Iterable[bytes]) -> list[bytes]:
    """Those of a name's TXT records that are SPF records (section 4.5): there should be one."""
    return [text for text in texts if text[:6].lower() == _VERSION and text[6:7] in {b"", b" "}]


def parse_record(record: bytes) -> Record:
    """What an SPF record says; RecordError if it is malformed. Short ones are remembered: most mail has few senders."""
    return _remembered(record) if len(record) <= _MAX_CACHED else _parsed(record)


def _parsed(record: bytes) -> Record:
    if len(record) > MAX_RECORD:
        raise RecordError("", f"the record is longer than {MAX_RECORD} octets (RFC 7208 section 3.4)")
    try:
        text = record.decode("ascii")
    except UnicodeDecodeError:
        raise RecordError("", "the record is not all ASCII (RFC 7208 section 3.1)") from None
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, tuple[str, DomainSpec]] = {}
    for term in text[len(_VERSION) :].split(" "):
        if not term:
            continue
        try:
            _add(term, mechanisms, modifiers)
        except TermError as error:
            raise RecordError(term, str(error)) from None
    redirect_text, redirect = modifiers.get("redirect", ("", None))
    return Record(tuple(mechanisms), redirect, redirect_text, modifiers.get("exp", ("", None))[1])


_remembered = lru_cache(_CACHED)(_parsed)


def _add(term: str, mechanisms: list[Mechanism], modifiers: dict[str, tuple[str, DomainSpec]]) -> None:
    name, equals, value = term.partition("=")
    if not equals or name[:1] not in ascii_letters or not name or name.strip(_NAME):
        mechanisms.append(_mechanism(term))
        return
    name = name.lower()
    if name not in {"redirect", "exp"}:
        check_macro_string(value)
        return
    if name in modifiers:
        raise TermError(f"{name}= may stand in a record only once (RFC 7208 section 6)")
    modifiers[name] = term, parse_domain_spec(value)


def _mechanism(term: str) -> Mechanism:
    body = term[1:] if term[0] in _QUALIFIERS else term
    result = _QUALIFIERS.get(term[0], Result.PASS)
    name = body.partition(":")[0].partition("/")[0]
    kind = _KINDS.get(name.lower())
    if kind is None:
        raise TermError("there is no such mechanism (RFC 7208 section 4.6.1)")
    rest = body[len(name) :]
    match kind:
        case Kind.ALL:
            return _all(term, result, rest)
        case Kind.IP4 | Kind.IP6:
            return _network(kind, term, result, rest)
        case Kind.A | Kind.MX:
            rest, prefix4, prefix6 = _dual_prefix(rest)
            return Mechanism(kind, result, term, _spec(kind, rest), 0, prefix4, prefix6)
    return Mechanism(kind, result, term, _spec(kind, rest))


def _all(term: str, result: Result, rest: str) -> Mechanism:
    if rest:
        raise TermError("nothing may follow all (RFC 7208 section 5.1)")
    return Mechanism(Kind.ALL, result, term)


def _spec(kind: Kind, rest: str) -> DomainSpec | None:
    """What follows the colon; only include and exists must have it."""
    if not rest and kind in {Kind.A, Kind.MX, Kind.PTR}:
        return None
    if not rest.startswith(":"):
        raise TermError(f"a colon and a name must follow here (RFC 7208 section {kind.section})")
    return parse_domain_spec(rest[1:])


def _network(kind: Kind, term: str, result: Result, rest: str) -> Mechanism:
    """An ip4 or ip6: its prefix length is its own only (section 5.6)."""
    address, slash, length = rest[1:].partition("/")
    number = _address(kind, address) if rest.startswith(":") else None
    if number is None:
        raise TermError(f"an {kind.name[:2]}v{kind.name[2]} address must follow here (RFC 7208 section 5.6)")
    if kind is Kind.IP4:
        return Mechanism(kind, result, term, None, number, prefix4=_prefix(length, 32) if slash else 32)
    return Mechanism(kind, result, term, None, number, prefix6=_prefix(length, 128) if slash else 128)


def _address(kind: Kind, text: str) -> int | None:
    try:
        if kind is Kind.IP4:
            return int(IPv4Address(text))
        return None if "%" in text else int(IPv6Address(text))  # Python would take a zone index
    except AddressValueError:
        return None


def _dual_prefix(rest: str) -> tuple[str, int, int]:
    """What comes before the prefix lengths ``/24//64``, and these. A name may hold slashes: they are read from the end."""
    prefix4, prefix6 = 32, 128
    head, slashes, length = rest.rpartition("//")
    if slashes and _is_number(length):
        rest, prefix6 = head, _prefix(length, 128)
    head, slash, length = rest.rpartition("/")
    if slash and _is_number(length):
        rest, prefix4 = head, _prefix(length, 32)
    return rest, prefix4, prefix6


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _prefix(text: str, longest: int) -> int:
    if not _is_number(text) or len(text) > 3 or int(text) > longest or (text[0] == "0" and text != "0"):
        raise TermError(f"a prefix length must be 0 to {longest}, without leading zeros (RFC 7208 section 5.6)")
    return int(text)
