"""Who is who on the Unix socket of the ``sendmail`` command: users of this machine, and the accounts that they send as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from postlatch.model.address import Address, AddressError, parse_address
from postlatch.policy.snapshot import Snapshot
from postlatch.policy.ties import may_send_as

NAME: Final = "sendmail"  # of the listener
CLIENT: Final = "local"  # its client, in the journal and in Received


@dataclass(frozen=True, slots=True)
class LocalUser:
    """One user of this machine and its account."""

    uid: int
    name: str
    login: str


@dataclass(frozen=True, slots=True)
class LocalRules:
    """All users by number. ``domain`` completes an address that has none."""

    users: Mapping[int, LocalUser] = field(default_factory=dict)
    domain: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "users", MappingProxyType(dict(self.users)))


class LocalNames:
    """How one user's program writes addresses: bare names get the domain, and its own name becomes its account's address."""

    def __init__(self, user: LocalUser, domain: str, snapshot: Snapshot, now: float) -> None:
        self._user = user
        self._domain = domain
        self._snapshot = snapshot
        self._now = now
        self._hosts = (domain, snapshot.hostname)

    def complete(self, text: str) -> str:
        """An address of the header, with its domain."""
        return text if "@" in text or not text else f"{text}@{self._domain}"

    def sender(self, text: str) -> str:
        """One that says who sends: the user's own name, which no account need own, stands for its account."""
        whole = self.complete(text)
        try:
            address = parse_address(whole, smtputf8=True)
        except AddressError:
            return whole
        return self.as_account(address).text

    def as_account(self, address: Address) -> Address:
        """The account's address, if this is the user's own name at this machine and the account may not use it as it is."""
        if address.local.lower() != self._user.name.lower() or address.domain not in self._hosts:
            return address
        account = self._snapshot.accounts.get(self._user.login)
        if account is None or may_send_as(self._snapshot, account, address, self._now):
            return address
        return self.own() or address

    def own(self) -> Address | None:
        """The address that the account sends as if it does not say: its login, or the first address of its list."""
        account = self._snapshot.accounts.get(self._user.login)
        if account is None:
            return None
        listed = [pattern for pattern in sorted(account.send_as) if "@" in pattern[1:]]
        text = account.login if "@" in account.login else next(iter(listed), "")
        try:
            return parse_address(text, smtputf8=True)
        except AddressError:
            return None
