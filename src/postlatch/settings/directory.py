"""Directories: others who know the passwords of some domains' accounts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from postlatch.settings import types as t
from postlatch.settings.kinds import Kind, quote
from postlatch.settings.oauth import parse_issuer_url
from postlatch.settings.origin import Origin
from postlatch.settings.problem import Problem
from postlatch.settings.raw import sub_table, texts
from postlatch.settings.types import Table
from postlatch.settings.values import parse_domain_name

_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_PLACES = ("{login}", "{local}", "{domain}")
# What each kind needs, and what it may have beside ``domains``, ``kind``, ``timeout`` and ``cache_seconds``.
_NEEDS = {"ldap": ("url",), "dovecot": ("socket",), "http": ("url",)}
_MAY = {
    "ldap": ("url", "starttls", "authorities", "name", "base", "filter", "bind_name", "password_file", "send_as"),
    "dovecot": ("socket",),
    "http": ("url", "token_file"),
}
_KEYS = (
    "url",
    "starttls",
    "authorities",
    "name",
    "base",
    "filter",
    "bind_name",
    "password_file",
    "send_as",
    "socket",
    "token_file",
)


def _attribute(text: str) -> str:
    if not _ATTRIBUTE.fullmatch(text):
        raise ValueError(f'{quote(text)} is no attribute: write its name, like "mailAlias"')
    return text


def _template(text: str) -> str:
    if not any(place in text for place in _PLACES):
        raise ValueError("names nobody: it needs {login}, {local} or {domain}")
    rest = text
    for place in _PLACES:
        rest = rest.replace(place, "")
    if "{" in rest or "}" in rest:
        raise ValueError("only {login}, {local} and {domain} may stand in braces")
    return text


def _filter(text: str) -> str:
    if not (text.startswith("(") and text.endswith(")") and text.count("(") == text.count(")")):
        raise ValueError('is no search filter: write it in parentheses, like "(mail={login})"')
    return _template(text)


Attribute = Annotated[str, AfterValidator(_attribute), Kind("the name of an attribute")]
Template = Annotated[str, AfterValidator(_template), Kind("a template")]
Filter = Annotated[str, AfterValidator(_filter), Kind("a search filter")]


class DirectorySettings(Table):
    """A directory that knows the passwords of all accounts of its domains. Everybody else's are kept by this relay."""

    domains: tuple[t.Domain, ...] = Field(
        min_length=1,
        examples=['["example.com"]'],
        description="Logins of these domains are its, exact names, and nobody else's.",
    )
    kind: Literal["ldap", "dovecot", "http"] = Field(
        examples=['"ldap"'],
        description="`ldap`: an LDAP server, by binding as the user (needs the extra `ldap`). `dovecot`: Dovecot's "
        "authentication socket. `http`: a hook of your own.",
    )
    url: t.Line = Field(
        default="",
        examples=['"ldaps://ldap.example.com"'],
        description="`ldap`: `ldaps://HOST`, `ldap://HOST` (with StartTLS) or `ldapi://%2Fpath%2Fof%2Fsocket`. `http`: "
        "`https://…`; `http://` only to this machine.",
    )
    starttls: bool = Field(
        default=True,
        examples=["false"],
        description="Demand TLS on `ldap://`. `false` only where the address is this machine's (127.0.0.1, ::1).",
    )
    authorities: t.FilePath | None = Field(
        default=None,
        examples=['"ldap-ca.pem"'],
        description="PEM file: the authorities that vouch for the LDAP server. Without it, the system's.",
    )
    name: Template | None = Field(
        default=None,
        examples=['"uid={local},ou=people,dc=example,dc=com"'],
        description="`ldap`: the entry's name, to bind as it without a search. `{login}`, `{local}` and `{domain}` are put in "
        "escaped (RFC 4514).",
    )
    base: t.Line = Field(
        default="", examples=['"ou=people,dc=example,dc=com"'], description="`ldap`, instead of `name`: where to search."
    )
    filter: Filter | None = Field(
        default=None,
        examples=['"(&(objectClass=inetOrgPerson)(mail={login}))"'],
        description="`ldap`: what finds the entry; put in escaped (RFC 4515). Exactly one must be found.",
    )
    bind_name: t.Line = Field(
        default="", examples=['"cn=postlatch,dc=example,dc=com"'], description="`ldap`: as whom to search. Empty: as nobody."
    )
    password_file: t.FilePath | None = Field(
        default=None, examples=['"ldap.secret"'], description="A file whose first line is the password of `bind_name`."
    )
    send_as: Attribute | None = Field(
        default=None,
        examples=['"mail"'],
        description="`ldap`: the attribute with addresses that the account may send as, beside itself. Others than of "
        "`domains` are left out.",
    )
    socket: t.FilePath | None = Field(
        default=None, examples=['"/run/dovecot/auth-client"'], description="`dovecot`: its socket of type `auth-client`."
    )
    token_file: t.FilePath | None = Field(
        default=None, examples=['"hook.secret"'], description="`http`: a file whose first line is sent as a bearer token."
    )
    timeout: t.Seconds = Field(
        default=5, ge=1, le=30, examples=["5"], description="How long an answer may take; then the client must come back."
    )
    cache_seconds: t.Seconds = Field(
        default=60,
        ge=0,
        le=300,
        examples=["60"],
        description="How long a right password needs no second question, even while the directory is down. A change there may "
        "take as long to be heard of; a suspension here holds at once.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = [key for key in _KEYS if key in self.model_fields_set]
        for key in _NEEDS[self.kind]:
            if key not in given:
                raise ValueError(f'kind = "{self.kind}" needs {key}')
        for key in given:
            if key not in _MAY[self.kind]:
                raise ValueError(f'{key} is not for kind = "{self.kind}"')
        if self.kind == "ldap":
            self._fits_ldap()
        elif self.kind == "http":
            parse_issuer_url(self.url)
        return self

    def _fits_ldap(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"ldap", "ldaps", "ldapi"} or parts.username is not None or parts.path.strip("/") or parts.query:
            raise ValueError(f'url: {quote(self.url)} is not usable: write "ldaps://HOST", "ldap://HOST" or "ldapi://%2Fpath"')
        if bool(self.name) == bool(self.base and self.filter) or (self.name and (self.base or self.filter)):
            raise ValueError("say how the entry is found: by name, or by base and filter")
        if self.name and self.send_as:
            raise ValueError("send_as is read by the search: it needs base and filter instead of name")
        if bool(self.bind_name) != (self.password_file is not None):
            raise ValueError("bind_name and password_file belong together: a login without a password is nobody's")
        if parts.scheme == "ldap" and not self.starttls and not _is_loopback(parts.hostname or ""):
            raise t.danger('passwords would travel in the clear: write "ldaps://…", or leave starttls on')


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_directories(origin: Origin) -> Iterator[Problem]:
    """Each domain has one directory; and where only application passwords may send, no account of a directory could."""
    owners: dict[str, str] = {}
    found = sub_table(origin.data, "directories")
    for name in found:
        for place, text in texts(sub_table(found, name).get("domains")):
            try:
                domain = parse_domain_name(text)
            except ValueError:
                continue
            if domain in owners:
                message = f"{quote(text)} is the directory {quote(owners[domain])}'s already: a domain has one directory"
                yield origin.problem(("directories", name, "domains", place), message)
            owners.setdefault(domain, name)
    if found and sub_table(origin.data, "accounts").get("main_password") == "none":
        message = '"none" would let no account of a directory send: they have no application passwords'
        yield origin.problem(("accounts", "main_password"), message)
