"""How strangers are judged before anybody knows them: lists in the DNS, their names, greylisting. On `mx` only."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from postlatch.settings import types as t
from postlatch.settings.kinds import Kind
from postlatch.settings.types import Table, Whole
from postlatch.settings.values import IPNetwork

_LOOPBACK: Final = IPv4Network("127.0.0.0/8")
_MOST_LISTS: Final = 20


def _code(network: IPNetwork) -> IPv4Network:
    if not isinstance(network, IPv4Network) or not network.subnet_of(_LOOPBACK):
        raise ValueError(f'{network} is no answer of a list: they are in 127.0.0.0/8, like "127.0.0.2" or "127.0.0.4/30"')
    return network


Code = Annotated[t.Network, AfterValidator(_code), Kind("an address or a network in 127.0.0.0/8", "answers in 127.0.0.0/8")]


class ListSettings(Table):
    """A list of addresses or domains in the DNS (RFC 5782). Repeat the table for every list."""

    zone: t.Domain = Field(examples=['"dnsbl.example"'], description="The list's name, below which entries are asked for.")
    weight: Whole = Field(
        ge=-100,
        le=100,
        examples=["6"],
        description="What a listing adds to the score. Below 0 it is an allow-list; who is in one is not greylisted.",
    )
    kind: Literal["ip", "domain"] = Field(
        default="ip",
        examples=['"domain"'],
        description="`ip`: asked for the client's address. `domain`: asked for the name in EHLO and the domain of `MAIL FROM`.",
    )
    codes: tuple[Code, ...] = Field(
        default=(),
        examples=['["127.0.0.2", "127.0.0.4/30"]'],
        description="Only these answers are a listing. Empty: each in `127.0.0.0/8` but those by which lists refuse to answer.",
    )


class ReputationSettings(Table):
    """What is known of a stranger's address and names makes a score, which can only refuse, delay or mark, never permit."""

    check: bool = Field(
        default=False, examples=["true"], description="Find out the score of strangers. Needs `authentication.check`."
    )
    refuse: Whole | None = Field(
        default=10,
        ge=1,
        le=10_000,
        examples=["10"],
        description="From this score on, recipients are refused with 550; `postmaster` never.",
    )
    greylist: Whole | None = Field(
        default=None,
        ge=-10_000,
        le=10_000,
        examples=["4"],
        description="With `greylisting.enabled`: only strangers with this score or more are greylisted. Without it, all.",
    )
    mark: Whole = Field(
        default=3,
        ge=-10_000,
        le=10_000,
        examples=["3"],
        description="From this score on, a message carries the field `X-Postlatch-Score`. Such a field of the sender's is "
        "removed always.",
    )
    lists: tuple[ListSettings, ...] = Field(default=(), max_length=_MOST_LISTS, description="The lists to ask, 20 at most.")
    exempt: tuple[t.Network, ...] = Field(
        default=(), examples=['["192.0.2.0/28"]'], description="Clients that are not judged: partners, a backup MX."
    )
    timeout: t.Seconds = Field(
        default=5,
        ge=1,
        le=60,
        examples=["5"],
        description="How long RCPT may wait for the DNS; what is not answered then weighs nothing.",
    )
    no_ptr: Whole = Field(default=2, ge=0, le=100, examples=["2"], description="The address has no name (PTR).")
    ptr_mismatch: Whole = Field(
        default=3, ge=0, le=100, examples=["3"], description="None of its names leads back to the address."
    )
    ptr_dynamic: Whole = Field(
        default=2, ge=0, le=100, examples=["2"], description="Its names look like those of a range of dial-in addresses."
    )
    helo_bare: Whole = Field(default=2, ge=0, le=100, examples=["2"], description="EHLO is a bare word without a dot.")
    helo_literal: Whole = Field(
        default=3, ge=0, le=100, examples=["3"], description="EHLO is an address that is not the client's, or without brackets."
    )
    helo_own: Whole = Field(
        default=4, ge=0, le=100, examples=["4"], description="EHLO is a name or an address of this server, or a domain of ours."
    )
    helo_unknown: Whole = Field(
        default=2, ge=0, le=100, examples=["2"], description="The name in EHLO does not exist, or has no address."
    )


class GreylistSettings(Table):
    """Greylisting: who was never seen before is asked to come back, which a mail server does and most spam programs do not."""

    enabled: bool = Field(default=False, examples=["true"], description="Greylist strangers on `mx` listeners.")
    delay: t.Duration = Field(
        default=t.as_toml("5 minutes"), examples=['"5 minutes"'], description="How long a first attempt is deferred."
    )
    window: t.Duration = Field(
        default=t.as_toml("2 days"), examples=['"2 days"'], description="How long after it the second one counts."
    )
    keep: t.Duration = Field(
        default=t.as_toml("35 days"),
        examples=['"35 days"'],
        description="How long who came back is remembered, from the last message on.",
    )
    allow_after: Whole = Field(
        default=5,
        ge=1,
        le=1000,
        examples=["5"],
        description="After so many successes, at most one counted an hour, all mail of a network (or of a domain for which SPF "
        "passes) is let through without delay for `keep`.",
    )
    exempt: tuple[t.Network, ...] = Field(
        default=(), examples=['["192.0.2.0/28"]'], description="Networks that are never greylisted."
    )
    exempt_domains: tuple[t.Domain, ...] = Field(
        default=(),
        examples=['["partner.example"]'],
        description="Domains of `MAIL FROM`, exact names, that are never greylisted where SPF passes.",
    )
    most: Whole = Field(
        default=50_000,
        ge=100,
        le=10_000_000,
        examples=["50000"],
        description="Entries that are remembered at most; beyond, the oldest that wait are forgotten.",
    )
