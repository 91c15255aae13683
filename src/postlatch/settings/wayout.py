"""Ways out of their own, for some accounts and senders: from which addresses of ours, and to whom instead of the MX."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator, Field

from postlatch.settings import types as t
from postlatch.settings import values
from postlatch.settings.kinds import Kind, quote
from postlatch.settings.types import Table


def _address(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        raise ValueError(f"{quote(text)} is no IP address: write one that this machine has") from None
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"{quote(text)} is no address to send from: write one that this machine has")
    return str(address)


def _sources(texts: tuple[str, ...]) -> tuple[str, ...]:
    families = [":" in text for text in texts]
    if len(set(families)) != len(families):
        raise ValueError("holds two addresses of one family: write at most one for IPv4 and one for IPv6")
    return texts


def _sender_key(text: str) -> str:
    values.parse_pattern(text)
    return text


def _account_key(text: str) -> str:
    return values.parse_line(text)


Source = Annotated[str, AfterValidator(_address), Kind("an address of this machine", "addresses of this machine")]
Sources = Annotated[tuple[Source, ...], AfterValidator(_sources)]
SenderKey = Annotated[str, AfterValidator(_sender_key), Kind("an address or @domain", "addresses or @domains")]
AccountKey = Annotated[str, AfterValidator(_account_key), Kind("an account", "accounts")]


class WaySettings(Table):
    """The way out for the mail of one account, sender or sender domain to elsewhere.

    A route of the recipient's domain (`outbound.routes`) still decides where its mail goes, and then `source` holds for it.
    """

    source: Sources = Field(
        default=(),
        examples=['["192.0.2.7", "2001:db8::7"]'],
        description="Addresses of this machine to connect from, at most one of each family. A next hop that has no address of "
        "these families is not connected to: the mail waits. Empty: as the system chooses.",
    )
    smarthost: t.SmtpRoute | None = Field(
        default=None,
        examples=['"smtp://relay.example.net:587"'],
        description="The next hop in the place of `outbound.smarthost` and of the recipients' MX hosts.",
    )
    tls: t.TlsLevel | None = Field(
        default=None, examples=['"verify"'], description="TLS towards that smarthost; without it, `outbound.tls`."
    )
    username: t.Line | None = Field(
        default=None,
        examples=['"relay@example.com"'],
        description='Login at that smarthost; needs `password_file` and `tls = "verify"`.',
    )
    password_file: t.FilePath | None = Field(
        default=None, examples=['"smarthost.secret"'], description="A file whose first line is the password there."
    )


def senders(tables: Mapping[str, WaySettings]) -> Mapping[str, WaySettings]:
    """Addresses and domains in the form in which they are compared."""
    return MappingProxyType({values.parse_pattern(name).lower(): table for name, table in tables.items()})


def logins(tables: Mapping[str, WaySettings]) -> Mapping[str, WaySettings]:
    """Account names in lower case, as they are kept."""
    return MappingProxyType({name.lower(): table for name, table in tables.items()})


BySender = Annotated[Mapping[SenderKey, WaySettings], AfterValidator(senders)]
ByAccount = Annotated[Mapping[AccountKey, WaySettings], AfterValidator(logins)]
