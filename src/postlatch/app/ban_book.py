"""The bans with all that belongs to them: their rows, how often each came, and who may never be banned."""

from __future__ import annotations

import sqlite3
from ipaddress import ip_network
from typing import Final

from postlatch.accounts.book import AccountBook
from postlatch.app.interfaces import local_addresses
from postlatch.limits.limit import parse_limit
from postlatch.model.clock import Clock
from postlatch.model.envelope import IPAddress
from postlatch.monitor.allow import AllowList
from postlatch.monitor.circles import IPNetwork
from postlatch.monitor.known import KnownClients, Login
from postlatch.monitor.sentences import Sentence, sentence
from postlatch.monitor.thresholds import Thresholds
from postlatch.server.bans import BanList
from postlatch.settings.tree import Settings
from postlatch.store import bans as rows
from postlatch.store import known_clients
from postlatch.store.bans import Ban

FOREVER: Final = float("inf")
WIDEST: Final = {4: 8, 6: 19}  # prefixes shorter than these would cut off a good part of the Internet


def thresholds(settings: Settings) -> Thresholds:
    """The ``[bans]`` table as the folds take it."""
    chosen = settings.bans
    return Thresholds(
        failures=tuple(map(parse_limit, chosen.failures)),
        accounts=tuple(map(parse_limit, chosen.accounts)),
        probes=tuple(map(parse_limit, chosen.probes)),
        spray=chosen.spray,
        first=chosen.first,
        longest=chosen.longest,
        decay=chosen.decay,
        patience=chosen.patience,
        slowest=chosen.slowest,
        known=chosen.known,
    )


class BanBook:
    """What is in memory changes at once; whoever calls writes the row that is returned."""

    def __init__(self, settings: Settings, accounts: AccountBook, clock: Clock) -> None:
        self._clock = clock
        self._accounts = accounts
        self.rules = thresholds(settings)
        self.known = KnownClients(self.rules.known, self._holds)
        self.allow = self._allow_list(settings)
        self.bans = BanList(allowed=self._allowed)
        self._sentences: dict[IPNetwork, Sentence] = {}

    def configure(self, settings: Settings) -> None:
        """After a reload."""
        self.rules = thresholds(settings)
        self.known.lifetime = self.rules.known
        self.allow = self._allow_list(settings)

    def load(self, connection: sqlite3.Connection) -> None:
        """Take up the bans of the database, and who is known."""
        self.load_bans(connection)
        found = known_clients.load(connection)
        self.known.load(Login(login, ip_network(prefix), generation, at) for login, prefix, generation, at in found)

    def load_bans(self, connection: sqlite3.Connection) -> None:
        """Take up the bans of the database."""
        found = [(ip_network(ban.network), ban) for ban in rows.load(connection)]
        now = self._clock.now()
        in_force = [(network, FOREVER if ban.until is None else ban.until) for network, ban in found]
        self.bans.replace((network, end) for network, end in in_force if end > now)
        self._sentences = {
            network: Sentence(ban.until, ban.strikes, ban.forget_at)
            for network, ban in found
            if ban.strikes and ban.until is not None and ban.forget_at is not None
        }

    def refusal(self, network: IPNetwork) -> str | None:
        """Why this network may not be banned, or None."""
        if network.prefixlen < WIDEST[network.version]:
            return f"{network} is too wide to ban: at most a /{WIDEST[network.version]}"
        why = self.allow.refusal(network, self._clock.now())
        return None if why is None else f"{network} may not be banned: {why}"

    def sentence(self, network: IPNetwork, kind: str, why: str) -> Ban | None:
        """Ban a network for as long as its record says; None if it is banned already. Ask ``refusal`` first."""
        now = self._clock.now()
        if self.bans.holds(network, now):
            return None
        passed = sentence(self._sentences.get(network), now, self.rules)
        self._sentences[network] = passed
        self.bans.add(network, passed.until)
        return Ban(str(network), passed.until, why, now, kind, passed.strikes, passed.forget_at)

    def order(self, network: IPNetwork, until: float | None, kind: str, why: str) -> Ban:
        """Ban a network until then, or until somebody lifts it. Ask ``refusal`` first."""
        self._sentences.pop(network, None)
        self.bans.add(network, FOREVER if until is None else until)
        return Ban(str(network), until, why, self._clock.now(), kind)

    def lift(self, network: IPNetwork) -> None:
        """Lift a ban, and forget that there was one."""
        self._sentences.pop(network, None)
        self.bans.remove(network)

    def lapse(self) -> None:
        """Forget what has run out."""
        now = self._clock.now()
        self.bans.lapse(now)
        for network in [network for network, passed in self._sentences.items() if passed.forget_at <= now]:
            del self._sentences[network]

    def _holds(self, login: str, generation: int) -> bool:
        record = self._accounts.get(login)
        return record is None or (not record.suspended and record.generation == generation)

    def _allowed(self, address: IPAddress) -> bool:
        return self.allow.covers(address, self._clock.now())

    def _allow_list(self, settings: Settings) -> AllowList:
        proxies = [network for listener in settings.listeners for network in listener.proxies]
        return AllowList(self.known, local_addresses(), proxies, settings.bans.never)
