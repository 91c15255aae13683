"""Command lines to values. Strict: what RFC 5321 does not allow is refused, so that no two servers read a line differently.

The only leniences are letter case, trailing white space (RFC 5321 section 4.1.1) and one space behind ``FROM:`` or ``TO:``.
Every function raises CommandError with the reply to give. No reply holds anything that the client sent.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final

from postlatch.model.address import POSTMASTER, Address, AddressError, parse_address
from postlatch.model.envelope import REQUIRED, RecipientParams, SenderParams
from postlatch.model.reply import Reply
from postlatch.smtp import replies, xtext

MAX_ENVID: Final = 100  # characters, RFC 3461 section 4.4
MAX_ORCPT: Final = 500  # characters, RFC 3461 section 4.2

# The closing bracket is found by reading quoted strings, not by looking for ">": <"a>b"@example.com> is one mailbox.
# All repetitions are possessive, so a hostile line costs one pass.
_PATH: Final = re.compile(r' ?<((?:[^"<>]++|"(?:[^"\\]++|\\.)*+")*+)>(?: (.*))?')
_PARAMETER: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*+)(?:=([^=\x00-\x20\x7f-\x9f]++))?")
_BARE: Final = re.compile(r"[A-Za-z0-9._+-]{1,64}")
_HELLO: Final = re.compile(r"[!-~]{1,255}")
_BDAT: Final = re.compile(r"([0-9]{1,20})(?: +(LAST))?", re.IGNORECASE | re.ASCII)
_AUTH: Final = re.compile(r"([A-Za-z0-9_-]{1,20})(?: +([!-~]+))?")
_ADDRESS_TYPE: Final = re.compile(r"[A-Za-z0-9-]+")
_PRINTABLE: Final = re.compile(r"[ -~]*")
_UNITEXT: Final = re.compile(r"[!-*,-<>-~\xa0-\U0010ffff]+")  # RFC 6533 section 3, utf-8-addr-unitext; controls never

_SENDER_KEYWORDS: Final = frozenset({"SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"})
_SENDER_KEYWORDS_TLS: Final = _SENDER_KEYWORDS | {"REQUIRETLS"}  # RFC 8689 section 2: only where it was advertised
_RECIPIENT_KEYWORDS: Final = frozenset({"NOTIFY", "ORCPT"})
_NO_SENDER_PARAMS: Final = SenderParams()
_NO_RECIPIENT_PARAMS: Final = RecipientParams()

Given = Mapping[str, str]  # keyword to value, "" if there was none


class CommandError(Exception):
    """A command that is refused with ``reply``."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


def decode_line(line: bytes) -> str:
    """The line as text; NUL, bare CR and invalid UTF-8 are refused."""
    if b"\0" in line or b"\r" in line:
        raise CommandError(replies.CONTROL_BYTE)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandError(replies.NOT_UTF8) from None


def parse_hello(argument: str) -> str:
    """The name in EHLO or HELO: printable ASCII without spaces. Its truth is a matter of policy, not of syntax."""
    if not _HELLO.fullmatch(argument):
        raise CommandError(replies.BAD_HELO)
    return argument


def parse_mail(argument: str, *, esmtp: bool, origin: str = "", tls: bool = False) -> tuple[Address | None, SenderParams]:
    """``FROM:<path> parameters``; None is the null reverse-path."""
    known = _SENDER_KEYWORDS_TLS if tls else _SENDER_KEYWORDS
    path, given = _path(argument, "FROM:", replies.BAD_MAIL, known, esmtp=esmtp)
    params = _sender_params(given) if given else _NO_SENDER_PARAMS
    if not path:
        return None, params
    return _address(_completed(path, origin), replies.BAD_SENDER, smtputf8=params.smtputf8), params


def parse_rcpt(
    argument: str, *, esmtp: bool, smtputf8: bool = False, bare_postmaster: bool = False, origin: str = ""
) -> tuple[Address, RecipientParams]:
    """``TO:<path> parameters``; ``bare_postmaster`` permits ``<postmaster>`` (RFC 5321 section 4.5.1).

    ``origin`` completes a plain local part without a domain.
    """
    path, given = _path(argument, "TO:", replies.BAD_RCPT, _RECIPIENT_KEYWORDS, esmtp=esmtp)
    params = _recipient_params(given, smtputf8=smtputf8) if given else _NO_RECIPIENT_PARAMS
    if bare_postmaster and path.lower() == "postmaster":
        return POSTMASTER, params
    return _address(_completed(path, origin), replies.BAD_RECIPIENT, smtputf8=smtputf8), params


def parse_bdat(argument: str) -> tuple[int, bool]:
    """The octet count, and whether this is the last chunk."""
    match = _BDAT.fullmatch(argument)
    if match is None:
        raise CommandError(replies.BAD_BDAT)
    return int(match[1]), match[2] is not None


def parse_auth(argument: str) -> tuple[str, bytes | None]:
    """The mechanism in upper case, and the initial response if there is one (``=`` is an empty one, RFC 4954 section 4)."""
    match = _AUTH.fullmatch(argument)
    if match is None:
        raise CommandError(replies.BAD_AUTH)
    mechanism, initial = match.groups()
    if initial is None:
        return mechanism.upper(), None
    return mechanism.upper(), b"" if initial == "=" else _base64(initial)


