"""LDAP as a directory: the entry is looked for, and then the password is tried by binding as it (RFC 4511, RFC 4513).

libldap blocks while it makes TLS, so all of it runs in a few threads of its own and never in the loop. What a client sends goes
into a filter (RFC 4515) or a name (RFC 4514) only escaped. An empty password never gets this far, and is refused here once more:
a bind with a name and without a password succeeds as nobody ("unauthenticated", RFC 4513 section 5.1.2). Referrals are not
followed: whoever may write one into the directory would be asked with our credentials and the user's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from postlatch.accounts.directory import MAX_ENTRY, MOST_ENTRIES, Down, Found
from postlatch.accounts.pool import Busy, HashPool

if TYPE_CHECKING:
    import bonsai

MAX_LOGIN: Final = 320  # octets
_FILTER: Final = frozenset("*()\\\0")
_NAME: Final = frozenset('"+,;<=>\\#')
_WORKERS: Final = 4
_QUEUE: Final = 28


@dataclass(frozen=True, slots=True)
class LdapSettings:
    """Where and how to ask. ``name`` is a template of the entry's DN, for a bind without a search; or ``base`` and ``filter``.

    In templates ``{login}``, ``{local}`` and ``{domain}`` stand for the login and its parts. ``starttls`` is for ``ldap://``;
    without it, only a loopback address is in the configuration. Times in seconds.
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


def fill(template: str, login: str, escape: Any) -> str:
    """A template with the login in it, each part escaped. Not by ``format``: a login may hold braces."""
    local, _, domain = login.rpartition("@")
    values = {"{login}": login, "{local}": local, "{domain}": domain}
    parts, rest = [], template
    while rest:
        place, key = min(((rest.find(key) if key in rest else len(rest)), key) for key in values)
        parts.append(rest[:place])
        parts.append(escape(values[key]) if place < len(rest) else "")
        rest = rest[place + len(key) :]
    return "".join(parts)


class LdapDirectory:
    """Asks one server. ``close`` ends its threads."""

    def __init__(self, settings: LdapSettings) -> None:
        self._settings = settings
        self._pool = HashPool(_WORKERS, _QUEUE, _QUEUE)

    async def verify(self, login: str, password: str) -> Found | None:
        """See ``Directory``. A thread that waits too long is left to its own, shorter time-outs; its place is taken until then."""
        if not password or "\0" in password or len(login.encode()) > MAX_LOGIN:
            return None
        try:
            return await self._pool.run(lambda: self._verify(login, password), "")
        except Busy as error:
            raise error if isinstance(error, Down) else Down("too many questions wait for the LDAP server") from None

    def close(self) -> None:
        """End the threads."""
        self._pool.close()

    def _verify(self, login: str, password: str) -> Found | None:
        import bonsai  # noqa: PLC0415  (an extra, and 30 ms for those who do not use it)

        try:
            name, send_as = self._locate(login)
            # An unknown login is tried too, as a name that is nobody's: the server answers both after the same two steps.
            connection = self._bind(name or self._nobody(login), password)
        except bonsai.AuthenticationError:
            return None
        except (bonsai.InvalidDN, bonsai.NoSuchObjectError):
            return None
        except bonsai.LDAPError as error:
            raise Down(f"the LDAP server gave no answer: {type(error).__name__}") from None
        connection.close()
        if name is None:
            raise Down("the LDAP server accepted a name that is nobody's")
        return Found(login, send_as)

    def _locate(self, login: str) -> tuple[str | None, frozenset[str]]:
        """The name of the one entry of this login, and what it may send as; None if there is none or more than one."""
        chosen = self._settings
        if chosen.name:
            return fill(chosen.name, login, name_value), frozenset()
        import bonsai  # noqa: PLC0415

        try:
            connection = self._bind(chosen.bind_name, chosen.bind_password)
        except bonsai.AuthenticationError:
            raise Down("the LDAP server refuses the login of this relay") from None
        try:
            found = connection.search(
                chosen.base,
                bonsai.LDAPSearchScope.SUBTREE,
                fill(chosen.filter, login, filter_value),
                [chosen.send_as or "1.1"],
                timeout=chosen.timeout,
                sizelimit=2,
            )
        except bonsai.SizeLimitError:
            return None, frozenset()
        except bonsai.NoSuchObjectError:
            raise Down("the search base is not on the LDAP server") from None
        finally:
            connection.close()
        if len(found) != 1:
            return None, frozenset()
        return str(found[0].dn), self._sending(found[0])

    def _sending(self, entry: Any) -> frozenset[str]:
        wanted = self._settings.send_as
        values = list(entry.get(wanted, ())) if wanted else []
        if len(values) > MOST_ENTRIES or any(len(str(value)) > MAX_ENTRY for value in values):
            raise Down("the LDAP server names too many sender addresses, or too long ones")
        return frozenset(map(str, values))

    def _nobody(self, login: str) -> str:
        base = self._settings.base
        return f"cn={name_value(login)[:MAX_ENTRY]},{base}" if base else f"cn={name_value(login)}"

    def _bind(self, name: str, password: str) -> bonsai.ldapconnection.BaseLDAPConnection:
        import bonsai  # noqa: PLC0415

        chosen = self._settings
        client = bonsai.LDAPClient(chosen.url, tls=chosen.starttls)
        if chosen.authorities:
            client.set_ca_cert(chosen.authorities)
        client.set_cert_policy("demand")
        client.set_ignore_referrals(True)
        client.set_server_chase_referrals(False)
        if name:
            client.set_credentials("SIMPLE", name, password)
        return client.connect(timeout=chosen.timeout)
