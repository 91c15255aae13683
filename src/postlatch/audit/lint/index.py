"""Which of many networks has an address, in time that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterable

from postlatch.audit.lint.survey import Address, Network


class NetworkIndex:
    """Networks by length and first bits: one look-up for each length that occurs."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._tables: dict[tuple[int, int], dict[int, Network]] = {}
        for network in networks:
            shift = network.max_prefixlen - network.prefixlen
            self._tables.setdefault((network.version, shift), {}).setdefault(int(network.network_address) >> shift, network)
        self._order = sorted(self._tables, key=lambda key: key[1])

    def narrowest(self, client: Address) -> Network | None:
        """The longest network that has the address."""
        number, version = int(client), client.version
        for key in self._order:
            if key[0] == version and (found := self._tables[key].get(number >> key[1])) is not None:
                return found
        return None
