"""How much anybody may send. The defaults are those of DESIGN section 9 and of RELIABILITY section 3."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from postlatch.settings import values
from postlatch.settings.kinds import Kind, quote
from postlatch.settings.types import Duration, Limits, Table, Whole, as_toml

MOST_DOMAINS: Final = 10_000  # of one limit: each is kept by its name

_FORM: Final = "`N/second`, `N/minute`, `N/hour` or `N/day`; each holds at once"
_SIZED: Final = re.compile(r"(\d{1,9}) ?(KiB|MiB|GiB|TiB)/(second|minute|hour|day)", re.ASCII)
_LONG: Final = ("/hour", "/day")


def _byte_limit(text: str) -> str:
    match = _SIZED.fullmatch(text)
    if match is None:
        if not text.partition("/")[0].isdigit():
            raise ValueError(f'{quote(text)} is no limit of octets: write a size and a unit, like "500 MiB/day"')
        return values.parse_limit(text)
    if not 0 < int(match[1]) * {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}[match[2]] <= 1 << 50:
        raise ValueError(f"{quote(text)} is out of range: from 1 KiB to 1024 TiB")
    return text


def _by_hour_or_day(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if not text.endswith(_LONG):
            raise ValueError(f'{quote(text)}: here only hours and days are counted, like "100/day"')
    return texts


def _few(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if int(text.partition("/")[0]) > MOST_DOMAINS:
            raise ValueError(f"{quote(text)} is out of range: at most {MOST_DOMAINS} different domains")
    return texts


ByteLimits = Annotated[
    tuple[Annotated[str, AfterValidator(_byte_limit), Kind("a limit of octets", "limits of octets")], ...],
    AfterValidator(values.parse_limits),
    Kind("a list of limits of octets"),
]
LongLimits = Annotated[Limits, AfterValidator(_by_hour_or_day), Kind("a list of limits by hour or day")]
LongByteLimits = Annotated[ByteLimits, AfterValidator(_by_hour_or_day), Kind("a list of limits of octets by hour or day")]
DomainLimits = Annotated[LongLimits, AfterValidator(_few), Kind("a list of limits by hour or day")]
Percent = Annotated[Whole, Kind("a percentage, as a whole number")]


class LimitTexts(Table):
    """A table whose lists are limits."""

    def texts(self) -> dict[str, tuple[str, ...]]:
        """The limits by what they count, without those that are not set."""
        lists = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in lists.items() if isinstance(value, tuple)}


class WarnLimits(LimitTexts):
    """From how many on somebody is told, where that is another number than `warn_at` gives. By hour or day."""

    messages: LongLimits | None = Field(default=None, examples=['["300/day"]'], description="Messages.")
    recipients: LongLimits | None = Field(default=None, examples=['["500/day"]'], description="Recipients.")
    new_recipients: LongLimits | None = Field(default=None, examples=['["50/day"]'], description="First-time recipients.")
    bytes: LongByteLimits | None = Field(default=None, examples=['["1 GiB/day"]'], description="Octets of messages.")
    domains: DomainLimits | None = Field(default=None, examples=['["100/day"]'], description="Different recipient domains.")


class CredentialWarnLimits(WarnLimits):
    """From how many on somebody is told, where that is another number than `warn_at` gives. By hour or day."""

    messages: LongLimits | None = Field(default=("200/day",), examples=['["300/day"]'], description="Messages.")


_WARN: Final = "Where somebody is told before it comes to a refusal: the same lists, for hours and days."


class RightLimits(LimitTexts):
    """What one network right may send."""

    messages: Limits | None = Field(default=None, examples=['["200/day"]'], description=f"Messages: {_FORM}.")
    recipients: Limits | None = Field(default=None, examples=['["1000/day"]'], description="Recipients.")
    new_recipients: Limits | None = Field(
        default=None, examples=['["200/day"]'], description="Recipients to whom it never wrote before."
    )
    bytes: ByteLimits | None = Field(default=None, examples=['["500 MiB/day"]'], description="Octets of messages.")
    domains: DomainLimits | None = Field(
        default=None, examples=['["100/day"]'], description="Different recipient domains, by hour or day."
    )


class MailLimits(RightLimits):
    """What may be sent, where somebody is told, and what happens when a count is not known."""

    warn_at: Percent = Field(
        default=80,
        ge=0,
        le=100,
        examples=["80"],
        description="Tell somebody when so many percent of an hour's or a day's limit are spent; 0 is never.",
    )
    when_unknown: Literal["local", "defer"] = Field(
        default="local",
        examples=['"defer"'],
        description="When the counts were lost or cannot be written to the disk: go on by what is in memory, or let the client "
        "wait.",
    )


class PayerLimits(MailLimits):
    """Limits of somebody whose mail may be held."""

    when_reached: Literal["refuse", "hold"] = Field(
        default="refuse",
        examples=['"hold"'],
        description="When an hour's or a day's limit is spent: refuse, or accept as much again and hold it for an operator.",
    )


class AccountLimits(PayerLimits):
    """What one account may send. Seconds and minutes are smoothed, hours and days are sliding windows."""

    messages: Limits = Field(
        default=("30/minute", "500/day"), examples=['["30/minute", "500/day"]'], description=f"Messages: {_FORM}."
    )
    recipients: Limits = Field(
        default=("300/hour", "1000/day"),
        examples=['["300/hour", "1000/day"]'],
        description="Recipients, counted before aliases.",
    )
    new_recipients: Limits = Field(
        default=("200/day",),
        examples=['["200/day"]'],
        description="Recipients to whom the account never wrote before: the best single sign of a stolen password.",
    )
    warn_new_at: Percent = Field(
        default=50,
        ge=0,
        le=100,
        examples=["50"],
        description="The same as `warn_at` for `new_recipients`: earlier, since it is the better sign.",
    )
    warn: WarnLimits = Field(default=as_toml({}), description=_WARN)
    warm_up: Duration | None = Field(
        default=None,
        examples=['"7 days"'],
        description="A new account begins with `warm_up_share` of its hours' and days' limits, and has all after so long.",
    )
    warm_up_share: Percent = Field(
        default=20, ge=1, le=100, examples=["20"], description="What a new account begins with, in percent."
    )


class CredentialLimits(PayerLimits):
    """What one application password may send. The limits of its account hold as well."""

    warn: CredentialWarnLimits = Field(default=as_toml({}), description=_WARN)


class DefaultRightLimits(PayerLimits):
    """What a network right without limits of its own may send."""

    messages: Limits | None = Field(default=("200/day",), examples=['["200/day"]'], description=f"Messages: {_FORM}.")
    warn: WarnLimits = Field(default=as_toml({}), description=_WARN)


class SenderDomainLimits(MailLimits):
    """What accounts and network rights together may send from one domain."""

    warn: WarnLimits = Field(default=as_toml({}), description=_WARN)


class RelayLimits(MailLimits):
    """What all accounts and network rights together may send."""

    warn: WarnLimits = Field(default=as_toml({}), description=_WARN)


class NetworkLimits(MailLimits):
    """What an IPv4 /24 or an IPv6 /48 may send, whoever it is, on any listener."""

    warn: WarnLimits = Field(default=as_toml({}), description=_WARN)


class ClientLimits(MailLimits):
    """What one client may do, whoever it is, on any listener: an IPv4 address, or an IPv6 /64."""

    connections: Whole = Field(default=50, ge=1, le=100_000, examples=["50"], description="Connections at once.")
    network_connections: Whole | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        examples=["200"],
        description="The same for the whole IPv4 /24 or IPv6 /48 around a client. Without it: four times `connections`.",
    )
    commands: Limits = Field(default=("600/minute",), examples=['["600/minute"]'], description="SMTP commands.")
    auth_failures: Limits = Field(
        default=("10/minute", "50/day"), examples=['["10/minute", "50/day"]'], description="Failed logins."
    )
    warn: WarnLimits = Field(default=as_toml({}), description=_WARN)


class LimitSettings(Table):
    """How much anybody may send."""

    account: AccountLimits = Field(default=as_toml({}), description="For every account.")
    credential: CredentialLimits = Field(default=as_toml({}), description="For every application password.")
    right: DefaultRightLimits = Field(default=as_toml({}), description="For rights without limits of their own.")
    sender_domain: SenderDomainLimits = Field(default=as_toml({}), description="For every sender domain.")
    client: ClientLimits = Field(default=as_toml({}), description="For every client address.")
    network: NetworkLimits = Field(default=as_toml({}), description="For every network of client addresses.")
    relay: RelayLimits = Field(default=as_toml({}), description="For all accounts and network rights together.")
