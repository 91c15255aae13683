"""Logins and send-as entries: one canonical form, so that what is stored, typed and compared can never differ in spelling."""

from __future__ import annotations

import re
from collections.abc import Iterable

from postlatch.accounts.problem import AccountError
from postlatch.accounts.saslprep import PrepError, saslprep
from postlatch.model.address import Address, AddressError, parse_address, parse_domain

NULL_SENDER = "<>"

_NAME = re.compile(r"[a-z0-9._-]{1,64}", re.ASCII)


def parse_login(text: str) -> str:
    """The canonical login: an address in lower case with an A-label domain, or a name of ``a-z 0-9 . _ -``.

    Raises AccountError, saying what would be right.
    """
    if "@" in text:
        return _address_login(text)
    name = text.lower() if text.isascii() else ""
    if not _NAME.fullmatch(name):
        raise AccountError("a login is an address, or a name of 1 to 64 letters, digits, dots, underscores and hyphens")
    return name


def _address_login(text: str) -> str:
    """Parsed as it was written, so that no look-alike of a dot or an @ becomes one, and then in the spelling of SASLprep."""
    _mailbox(text, "the login")
    try:
        key = _mailbox(saslprep(text, stored=True), "the login").key
        settled = saslprep(key, stored=True) == key
    except PrepError as error:
        raise AccountError(f"the login {error}") from None
    if not settled:
        raise AccountError("the login has no stable spelling in lower case")
    return key


def login_key(text: str) -> str:
    """What a client calls itself, as it is looked up. What can be no login comes back as it is, and finds nobody."""
    try:
        return parse_login(saslprep(text, stored=False))
    except (AccountError, PrepError):
        return text


def parse_send_as(entry: str) -> str:
    """The canonical form of ``user@domain``, ``@domain`` or ``<>``; AccountError, saying what is wrong."""
    if entry == NULL_SENDER:
        return entry
    if not entry.startswith("@"):
        return _mailbox(entry, f"send-as {entry!r}").key
    try:
        return f"@{parse_domain(entry[1:])}"
    except AddressError as error:
        raise AccountError(f"send-as {entry!r}: {error}") from None


def parse_sending(login: str, entries: Iterable[str]) -> frozenset[str]:
    """The canonical send-as entries of a (canonical) login, without the login itself, which an address may always send as.

    AccountError if one is wrong, or if there is none and the login is no address: such an account could send nothing.
    """
    sending = frozenset(parse_send_as(entry) for entry in entries) - {login}
    if not sending and "@" not in login:
        raise AccountError(f"{login} is a name, not an address: say what it may send as (ADDRESS or @DOMAIN)")
    return sending


def _mailbox(text: str, what: str) -> Address:
    try:
        address = parse_address(text, smtputf8=True)
    except AddressError as error:
        raise AccountError(f"{what}: {error}") from None
    if address.text.startswith('"'):
        raise AccountError(f"{what}: write the address without quotation marks")
    if address.is_literal:
        raise AccountError(f"{what}: an address literal belongs to nobody")
    try:
        address.key.encode()
    except UnicodeEncodeError:
        raise AccountError(f"{what}: this is not valid text") from None
    return address
