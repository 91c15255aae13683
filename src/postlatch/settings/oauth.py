"""Logins by a bearer token of an identity provider: OAUTHBEARER and XOAUTH2."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from postlatch.settings import types as t
from postlatch.settings.kinds import Kind, quote
from postlatch.settings.types import Table

_MAX_URL = 2000


def parse_issuer_url(text: str) -> str:
    """A URL to which secrets may be sent: HTTPS, or plain HTTP to this machine."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{quote(text)} is no URL") from None
    if len(text) > _MAX_URL or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"is no URL: printable ASCII without spaces, {_MAX_URL} characters at most")
    if not host or parts.scheme not in {"https", "http"} or parts.username is not None or parts.fragment:
        raise ValueError(f'{quote(text)} is not usable: write "https://HOST/PATH", without a user name and without #')
    if parts.scheme == "http" and not _is_loopback(host):
        raise t.danger('keys and tokens would travel in the clear: write "https://…" (http:// only to this machine)')
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


IssuerUrl = Annotated[str, AfterValidator(parse_issuer_url), Kind("a URL")]


class OAuthSettings(Table):
    """An identity provider whose tokens are taken as logins. They are verified with its keys, or it is asked about each."""

    issuer: t.Line = Field(
        default="",
        examples=['"https://login.example.com/realms/mail"'],
        description="The provider's name, exactly as its tokens have it in `iss`. Needed for JWTs.",
    )
    audience: t.Line = Field(
        default="",
        examples=['"postlatch"'],
        description="Whom tokens must be meant for (`aud`): this relay, as the provider calls it. Needed for JWTs; a token for "
        "another program is no login here.",
    )
    jwks_url: IssuerUrl | None = Field(
        default=None,
        examples=['"https://login.example.com/realms/mail/certs"'],
        description="Where the provider publishes its keys. Fetched when they are needed, and kept for as long as it says.",
    )
    jwks_file: t.FilePath | None = Field(
        default=None, examples=['"issuer.jwks.json"'], description="The same in a file; a changed one is taken up by itself."
    )
    introspection_url: IssuerUrl | None = Field(
        default=None,
        examples=['"https://login.example.com/introspect"'],
        description="Instead of keys: where to ask about each token (RFC 7662), with `client_id` and `client_secret_file`.",
    )
    client_id: t.Line = Field(default="", examples=['"postlatch"'], description="Our login at `introspection_url`.")
    client_secret_file: t.FilePath | None = Field(
        default=None, examples=['"oauth.secret"'], description="A file whose first line is our secret at `introspection_url`."
    )
    claim: t.Line = Field(
        default="email",
        min_length=1,
        examples=['"preferred_username"'],
        description="What in a token names the account. It must be something that people cannot change for themselves.",
    )
    scope: t.Line = Field(
        default="", examples=['"smtp"'], description="The scope that a token must have. Empty: none is asked for."
    )
    timeout: t.Seconds = Field(
        default=5,
        ge=1,
        le=30,
        examples=["5"],
        description="How long the provider may take; then the client must come back.",
    )
    cache_seconds: t.Seconds = Field(
        default=60,
        ge=0,
        le=3600,
        examples=["60"],
        description="How long the answer about a token holds: a token that is revoked there may log in here for so long.",
    )
