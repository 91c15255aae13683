"""What the relay holds at once, and how it behaves when that is nearly used up."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from postlatch.settings.types import AutoSize, AutoWhole, Seconds, Size, Table, Whole, as_toml


class OverloadSettings(Table):
    """What the relay holds at once, and when it begins to shed: `docs/limits.md`, "Overload". `"auto"` asks the machine."""

    connections: AutoWhole = Field(
        default=as_toml("auto"),
        ge=0,
        le=1_000_000,
        examples=['"auto"', "5000"],
        description="Connections of clients at once, all listeners together. `auto`: by the file descriptors and the memory "
        "that the process may have. Never more than the descriptors allow.",
    )
    reserve: Whole = Field(
        default=20,
        ge=5,
        le=80,
        examples=["20"],
        description="Percent of connections, TLS sessions and memory that no single listener gets, nor all `mx` listeners "
        "together: strangers cannot use up what accounts and network rights need.",
    )
    tls_sessions: AutoWhole = Field(
        default=as_toml("auto"),
        ge=0,
        le=1_000_000,
        examples=['"auto"', "2000"],
        description="TLS sessions at once: 46 KB each when idle, up to 380 KB after much mail. `auto`: by memory.",
    )
    memory: AutoSize = Field(
        default=as_toml("auto"),
        ge=0,
        le=2**40,
        examples=['"auto"', '"256 MiB"'],
        description="Octets of mail that is being received or committed. `auto`: an eighth of the machine's memory.",
    )
    uncommitted: Whole = Field(
        default=2000,
        ge=10,
        le=1_000_000,
        examples=["2000"],
        description="Messages that may wait for the disk. Beyond, or when the disk is `store_lag` behind, new mail gets 451.",
    )
    store_lag: Seconds = Field(
        default=10,
        ge=1,
        le=600,
        examples=["10"],
        description="How long a commit may take before new mail gets 451 and strangers are read more slowly.",
    )
    disk_free: Size = Field(
        default=as_toml("64 MiB"),
        ge=0,
        le=2**50,
        examples=['"64 MiB"', '"2 GiB"'],
        description="Disk space kept free for the journal and for you (at most 2 % of a small disk). Below, MAIL gets 452.",
    )
    inodes_free: Whole = Field(
        default=1000,
        ge=0,
        le=10**9,
        examples=["1000"],
        description="Inodes kept free (at most 2 % of those that a small disk has). Below, MAIL gets 452.",
    )
    high: Whole = Field(
        default=80,
        ge=10,
        le=99,
        examples=["80"],
        description="Percent of any of these caps from which on the relay is under stress.",
    )
    low: Whole = Field(
        default=60, ge=5, le=98, examples=["60"], description="Percent below which all of them must stay for stress to end."
    )
    lag: Seconds = Field(
        default=0.5,
        ge=0.05,
        le=60,
        examples=["0.5"],
        description="How late the event loop may be, for three seconds running, before the relay is under stress.",
    )
    idle: Seconds = Field(
        default=15,
        ge=1,
        le=3600,
        examples=["15"],
        description="Under stress, in the place of `session.idle` for clients that neither logged in nor have a network right.",
    )
    errors: Whole = Field(
        default=2,
        ge=1,
        le=1000,
        examples=["2"],
        description="Under stress, in the place of `session.errors` for new clients on `mx`.",
    )
    handshakes: Whole = Field(
        default=32,
        ge=4,
        le=1000,
        examples=["32"],
        description="TLS handshakes at once on `mx` listeners, and as many on the others; more wait for their turn.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be less than high ({self.high}): else stress would end where it begins")
        return self
