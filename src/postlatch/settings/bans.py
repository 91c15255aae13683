"""Who is banned by itself, for how long, and who never."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from postlatch.settings.types import Duration, Limits, Network, Seconds, Table, Whole, as_toml


class BanSettings(Table):
    """Those who try to break in: `docs/break-ins.md`. Who is banned cannot connect; `postlatch firewall` drops its packets."""

    automatic: bool = Field(
        default=True,
        examples=["true"],
        description="Ban who guesses. `false`: only bans by command hold; all is still counted.",
    )
    never: tuple[Network, ...] = Field(
        default=(),
        examples=['["203.0.113.4/32"]'],
        description="Addresses of administrators and monitors that no ban may hit, not even one by command. This machine, "
        "`listeners.proxies` and addresses from which somebody logged in lately never are.",
    )
    failures: Limits = Field(
        default=("10/minute", "50/day"),
        examples=['["10/minute", "50/day"]'],
        description="Different wrong passwords of one client (an IPv4 address or an IPv6 /64), then it is banned; three times "
        "as many from its /24 or /48. The same wrong password for the same account counts once.",
    )
    accounts: Limits = Field(
        default=("10/hour",),
        examples=['["10/hour"]'],
        description="Different accounts at which one client fails, then it is banned; three times as many for its /24 or /48.",
    )
    probes: Limits = Field(
        default=("35/day",),
        examples=['["35/day"]'],
        description="Refused recipients of one client (not ours, or unknown), less those accepted, then it is banned.",
    )
    spray: Whole = Field(
        default=10,
        ge=3,
        le=10_000,
        examples=["10"],
        description="Accounts at which the same wrong password is tried within a day, then all who tried it are banned.",
    )
    first: Duration = Field(
        default=as_toml("30 minutes"),
        examples=['"30 minutes"'],
        description="The first ban of a network; each further one is twice as long, up to `longest`.",
    )
    longest: Duration = Field(default=as_toml("7 days"), examples=['"7 days"'], description="The longest ban by itself.")
    decay: Duration = Field(
        default=as_toml("7 days"),
        examples=['"7 days"'],
        description="Time without a ban after which one of the earlier bans counts no more.",
    )
    known: Duration = Field(
        default=as_toml("30 days"),
        examples=['"30 days"'],
        description="How long after a login its address is known: never banned, and the failures of others elsewhere do not "
        "slow that account down there. A new password or a suspension ends it.",
    )
    patience: Whole = Field(
        default=5,
        ge=1,
        le=60,
        examples=["5"],
        description="Wrong passwords for an account in an hour, from addresses where it is not known, after which each further "
        "failure is answered twice as late as the one before, from `session.auth_failure_delay` on.",
    )
    slowest: Seconds = Field(
        default=30, ge=0, le=120, examples=["30"], description="The latest that a failed login is answered."
    )
    waiting: Whole = Field(
        default=1000,
        ge=10,
        le=100_000,
        examples=["1000"],
        description="Failed logins whose answers wait at once; beyond, the session is closed with 421 instead.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first > self.longest:
            raise ValueError("first must not be longer than longest: bans grow from the one to the other")
        return self
