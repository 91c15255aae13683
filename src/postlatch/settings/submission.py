"""How mail of accounts is tied to its login and mended, and the Unix socket of the ``sendmail`` command."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from postlatch.settings import types as t
from postlatch.settings.kinds import Kind, quote
from postlatch.settings.types import Table

_NOBODY = frozenset({"nobody", "65534"})


def _user(text: str) -> str:
    if text in _NOBODY:
        raise t.danger(
            f"{quote(text)} is what the kernel calls every user of a container whom it does not know: give the program a "
            "user of its own"
        )
    if not text or len(text) > 64 or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{quote(text)} is no user of this machine: write its name or number")
    return text


User = Annotated[str, AfterValidator(_user), Kind("a user of this machine", "users of this machine")]
Users = Annotated[Mapping[User, t.Line], AfterValidator(MappingProxyType), Kind("a table")]
Rewrites = Annotated[Mapping[t.Line, t.Mailbox], AfterValidator(MappingProxyType), Kind("a table")]


class SubmissionSettings(Table):
    """Mail that accounts send: what it is tied to, and what is mended in its header. The body is never touched."""

    aliases: Literal["no", "own", "shared"] = Field(
        default="no",
        examples=['"own"'],
        description="May an account send as an alias of a domain of ours? `own`: as one that leads to its mailbox alone. "
        "`shared`: also as one that others get too. Only an alias that names the mailbox itself counts, never a catch-all.",
    )
    fix: tuple[Literal["date", "message-id"], ...] = Field(
        default=t.as_toml(("date", "message-id")),
        examples=['["date", "message-id"]'],
        description="What is added where it is missing (RFC 6409 section 8).",
    )
    rewrite_from: Rewrites = Field(
        default=t.as_toml({}),
        examples=['{ "scanner" = "scanner@example.com" }'],
        description="By login: the address that replaces a `From` (and `Sender`) which the account may not use. It must be one "
        "that it may send as. What was there is kept as `X-Original-From`.",
    )


class SendmailSettings(Table):
    """The Unix socket on which local programs hand in mail by the `sendmail` command ([sendmail.md](sendmail.md))."""

    socket: t.FilePath | None = Field(
        default=None,
        examples=['"run/sendmail.sock"'],
        description="The socket's file. Every user of this machine may connect, and only those in `users` may send. Absent: "
        "there is no socket.",
    )
    users: Users = Field(
        default=t.as_toml({}),
        examples=['{ www-data = "web@example.com", root = "ops@example.com" }'],
        description="Users of this machine, by name or number, and the account that each of them sends as.",
    )
    domain: t.Domain | None = Field(
        default=None,
        examples=['"example.com"'],
        description="Completes an address without a domain, like `root`. Absent: the first of `domains`.",
    )
