"""Who may relay without login, and to where: network rights and relay domains. Each has an owner and an end."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from postlatch.settings import types as t
from postlatch.settings.limits import RightLimits
from postlatch.settings.types import Table


class RelayDomainSettings(Table):
    """A domain that is not ours: we take its mail from anybody and pass it on by one route only (a backup MX, a branch)."""

    route: t.NetworkRoute = Field(
        examples=['"smtp://10.1.0.5:25"'], description="The only next hop, `smtp://HOST:PORT` or `lmtp://HOST:PORT`."
    )
    recipients: t.Recipients = Field(
        examples=['"callout"'], description='The local parts that receive mail, or `"callout"`: ask the next hop.'
    )
    owner: t.Owner = Field(examples=['"ops@example.com"'], description="Who vouches for this.")
    expires: t.Day = Field(examples=["2027-06-30"], description="The last day of it, in UTC.")


class RightSettings(Table):
    """A network right: machines that may relay by their address, without login. Repeat the table for every right."""

    name: t.Name = Field(examples=['"printers"'], description="How logs, limits and commands call it; unique.")
    networks: tuple[t.Network, ...] = Field(
        min_length=1,
        examples=['["10.0.3.0/28"]'],
        description="Where the machines are. All rights without `wide` on one listener may cover 256 IPv4 addresses or one "
        "IPv6 /64.",
    )
    listeners: tuple[t.Name, ...] = Field(
        min_length=1, examples=['["relay"]'], description="The listeners of role `relay` on which the right holds."
    )
    owner: t.Owner = Field(examples=['"ops@example.com"'], description="Who vouches for it; required, like its end.")
    expires: t.Day = Field(examples=["2027-06-30"], description="The last day of it, in UTC.")
    senders: tuple[t.SenderPattern, ...] = Field(
        default=(),
        examples=['["@example.com"]'],
        description="Envelope senders that it covers: addresses, `@domain`, or `<>` for bounces. Empty: any.",
    )
    recipients: tuple[t.Pattern, ...] = Field(
        default=(),
        examples=['["@partner.example"]'],
        description="Recipients that it covers: addresses or `@domain`. Empty: any.",
    )
    limits: RightLimits | None = Field(
        default=None,
        examples=['{ messages = ["200/day"] }'],
        description="Limits of its own, in the place of `[limits.right]`.",
    )
    wide: t.Line = Field(
        default="",
        examples=['"why"'],
        description="The reason for which more addresses than the proof allows are accepted, in writing.",
    )
    masked: t.Line = Field(
        default="",
        examples=['"why"'],
        description="The reason for which a network is accepted behind which every client looks the same (a gateway, a "
        "container bridge).",
    )
    fix: tuple[Literal["date", "message-id", "from"], ...] = Field(
        default=(),
        examples=['["date", "message-id", "from"]'],
        description="What is mended in the header of this right's mail, for devices that cannot do better: `date` and "
        "`message-id` are added where they are missing; with `from`, `rewrite_from` replaces a `From` that is missing, cannot "
        "be read or is outside of `senders` (without `senders`: every other `From`).",
    )
    rewrite_from: t.Mailbox | None = Field(
        default=None,
        examples=['"printer@example.com"'],
        description="The address that `fix` puts into `From`: one of our domains, and within `senders`. What was there is kept "
        "as `X-Original-From`; a `Sender` outside of the right becomes `X-Original-Sender`.",
    )

    @model_validator(mode="after")
    def _rewriting(self) -> Self:
        if ("from" in self.fix) != (self.rewrite_from is not None):
            raise ValueError('fix = ["from"] and rewrite_from belong together: give both, or neither')
        return self
