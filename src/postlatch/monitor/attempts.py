"""Attempts to break in, folded: who guesses passwords, at how many accounts, and who probes for a relay or for recipients.

Pure: times are arguments, nothing is asked. What is found out is returned; whether somebody is banned for it is decided by
whoever has the allow-list. Memory is bounded whatever the attackers do; what they push out are the oldest of their own.
"""

from __future__ import annotations

from itertools import count
from typing import Final, NamedTuple

from postlatch.limits.limit import Limit
from postlatch.model.envelope import IPAddress
from postlatch.monitor.circles import FACTORS, IPNetwork, circles, client_network
from postlatch.monitor.spray import Spray
from postlatch.monitor.tallies import Tallies
from postlatch.monitor.thresholds import Thresholds

Mark = tuple[IPNetwork, str, bytes | int]  # client, login, digest of the password or a number of its own

_PART: Final = 3  # different failures that make a client part of what its network is found out for
_ACCOUNT_MARKS: Final = 64


class Finding(NamedTuple):
    """Networks that are to be banned, and why. ``instead`` are clients for which to ban where ``networks`` cannot be."""

    kind: str
    networks: tuple[IPNetwork, ...]
    why: str
    instead: tuple[IPNetwork, ...] = ()


class Attempts:
    """The fold. ``failed``, ``probed`` and ``accepted`` are fed in the order in which things happen."""

    def __init__(self, rules: Thresholds) -> None:
        self._rules = rules
        self._failures: Tallies[IPNetwork, Mark] = Tallies(rules.failures)
        self._logins: Tallies[IPNetwork, str] = Tallies(rules.accounts)
        self._probes: Tallies[IPNetwork, int] = Tallies(rules.probes)
        self._pairs: Tallies[tuple[str, IPNetwork], bytes | int] = Tallies(_longest(rules.failures))
        self._accounts: Tallies[str, bytes | int] = Tallies((Limit(_ACCOUNT_MARKS, 3600, "an hour"),), 100_000)
        self._spray = Spray(rules.spray)
        self._numbers = count()

    def failed(self, login: str, address: IPAddress, digest: bytes | None, now: float) -> list[Finding]:
        """A login failed. ``digest`` tells the password from others; None where it was never seen (SCRAM)."""
        client = client_network(address)
        mark = next(self._numbers) if digest is None else digest
        found = [*self._guessed(address, (client, login, mark), now), *self._tried_accounts(login, address, now)]
        if digest is not None and login:
            sprayers = self._spray.add(digest, login, client, now)
            if sprayers:
                found.append(Finding("spray", sprayers, "one password was tried at many accounts"))
        return found

    def pressed(self, address: IPAddress, now: float) -> list[Finding]:
        """A login was refused unheard, for the failures from all around: who goes on all the same is part of them."""
        client = client_network(address)
        met = self._failures.add(client, (client, "", next(self._numbers)), now)
        if met is None:
            return []
        self._failures.clear(client)
        return [Finding("passwords", (client,), _limit_words("failed and refused logins", met, 1))]

    def _guessed(self, address: IPAddress, mark: Mark, now: float) -> list[Finding]:
        found = []
        for network, factor in zip(circles(address), FACTORS, strict=True):
            met = self._failures.add(network, mark, now, factor)
            if met is None:
                continue
            parts = _parts(self._failures.marks(network)) if factor > 1 else ()
            self._failures.clear(network)
            found.append(Finding("passwords", (network,), _limit_words("different failed logins", met, factor), parts))
        return found

    def _tried_accounts(self, login: str, address: IPAddress, now: float) -> list[Finding]:
        found = []
        for network, factor in zip(circles(address), FACTORS, strict=True):
            met = self._logins.add(network, login, now, factor)
            if met is not None:
                self._logins.clear(network)
                found.append(Finding("accounts", (network,), _limit_words("different accounts tried", met, factor)))
        return found

    def failed_at_home(self, login: str, address: IPAddress, digest: bytes | None, now: float) -> bool:
        """A login failed from where it is known. True if that is too often for a slip: it is to be known there no more."""
        key = (login, client_network(address))
        met = self._pairs.add(key, next(self._numbers) if digest is None else digest, now)
        if met is None:
            return False
        self._pairs.clear(key)
        return True

    def failed_abroad(self, login: str, digest: bytes | None, now: float) -> None:
        """A login failed from where it is not known: its next answers from such places come later."""
        if self._accounts.count(login, now) < _ACCOUNT_MARKS:
            self._accounts.add(login, next(self._numbers) if digest is None else digest, now)

    def doublings(self, login: str, now: float) -> int:
        """How often the wait for an answer is doubled, for this login from where it is not known."""
        return max(0, self._accounts.count(login, now) - self._rules.patience)

    def probed(self, address: IPAddress, now: float) -> list[Finding]:
        """A recipient was refused because we do not relay, or because there is none of that name."""
        client = client_network(address)
        met = self._probes.add(client, next(self._numbers), now)
        if met is None:
            return []
        self._probes.clear(client)
        return [Finding("probes", (client,), _limit_words("recipients refused", met, 1))]

    def accepted(self, address: IPAddress, recipients: int) -> None:
        """Mail was taken from there: who sends mail that we want makes mistakes as well."""
        client = client_network(address)
        for _ in range(min(recipients, 100)):
            self._probes.forgive(client)


def _parts(marks: list[Mark]) -> tuple[IPNetwork, ...]:
    """The clients that have a share of these marks which is no slip."""
    shares: dict[IPNetwork, int] = {}
    for client, _, _ in marks:
        shares[client] = shares.get(client, 0) + 1
    return tuple(client for client, share in shares.items() if share >= _PART)


def _longest(limits: tuple[Limit, ...]) -> tuple[Limit, ...]:
    return tuple(sorted(limits, key=lambda limit: limit.seconds)[-1:])


def _limit_words(what: str, limit: Limit, factor: int) -> str:
    return f"{what}: {limit.amount * factor}/{limit.text.partition('/')[2]}"
