"""Who really sent a message: how it is checked, how ours is signed, and what is reported."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from postlatch.settings import types as t
from postlatch.settings.types import Table


class AuthenticationSettings(Table):
    """How mail from strangers is checked: SPF, DKIM, ARC and DMARC, on `mx` listeners."""

    check: bool = Field(
        default=True,
        examples=["true"],
        description="Check who sent it. `false` only where another server of yours stands before this one and does it: then "
        "every client is that server, and SPF would fail.",
    )
    authserv_id: t.Domain | None = Field(
        default=None,
        examples=['"mx.example.com"'],
        description="Our name in `Authentication-Results`; fields that claim it are removed. Without it, `hostname`. Several "
        "servers of one organisation share one.",
    )
    received_spf: bool = Field(default=False, examples=["true"], description="Write a `Received-SPF` field as well.")
    timeout: t.Seconds = Field(
        default=20,
        ge=1,
        le=120,
        examples=["20"],
        description="How long the checks of one message may wait for the DNS; what is not answered then is a `temperror`.",
    )


class DmarcOverride(Table):
    """An exception to what a sender's DMARC policy asks for, with somebody who vouches for it and an end. Repeat the table."""

    name: t.Name = Field(examples=['"old-crm"'], description="How the journal calls it; unique.")
    domains: tuple[t.Domain, ...] = Field(
        min_length=1, examples=['["partner.example"]'], description="Authors' domains (of From) that it covers, exact names."
    )
    networks: tuple[t.Network, ...] = Field(
        default=(), examples=['["192.0.2.0/28"]'], description="Only for clients in these networks. Empty: from anywhere."
    )
    disposition: Literal["none", "quarantine"] = Field(
        examples=['"none"'], description="What is done at most with mail that fails: `none` or `quarantine`."
    )
    owner: t.Owner = Field(examples=['"ops@example.com"'], description="Who vouches for this.")
    expires: t.Day = Field(examples=["2027-06-30"], description="The last day of it, in UTC.")
    why: t.Line = Field(min_length=1, examples=['"their CRM breaks DKIM until spring"'], description="The reason, in writing.")


class SealerSettings(Table):
    """A mailing list or forwarder whose ARC seal is believed where DMARC fails through its changes. Repeat the table."""

    domain: t.Domain = Field(examples=['"lists.example"'], description="The domain that seals (d=), the exact name.")
    owner: t.Owner = Field(examples=['"ops@example.com"'], description="Who vouches for this.")
    expires: t.Day = Field(examples=["2027-06-30"], description="The last day of it, in UTC.")


class DmarcSettings(Table):
    """What is done when mail fails the DMARC policy of its author's domain."""

    enforce: bool = Field(
        default=True,
        examples=["true"],
        description="Do what the author's domain asks for: reject with 550, or quarantine. `false`: only note the result.",
    )
    quarantine: t.Deliver | None = Field(
        default=None,
        examples=['"maildir:data/quarantine"'],
        description="Where mail goes that a policy asks to quarantine, instead of its domain's `deliver`. Without it, it is "
        "delivered as usual. It carries `X-Postlatch-Quarantine: dmarc` either way.",
    )
    overrides: tuple[DmarcOverride, ...] = Field(default=(), description="Exceptions.")
    sealers: tuple[SealerSettings, ...] = Field(default=(), description="Trusted ARC sealers.")


class DkimSettings(Table):
    """Signatures of mail from our domains. Keys are made with `postlatch dkim keygen`."""

    sign: bool = Field(default=True, examples=["true"], description="Sign what leaves, for domains that have an active key.")
    algorithms: tuple[Literal["ed25519", "rsa"], ...] = Field(
        default=("ed25519", "rsa"),
        min_length=1,
        examples=['["ed25519", "rsa"]'],
        description="The keys that a domain gets, and so the signatures of each message.",
    )
    valid: t.Duration = Field(
        default=t.as_toml("10 days"),
        examples=['"10 days"'],
        description="How long a signature holds (x=), from the message's acceptance on: longer than `outbound.max_age`.",
    )
    rotate: t.Duration | None = Field(
        default=None,
        examples=['"180 days"'],
        description="Make a new key when the active one is this old, and say so: it is used once it is seen in the DNS on all "
        "authoritative servers. Without it, keys are rotated by `postlatch dkim rotate` alone.",
    )
    replays: t.Rate | None = Field(
        default=None,
        examples=['"500/hour"'],
        description="How many recipients one and the same signature of others may reach on `mx`; what is beyond is deferred. "
        "Without it nothing is deferred, and an alert tells of more than 200 in an hour.",
    )


class ReportSettings(Table):
    """Reports: those that others send about our domains, and those that we send about theirs."""

    dmarc: t.Mailbox | None = Field(
        default=None,
        examples=['"dmarc-reports@example.com"'],
        description="The address in our DMARC records (`rua`), one of our own domains: mail to it is read as reports.",
    )
    tls: t.Mailbox | None = Field(
        default=None,
        examples=['"tls-reports@example.com"'],
        description="The address in our TLS-RPT records, one of our own domains: mail to it is read as reports.",
    )
    send: bool = Field(
        default=False,
        examples=["true"],
        description="Send DMARC aggregate reports and TLS reports once a day to domains that ask for them. "
        "Failure reports about single messages are never sent.",
    )
    organization: t.Line = Field(
        default="", examples=['"Example GmbH"'], description="Who we are, in the reports. Without it, `hostname`."
    )
    contact: t.Mailbox | None = Field(
        default=None, examples=['"postmaster@example.com"'], description="Whom to ask about our reports."
    )
    keep: t.Duration = Field(
        default=t.as_toml("400 days"), examples=['"400 days"'], description="How long received reports are kept."
    )


def unique_overrides(settings: DmarcSettings) -> DmarcSettings:
    """As it is; ValueError if two overrides share a name."""
    names = [override.name for override in settings.overrides]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two overrides are called {min(twice)}: names are unique")
    return settings


Dmarc = Annotated[DmarcSettings, AfterValidator(unique_overrides)]
