"""Who logged in from where lately. From there nobody else's failures keep an account out, and no ban hits the address."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from postlatch.monitor.circles import IPNetwork, wide_network

MOST: Final = 50_000
_SAVED_AGAIN = 3600.0  # seconds after which a login that was kept is kept anew


class Login(NamedTuple):
    """One account at one client. ``generation`` is that of its password; ``seen_at`` is seconds since 1970."""

    login: str
    client: IPNetwork
    generation: int
    seen_at: float


class KnownClients:
    """``lifetime`` in seconds. ``holds(login, generation)`` is False once the account is suspended or has a new password."""

    def __init__(self, lifetime: float, holds: Callable[[str, int], bool], most: int = MOST) -> None:
        self.lifetime = lifetime
        self._holds = holds
        self._most = most
        self._seen: OrderedDict[tuple[str, IPNetwork], tuple[int, float, float]] = OrderedDict()  # generation, seen, saved
        self._logins: dict[IPNetwork, set[str]] = {}
        self._around: dict[IPNetwork, set[IPNetwork]] = {}  # by the wide network
        self._unsaved: set[tuple[str, IPNetwork]] = set()

    def load(self, logins: Iterable[Login]) -> None:
        """Take up what was kept, the oldest first."""
        for login, client, generation, seen_at in logins:
            self._put(login, client, generation, seen_at, seen_at)

    def saw(self, login: str, client: IPNetwork, generation: int, now: float) -> None:
        """``login`` has logged in from ``client``."""
        key = (login, client)
        old = self._seen.get(key)
        saved = old[2] if old is not None and old[0] == generation else -math.inf
        self._put(login, client, generation, now, saved)
        if not 0 <= now - saved < _SAVED_AGAIN:
            self._unsaved.add(key)

    def knows(self, login: str, client: IPNetwork, now: float) -> bool:
        """Did ``login`` log in from ``client`` lately, with the password that it has now?"""
        found = self._seen.get((login, client))
        return found is not None and now - found[1] < self.lifetime and self._holds(login, found[0])

    def at(self, client: IPNetwork, now: float) -> str | None:
        """An account that is known at ``client``, or None."""
        return next((login for login in sorted(self._logins.get(client, ())) if self.knows(login, client, now)), None)

    def inside(self, network: IPNetwork, now: float) -> str | None:
        """An account that is known somewhere inside ``network`` (or whose client holds it), or None."""
        wide = wide_network(network.network_address)
        narrow = network.version == wide.version and network.prefixlen >= wide.prefixlen
        clients = self._around.get(wide, ()) if narrow else self._logins
        touched = sorted(client for client in clients if client.version == network.version and client.overlaps(network))
        return next((login for client in touched if (login := self.at(client, now)) is not None), None)

    def forget(self, login: str, client: IPNetwork | None = None) -> None:
        """``login`` is known nowhere any more, or not at ``client``."""
        for key in [key for key in self._seen if key[0] == login and client in {None, key[1]}]:
            self._drop(key)

    def unsaved(self) -> list[Login]:
        """What was seen since the last call and is to be kept."""
        found = []
        for key in self._unsaved:
            if (state := self._seen.get(key)) is not None:
                self._seen[key] = (state[0], state[1], state[1])
                found.append(Login(*key, state[0], state[1]))
        self._unsaved.clear()
        return found

    def clients(self, now: float) -> list[IPNetwork]:
        """Every client at which somebody is known."""
        return [client for client in self._logins if self.at(client, now) is not None]

    def __len__(self) -> int:
        return len(self._seen)

    def _put(self, login: str, client: IPNetwork, generation: int, seen: float, saved: float) -> None:
        key = (login, client)
        self._seen[key] = (generation, seen, saved)
        self._seen.move_to_end(key)
        self._logins.setdefault(client, set()).add(login)
        self._around.setdefault(wide_network(client.network_address), set()).add(client)
        while len(self._seen) > self._most:
            self._drop(next(iter(self._seen)))

    def _drop(self, key: tuple[str, IPNetwork]) -> None:
        login, client = key
        del self._seen[key]
        self._unsaved.discard(key)
        logins = self._logins[client]
        logins.discard(login)
        if not logins:
            del self._logins[client]
            wide = wide_network(client.network_address)
            self._around[wide].discard(client)
            if not self._around[wide]:
                del self._around[wide]
