"""The policy as data: one immutable snapshot that every decision reads. A new one is proved, then swapped in whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import TypeVar

from postlatch.model.address import Address
from postlatch.model.envelope import Destination, IPAddress, Role
from postlatch.policy.dmarc import DmarcRules
from postlatch.policy.networks import IPNetwork, NetworkTable
from postlatch.policy.reputation import ReputationRules
from postlatch.policy.sending import Delegation, Submission

V = TypeVar("V")


def _frozen(mapping: Mapping[str, V]) -> Mapping[str, V]:
    # A copy behind a proxy: nobody who kept the dictionary can change what has been proved.
    return MappingProxyType(dict(mapping))


def _check_keys(what: str, names: Iterable[tuple[str, str]]) -> None:
    # A decision looks up by key and a grant is checked again by name: they must not differ.
    for key, name in names:
        if key != name:
            raise ValueError(f"the key of {what} {name!r} is {key!r}")


@dataclass(frozen=True, slots=True)
class Listener:
    """A way in. ``tls``: it speaks TLS, from the first byte or by STARTTLS.

    ``local``: the Unix socket of this machine, where the kernel says who speaks, and nobody is in between.
    """

    name: str
    role: Role
    tls: bool = False
    local: bool = False


@dataclass(frozen=True, slots=True)
class LocalDomain:
    """A domain of ours. ``recipients`` and alias names are local parts, compared in lower case; None: ask the next hop.

    Alias and catch-all targets are mailboxes of our own domains; any other target is dropped by ``expand``.
    """

    name: str
    recipients: frozenset[str] | None
    aliases: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    catch_all: tuple[Address, ...] = ()

    def __post_init__(self) -> None:
        if self.recipients is not None:
            object.__setattr__(self, "recipients", frozenset(map(str.lower, self.recipients)))
        object.__setattr__(self, "aliases", _frozen({name.lower(): targets for name, targets in self.aliases.items()}))


@dataclass(frozen=True, slots=True)
class RelayDomain:
    """A domain that anybody may reach through us, by its own route. ``expires``: the first second that is too late, UTC."""

    name: str
    recipients: frozenset[str] | None
    owner: str
    expires: float

    def __post_init__(self) -> None:
        if self.recipients is not None:
            object.__setattr__(self, "recipients", frozenset(map(str.lower, self.recipients)))


@dataclass(frozen=True, slots=True)
class Right:
    """Who may relay by address (DESIGN section 5). Patterns are ``user@domain``, ``@domain`` or ``<>``; none means any.

    ``expires``: the first second that is too late, UTC. ``wide`` and ``masked`` are reasons in writing. ``limits`` are texts
    such as ``200/day`` by kind. ``fix`` names what is mended in the header (``date``, ``message-id``, ``from``), and
    ``rewrite_from`` is the address that replaces a From outside of the right. ``sender_keys`` and ``recipient_keys`` are the
    patterns made ready for look-up.
    """

    name: str
    networks: tuple[IPNetwork, ...]
    listeners: frozenset[str]
    senders: tuple[str, ...]
    _: KW_ONLY
    recipients: tuple[str, ...] = ()
    owner: str
    expires: float
    wide: str = ""
    masked: str = ""
    source: str = "configuration"
    suspended: bool = False
    limits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fix: frozenset[str] = frozenset()
    rewrite_from: str = ""
    sender_keys: frozenset[str] = field(init=False, repr=False, compare=False)
    recipient_keys: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", _frozen(self.limits))
        object.__setattr__(self, "sender_keys", frozenset(map(str.lower, self.senders)))
        object.__setattr__(self, "recipient_keys", frozenset(map(str.lower, self.recipients)))


@dataclass(frozen=True, slots=True)
class AppPassword:
    """What an account may do by one of its application passwords: as much as the account, or less.

    ``senders`` are patterns as in ``send_as``, ``networks`` where it may be used; none means no narrower than the account.
    ``expires``: the first second that is too late, UTC; None: it has no end.
    """

    name: str
    senders: frozenset[str] = frozenset()
    networks: tuple[IPNetwork, ...] = ()
    expires: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "senders", frozenset(map(str.lower, self.senders)))


@dataclass(frozen=True, slots=True)
class Account:
    """Who may submit. ``send_as`` holds ``user@domain``, ``@domain`` and ``<>``, in lower case.

    ``source`` is the directory that knows the account, or ``command``.
    """

    login: str
    send_as: frozenset[str]
    suspended: bool = False
    app_passwords: Mapping[str, AppPassword] = field(default_factory=dict)
    source: str = "command"

    def __post_init__(self) -> None:
        object.__setattr__(self, "send_as", frozenset(map(str.lower, self.send_as)))
        _check_keys("application password", ((key, one.name) for key, one in self.app_passwords.items()))
        object.__setattr__(self, "app_passwords", _frozen(self.app_passwords))


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All that the policy knows. Mapping keys are names as they are compared: domains as lower-case A-labels.

    ValueError if a key is not the name of what it leads to (for an account, its login).
    ``own_addresses`` are literals of this server as the parser writes them (``[192.0.2.1]``), for ``postmaster`` alone.
    """

    version: int
    hostname: str
    listeners: Mapping[str, Listener]
    local_domains: Mapping[str, LocalDomain]
    relay_domains: Mapping[str, RelayDomain]
    rights: tuple[Right, ...]
    accounts: Mapping[str, Account]
    own_addresses: frozenset[str] = frozenset()
    dmarc: DmarcRules = field(default_factory=DmarcRules)
    reputation: ReputationRules = field(default_factory=ReputationRules)
    delegations: tuple[Delegation, ...] = ()
    submission: Submission = field(default_factory=Submission)
    main_password: bool = True  # an account's own password may relay; else only its application passwords
    first_domain: str = field(init=False, repr=False)
    _rights_by_name: Mapping[str, Right] = field(init=False, repr=False)
    _tables: Mapping[str, NetworkTable[Right]] = field(init=False, repr=False)
    _delegated: Mapping[str, tuple[Delegation, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for what, named in (("listener", self.listeners), ("domain", self.local_domains), ("domain", self.relay_domains)):
            _check_keys(what, ((key, value.name) for key, value in named.items()))
        _check_keys("account", ((key, account.login) for key, account in self.accounts.items()))
        for name in ("listeners", "local_domains", "relay_domains", "accounts"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        object.__setattr__(self, "rights", tuple(self.rights))
        object.__setattr__(self, "first_domain", next(iter(self.local_domains), ""))
        object.__setattr__(self, "_rights_by_name", _frozen({right.name: right for right in self.rights}))
        tables = {name: NetworkTable(self._entries(name)) for name in self.listeners}
        object.__setattr__(self, "_tables", _frozen(tables))
        object.__setattr__(self, "delegations", tuple(self.delegations))
        logins = {delegation.login for delegation in self.delegations}
        held = {login: tuple(one for one in self.delegations if one.login == login) for login in logins}
        object.__setattr__(self, "_delegated", _frozen(held))

    def _entries(self, listener: str) -> Iterator[tuple[IPNetwork, Right]]:
        for right in self.rights:
            if listener in right.listeners:
                yield from ((network, right) for network in right.networks)

    def classify(self, domain: str) -> Destination:
        """Whose domain this is: by exact match only, so never by suffix. An address literal is foreign."""
        if domain[:1] in ("", "["):
            return Destination.FOREIGN
        if domain in self.local_domains:
            return Destination.LOCAL
        return Destination.RELAY if domain in self.relay_domains else Destination.FOREIGN

    def right(self, name: str) -> Right | None:
        """The right of that name, valid or not."""
        return self._rights_by_name.get(name)

    def rights_of(self, listener: str, address: IPAddress) -> list[Right]:
        """The rights on ``listener`` whose networks contain ``address``, valid or not, in the order of the configuration."""
        return self._tables[listener].find(address)

    def delegations_of(self, login: str) -> tuple[Delegation, ...]:
        """What others have delegated to ``login``, lapsed or not."""
        return self._delegated.get(login, ())
