"""The bounds of one SMTP session, and how passwords are kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from postlatch.settings.types import Seconds, Size, Table, Whole, as_toml


class SessionSettings(Table):
    """What one SMTP session may cost us. The lower bounds are those that RFC 5321 section 4.5.3.1 demands."""

    line: Whole = Field(
        default=4096, ge=512, le=65_536, examples=["4096"], description="Octets of one command line, with its CRLF."
    )
    size: Size = Field(
        default=as_toml("50 MiB"), ge=65_536, le=2**40, examples=['"50 MiB"'], description="Octets of one message."
    )
    recipients: Whole = Field(default=1000, ge=100, le=100_000, examples=["1000"], description="Recipients of one message.")
    transactions: Whole = Field(default=10_000, ge=1, le=10**9, examples=["10000"], description="Messages of one connection.")
    errors: Whole = Field(
        default=10, ge=1, le=1000, examples=["10"], description="Refused commands, then the connection is closed."
    )
    commands: Whole = Field(
        default=100,
        ge=5,
        le=10**9,
        examples=["100"],
        description="Commands that move no mail (NOOP, RSET, VRFY, repeated EHLO), then the connection is closed.",
    )
    idle: Seconds = Field(
        default=300,
        ge=1,
        le=86_400,
        examples=["300", '"5 minutes"'],
        description="Wait for the next whole command or piece of a message; single octets of a command do not prolong it.",
    )
    total: Seconds = Field(
        default=3600,
        ge=10,
        le=7 * 86_400,
        examples=["3600"],
        description="The longest life of a connection; a message that is on its way in may take as long again.",
    )
    data_rate: Whole = Field(
        default=500,
        ge=0,
        le=10**9,
        examples=["500"],
        description="The slowest that a message may come, in octets a second over any 30 seconds. 0: no such bound.",
    )
    greeting_delay: Seconds = Field(
        default=0.1,
        ge=0,
        le=60,
        examples=["0.1"],
        description="On `mx` listeners, wait before the greeting: who talks first is a spam program, and is refused.",
    )
    auth_failures: Whole = Field(
        default=3, ge=1, le=100, examples=["3"], description="Failed logins, then the connection is closed."
    )
    auth_failure_delay: Seconds = Field(
        default=5, ge=0, le=60, examples=["5"], description="Wait before a failed login is answered."
    )


class Argon2Settings(Table):
    """The cost of one password check (Argon2id). The defaults are OWASP's minimum: a relay checks many passwords a second."""

    memory: Size = Field(
        default=as_toml("19 MiB"), ge=8 * 2**20, le=4 * 2**30, examples=['"19 MiB"'], description="Memory of one check."
    )
    time: Whole = Field(default=2, ge=1, le=100, examples=["2"], description="Passes over that memory.")
    parallelism: Whole = Field(default=1, ge=1, le=64, examples=["1"], description="Lanes.")


class AccountsSettings(Table):
    """How the passwords of accounts are kept. A changed cost takes hold of each password when it is next used or set."""

    argon2: Argon2Settings = Field(default=as_toml({}), description="The cost of one password check.")
    scram_iterations: Whole = Field(
        default=10_000,
        ge=4096,
        le=10_000_000,
        examples=["10000"],
        description="Iterations of SCRAM keys (RFC 7677 asks for 4096 or more).",
    )
    cache_seconds: Seconds = Field(
        default=300,
        ge=0,
        le=86_400,
        examples=["300"],
        description="How long a right password needs no second full check. A new password or a suspension ends it at once.",
    )
    main_password: Literal["relay", "none"] = Field(
        default="relay",
        examples=['"none"'],
        description="`none`: an account's own password is never right on a listener, only its application passwords are (and "
        "certificates and tokens). So what opens the web is not what lets mail out.",
    )
