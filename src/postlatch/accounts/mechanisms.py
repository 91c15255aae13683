"""Which SASL mechanisms there are, which of them one connection is offered, and how each is made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from postlatch.accounts import external, oauth, scram
from postlatch.accounts.external import External
from postlatch.accounts.oauth import Discovery, OAuthBearer, XOAuth2
from postlatch.accounts.passwords import Random
from postlatch.accounts.sasl import Login, Mechanism, Plain
from postlatch.accounts.scram import Lookup, ScramSha256

MECHANISMS = (scram.NAME, "PLAIN", "LOGIN")  # wherever there are passwords, in the order in which they are offered
_ORDER = (scram.PLUS, scram.NAME, external.NAME, oauth.BEARER, oauth.XOAUTH2, "PLAIN", "LOGIN")
_NONCE = 24  # octets


@dataclass(frozen=True, slots=True)
class Channel:
    """What a mechanism can rest on beside passwords, on one connection.

    ``binding``: its ``tls-server-end-point``, if it has one. ``logins``: whom the client's certificate, which was verified,
    stands for. ``tokens``: what clients are told of the issuer, if tokens are taken.
    """

    binding: bytes | None = None
    logins: frozenset[str] = frozenset()
    tokens: Discovery | None = None


NO_CHANNEL = Channel()


def offered(passwords: tuple[str, ...], channel: Channel) -> tuple[str, ...]:
    """The mechanisms for a connection, ``passwords`` being those that the listener has in any case."""
    return _offered(passwords, channel.binding is not None, bool(channel.logins), channel.tokens is not None)


@lru_cache(maxsize=64)  # connections that are alike share it
def _offered(passwords: tuple[str, ...], bound: bool, certified: bool, tokens: bool) -> tuple[str, ...]:
    found = set(passwords)
    if bound and scram.NAME in found:
        found.add(scram.PLUS)
    if certified:
        found.add(external.NAME)
    if tokens:
        found |= {oauth.BEARER, oauth.XOAUTH2}
    return tuple(name for name in _ORDER if name in found)


def make_mechanism(name: str, lookup: Lookup, random: Random, channel: Channel = NO_CHANNEL) -> Mechanism | None:
    """A new conversation of that mechanism, in any case; None if there is none of that name here (504 5.5.4)."""
    match name.upper():
        case "PLAIN":
            return Plain()
        case "LOGIN":
            return Login()
        case scram.NAME:
            return ScramSha256(lookup, random(_NONCE).hex(), channel.binding)
        case scram.PLUS if channel.binding is not None:
            return ScramSha256(lookup, random(_NONCE).hex(), channel.binding, plus=True)
        case external.NAME if channel.logins:
            return External(channel.logins)
        case oauth.BEARER if channel.tokens is not None:
            return OAuthBearer(channel.tokens)
        case oauth.XOAUTH2 if channel.tokens is not None:
            return XOAuth2(channel.tokens)
        case _:
            return None
