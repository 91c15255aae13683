"""How much anybody may send. The defaults are those of DESIGN section 9."""

from __future__ import annotations

from pydantic import Field

from postlatch.settings.types import Limits, Table, Whole, as_toml

_FORM = "`N/second`, `N/minute`, `N/hour` or `N/day`; each holds at once"


class LimitTexts(Table):
    """A table whose lists are limits."""

    def texts(self) -> dict[str, tuple[str, ...]]:
        """The limits by what they count, without those that are not set."""
        lists = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in lists.items() if isinstance(value, tuple)}


class AccountLimits(LimitTexts):
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


class RightLimits(LimitTexts):
    """What one network right may send."""

    messages: Limits | None = Field(default=None, examples=['["200/day"]'], description=f"Messages: {_FORM}.")
    recipients: Limits | None = Field(default=None, examples=['["1000/day"]'], description="Recipients.")


class DefaultRightLimits(RightLimits):
    """What a network right without limits of its own may send."""

    messages: Limits | None = Field(default=("200/day",), examples=['["200/day"]'], description=f"Messages: {_FORM}.")


class ClientLimits(LimitTexts):
    """What one client may do: an IPv4 address, or an IPv6 /64."""

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


class LimitSettings(Table):
    """How much anybody may send."""

    account: AccountLimits = Field(default=as_toml({}), description="For every account.")
    right: DefaultRightLimits = Field(default=as_toml({}), description="For rights without limits of their own.")
    client: ClientLimits = Field(default=as_toml({}), description="For every client address.")
