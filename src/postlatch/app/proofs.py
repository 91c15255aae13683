"""From the settings to what clients can prove themselves by, beside passwords: certificates and tokens."""

from __future__ import annotations

import secrets
from functools import partial
from pathlib import Path

from postlatch.accounts.external import CertificateLogins
from postlatch.accounts.oauth import Discovery
from postlatch.accounts.oauth_introspection import Introspection
from postlatch.accounts.oauth_jwt import JwtChecker
from postlatch.accounts.oauth_keys import MAX_SET, IssuerKeys, KeySetError, Source, parse_keys
from postlatch.accounts.oauth_tokens import TokenChecker, TokenRules, Unavailable
from postlatch.app.fetch import HttpFetcher
from postlatch.app.ways import read_secret
from postlatch.model.clock import Clock
from postlatch.model.dns import Resolver
from postlatch.model.fetch import Fetcher, FetchError
from postlatch.server.proofs import Proofs
from postlatch.settings.oauth import OAuthSettings
from postlatch.settings.problem import Problem
from postlatch.settings.tree import Settings, TlsSettings


def make_proofs(settings: Settings, resolver: Resolver, clock: Clock) -> Proofs:
    """As the settings say; nothing is fetched before it is needed."""
    tls, oauth = settings.tls, settings.oauth
    certificates, binding = _certificates(tls), tls is not None and tls.channel_binding
    if oauth is None:
        return Proofs(binding, certificates)
    return Proofs(binding, certificates, make_checker(oauth, HttpFetcher(resolver), clock), _discovery(oauth))


def _certificates(tls: TlsSettings | None) -> CertificateLogins | None:
    if tls is None or tls.client_ca is None:
        return None
    return CertificateLogins(tls.client_certificates, by_address=tls.client_addresses)


def _discovery(oauth: OAuthSettings) -> Discovery:
    configuration = f"{oauth.issuer.rstrip('/')}/.well-known/openid-configuration" if "://" in oauth.issuer else ""
    return Discovery(oauth.scope, configuration)


def make_checker(oauth: OAuthSettings, fetcher: Fetcher, clock: Clock) -> TokenChecker:
    """What verifies tokens: the issuer's keys, or the issuer."""
    rules = TokenRules(oauth.issuer, oauth.audience, oauth.claim, oauth.scope)
    if oauth.introspection_url is not None and oauth.client_secret_file is not None:
        return Introspection(
            fetcher,
            oauth.introspection_url,
            oauth.client_id,
            partial(read_secret, oauth.client_secret_file),
            rules,
            clock,
            key=secrets.token_bytes(32),
            timeout=oauth.timeout,
            keep=oauth.cache_seconds,
        )
    return JwtChecker(IssuerKeys(_source(oauth, fetcher), clock), rules, clock)


def _source(oauth: OAuthSettings, fetcher: Fetcher) -> Source:
    path, url = oauth.jwks_file, oauth.jwks_url

    async def read() -> tuple[bytes, float | None]:
        assert path is not None
        try:
            return _read_set(path), 0.0  # a file costs nothing to read again
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error.strerror}") from None

    async def fetch() -> tuple[bytes, float | None]:
        assert url is not None
        try:
            answer = await fetcher.get(url, timeout=oauth.timeout, limit=MAX_SET, trusted=True)
        except FetchError as error:
            raise Unavailable(f"the issuer's keys cannot be fetched: {error}") from None
        if answer.status != 200:
            raise Unavailable(f"the issuer's keys cannot be fetched: status {answer.status}")
        return answer.body, answer.max_age

    return read if path is not None else fetch


def _read_set(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_SET + 1)


def broken_keys(settings: Settings) -> Problem | None:
    """A file of keys that cannot be used; one that cannot be read is reported elsewhere."""
    path = settings.oauth.jwks_file if settings.oauth is not None else None
    if path is None:
        return None
    try:
        parse_keys(_read_set(path))
    except KeySetError as error:
        return settings.problem("oauth.jwks_file", f"{path}: {error} (RFC 7517 section 5)")
    except OSError:
        return None
    return None