def parse_auth_response(line: bytes) -> bytes:
    """The client's answer to a challenge; ``*`` cancels the exchange (RFC 4954 section 4)."""
    if line == b"*":
        raise CommandError(replies.AUTH_CANCELLED)
    return _base64(line)


def _base64(text: str | bytes) -> bytes:
    """Strict base64 of RFC 4648 section 4."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise CommandError(replies.BAD_BASE64) from None


def _path(argument: str, keyword: str, syntax: Reply, known: frozenset[str], *, esmtp: bool) -> tuple[str, Given]:
    """What is between the brackets, and the parameters behind them."""
    match = _PATH.fullmatch(argument, len(keyword))
    if match is None or argument[: len(keyword)].upper() != keyword:
        raise CommandError(syntax)
    path, parameters = match.groups()
    if not parameters:
        return path, {}
    if not esmtp:
        raise CommandError(replies.NO_PARAMETERS)
    return path, _parameters(parameters, known)


def _parameters(text: str, known: frozenset[str]) -> Given:
    given: dict[str, str] = {}
    for item in text.split(" "):
        match = _PARAMETER.fullmatch(item)
        if match is None:
            raise CommandError(replies.BAD_PARAMETER)
        keyword = match[1].upper()
        if keyword not in known:
            raise CommandError(replies.UNKNOWN_PARAMETER)
        if keyword in given or not (item.isascii() or keyword == "ORCPT"):
            raise CommandError(replies.BAD_PARAMETER)
        given[keyword] = match[2] or ""
    return given


def _completed(path: str, origin: str) -> str:
    return f"{path}@{origin}" if origin and _BARE.fullmatch(path) else path


def _address(path: str, bad: Reply, *, smtputf8: bool) -> Address:
    try:
        return parse_address(path, smtputf8=smtputf8)
    except AddressError as error:
        raise CommandError(replies.NEEDS_SMTPUTF8 if error.non_ascii else bad) from None


def _sender_params(given: Given) -> SenderParams:
    if given.get("SMTPUTF8") or given.get("REQUIRETLS"):
        raise CommandError(replies.BAD_PARAMETER)  # they take no value, RFC 6531 section 3.4 and RFC 8689 section 2
    if "AUTH" in given:
        _xtext(given["AUTH"])  # RFC 4954 section 5: read, and never believed
    return SenderParams(
        size=_size(given),
        body=_choice(given, "BODY", ("7BIT", "8BITMIME")) or "7BIT",
        smtputf8="SMTPUTF8" in given,
        ret=_choice(given, "RET", ("FULL", "HDRS")),
        envid=_envid(given),
        require_tls=REQUIRED if "REQUIRETLS" in given else "",
    )


def _recipient_params(given: Given, *, smtputf8: bool) -> RecipientParams:
    return RecipientParams(notify=_notify(given), orcpt=_orcpt(given, smtputf8=smtputf8))


def _size(given: Given) -> int:
    """Octets; 0 if not given. RFC 1870 section 3."""
    value = given.get("SIZE", "0")
    if not (value.isascii() and value.isdigit() and len(value) <= 20):
        raise CommandError(replies.BAD_PARAMETER)
    return int(value)


def _choice(given: Given, keyword: str, choices: tuple[str, ...]) -> str:
    """One of ``choices``, or empty if not given."""
    if keyword not in given:
        return ""
    value = given[keyword].upper()
    if value not in choices:
        raise CommandError(replies.BAD_PARAMETER)
    return value


def _xtext(value: str) -> str:
    """The decoded text: not empty, printable ASCII (a control smuggled in as ``+0A`` would reach a DSN)."""
    try:
        text = xtext.decode(value)
    except ValueError:
        raise CommandError(replies.BAD_PARAMETER) from None
    if not text or not _PRINTABLE.fullmatch(text):
        raise CommandError(replies.BAD_PARAMETER)
    return text


def _envid(given: Given) -> str:
    if "ENVID" not in given:
        return ""
    value = given["ENVID"]
    if len(value) > MAX_ENVID:
        raise CommandError(replies.BAD_PARAMETER)
    _xtext(value)
    return value


def _notify(given: Given) -> frozenset[str]:
    """NEVER alone, or a list of the other three without repetition. RFC 3461 section 4.1."""
    if "NOTIFY" not in given:
        return frozenset()
    items = given["NOTIFY"].upper().split(",")
    notify = frozenset(items)
    if len(notify) != len(items) or not (notify == {"NEVER"} or notify <= {"SUCCESS", "FAILURE", "DELAY"}):
        raise CommandError(replies.BAD_PARAMETER)
    return notify


def _orcpt(given: Given, *, smtputf8: bool) -> str:
    """``type;address``. In an SMTPUTF8 transaction the type ``utf-8`` may hold plain UTF-8 (RFC 6533 section 3)."""
    if "ORCPT" not in given:
        return ""
    value = given["ORCPT"]
    kind, _, address = value.partition(";")
    if len(value) > MAX_ORCPT or not _ADDRESS_TYPE.fullmatch(kind):
        raise CommandError(replies.BAD_PARAMETER)
    if not (smtputf8 and kind.lower() == "utf-8" and _UNITEXT.fullmatch(address)):
        _xtext(address)
    return value
