"""Who is never banned: this machine, its proxies, its administrators, and where somebody logged in lately."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Final

from postlatch.model.envelope import IPAddress
from postlatch.monitor.circles import IPNetwork, client_network
from postlatch.monitor.known import KnownClients

_LOOPBACK: Final = (ip_network("127.0.0.0/8"), ip_network("::1"))


class AllowList:
    """``own`` are this machine's addresses, ``proxies`` those listed for a listener, ``never`` those of ``bans.never``."""

    def __init__(
        self, known: KnownClients, own: Iterable[IPAddress], proxies: Iterable[IPNetwork], never: Iterable[IPNetwork]
    ) -> None:
        self._known = known
        self._proxies = tuple(proxies)
        self._never = tuple(never)
        self._own: tuple[IPNetwork, ...] = ()
        self._fixed: tuple[IPNetwork, ...] = ()
        self.renew(own)

    def renew(self, own: Iterable[IPAddress]) -> None:
        """The addresses that this machine has now."""
        self._own = (*_LOOPBACK, *(ip_network(address) for address in own if not address.is_loopback))
        self._fixed = (*self._own, *self._proxies, *self._never)

    def refusal(self, network: IPNetwork, now: float) -> str | None:
        """Why ``network`` may not be banned, or None."""
        why = (
            (self._own, "an address of this machine itself"),
            (self._proxies, "a proxy of ours (listeners.proxies): all of its clients would be cut off"),
            (self._never, "an address that the configuration never bans (bans.never)"),
        )
        for group, words in why:
            for allowed in group:
                if allowed.version == network.version and allowed.overlaps(network):
                    return f"it holds {_shown(allowed)}, {words}"
        login = self._known.inside(network, now)
        return None if login is None else f"{login!a} logged in from there lately; suspend the account first, or ban less"

    def covers(self, address: IPAddress, now: float) -> bool:
        """May this address never be banned?"""
        if any(address in network for network in self._fixed if network.version == address.version):
            return True
        return self._known.at(client_network(address), now) is not None

    def networks(self, now: float) -> list[IPNetwork]:
        """All of them, for a filter that must let them pass."""
        return [*self._fixed, *self._known.clients(now)]


def _shown(network: IPNetwork) -> str:
    return str(network.network_address if network.num_addresses == 1 else network)
