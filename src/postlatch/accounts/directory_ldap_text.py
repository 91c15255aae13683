"""How an LDAP server is asked; and the texts of clients inside of filters (RFC 4515) and names (RFC 4514), escaped."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

MAX_LOGIN: Final = 320  # octets
_FILTER: Final = frozenset("*()\\\0")
_PLACE: Final = re.compile(r"\{(?:login|local|domain)\}")
_NAME: Final = frozenset('"+,;<=>\\#')


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """Where and how. ``name`` is a template of the entry's DN, for a bind without a search; else ``base`` and ``filter``.

    In templates ``{login}``, ``{local}`` and ``{domain}`` stand for the login and its parts. ``starttls`` is for ``ldap://``;
    without it, only a loopback address is in the configuration. ``authorities``: a PEM file. ``timeout`` in seconds, of it all.
    """

    url: str
    starttls: bool
    base: str = ""
    filter: str = ""
    name: str = ""
    bind_name: str = ""
    bind_password: str = field(default="", repr=False)
    send_as: str = ""
    authorities: str = ""
    timeout: float = 5.0


def filter_value(text: str) -> str:
    """As a value in a search filter (RFC 4515 section 3): what has a meaning there, and all that is not ASCII, as ``\\xx``."""
    octets = text.encode()
    return "".join(chr(o) if 0x20 <= o < 0x7F and chr(o) not in _FILTER else f"\\{o:02x}" for o in octets)


def name_value(text: str) -> str:
    """As a value in a distinguished name (RFC 4514 section 2.4), for every position in it."""
    octets = text.encode()
    last = len(octets) - 1
    return "".join(_name_octet(octet, edge=place in (0, last)) for place, octet in enumerate(octets))


def _name_octet(octet: int, *, edge: bool) -> str:
    plain = 0x21 <= octet < 0x7F and chr(octet) not in _NAME
    return chr(octet) if plain or (octet == 0x20 and not edge) else f"\\{octet:02x}"


def fill(template: str, login: str, escape: Callable[[str], str]) -> str:
    """A template with the login in it, each part escaped. In one pass: what a login brings is never read as a template."""
    local, _, domain = login.rpartition("@")
    values = {"{login}": login, "{local}": local, "{domain}": domain}
    return _PLACE.sub(lambda found: escape(values[found[0]]), template)
