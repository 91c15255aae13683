"""Match lists (mynetworks, relay_domains, mydestination and their kin): which pattern matches a host, name or domain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Final, NamedTuple

from postlatch.audit.lint.postfix.cf import split_list
from postlatch.audit.lint.postfix.files import Place
from postlatch.audit.lint.postfix.tables import Rules, Table, Tables, Unreadable
from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.reading import lines_of, shown
from postlatch.audit.lint.survey import Address, Network, networks_of

_MOST_PATTERNS: Final = 100_000


class _Item(NamedTuple):
    text: str
    negated: bool
    network: Network | None = None
    table: Table | None = None
    missing: str = ""  # a file of patterns that is not here


class MatchList:
    """A list as ``match_list(3)`` reads it: the first pattern that matches decides, ``!`` turns it round."""

    def __init__(self, text: str, place: Place, tables: Tables, *, parents: bool) -> None:
        self._place = place
        self._tables = tables
        self._parents = parents
        self._items = [item for item, _ in zip(self._parsed(text, negated=False, depth=0), range(_MOST_PATTERNS), strict=False)]
        self.names = any(_is_name(item) for item in self._items)

    def _parsed(self, text: str, *, negated: bool, depth: int) -> Iterator[_Item]:
        for word in split_list(text):
            bare = word.lstrip("!")
            turned = negated != ((len(word) - len(bare)) % 2 == 1)
            if bare.startswith("/"):
                yield from self._file(bare, negated=turned, depth=depth)
            elif ":" in bare and not bare.startswith("[") and networks_of(bare) is None:
                yield _Item(bare, turned, table=self._tables.open(bare))
            else:
                yield _Item(bare, turned, network=networks_of(bare))

    def _file(self, name: str, *, negated: bool, depth: int) -> Iterator[_Item]:
        path = self._place.find(name) if depth < 5 else None
        if path is None:
            yield _Item(name, negated, missing=f"the file {shown(name)} is not here")
            return
        try:
            for line in lines_of(path):
                if not line.text.startswith("#"):
                    yield from self._parsed(line.text, negated=negated, depth=depth + 1)
        except LintError as error:
            yield _Item(name, negated, missing=shown(str(error)))

    def host(self, address: Address, name: Callable[[], str]) -> str | None:
        """The pattern that matches a client by address or name; None: none does. ``name`` is called only where it matters."""
        return self._first(lambda item: _by_address(item, address) or (_is_name(item) and self._by_name(item, name())))

    def domain(self, domain: str) -> str | None:
        """The pattern that matches a domain, or a parent of it where the list looks at parents."""
        return self._first(lambda item: self._by_name(item, domain))

    def string(self, text: str) -> str | None:
        """The pattern that is this very text, or the table that holds it."""
        return self._first(lambda item: bool(item.table.lookup(text)) if item.table else item.text.lower() == text.lower())

    def _first(self, matches: Callable[[_Item], bool]) -> str | None:
        for item in self._items:
            if item.missing:
                raise Unreadable(item.missing)
            if matches(item):
                return None if item.negated else shown(item.text, 100)
        return None

    def _by_name(self, item: _Item, name: str) -> bool:
        if item.table is not None:
            return any(item.table.lookup(part) is not None for part in parents_of(name, dotless=self._parents))
        pattern, name = item.text.lower(), name.lower()
        if pattern == name:
            return True
        if self._parents:
            return name.endswith("." + pattern)
        return pattern.startswith(".") and name.endswith(pattern) and len(name) > len(pattern)

    def networks(self) -> Iterator[Network]:
        """Every network that the list names, for those who ask about each."""
        for item in self._items:
            if item.network is not None:
                yield item.network
            elif item.table is not None:
                yield from networks_in(item.table)

    def literals(self) -> Iterator[tuple[str, Network]]:
        """The networks that stand in the list itself, as written, without those that are taken out of it."""
        for item in self._items:
            if item.network is not None and not item.negated:
                yield item.text, item.network

    def tables(self) -> Iterator[Table]:
        """The tables in the list."""
        return (item.table for item in self._items if item.table is not None)

    def texts(self) -> Iterator[str]:
        """The patterns that are names."""
        return (item.text for item in self._items if item.table is None and not item.missing and not item.negated)


def _by_address(item: _Item, address: Address) -> bool:
    if item.network is not None:
        return address in item.network
    return item.table is not None and item.table.lookup(str(address)) is not None


def _is_name(item: _Item) -> bool:
    """Whether a client's name can match: a table with no letters in it holds addresses only."""
    if item.table is not None:
        return names_in(item.table)
    return item.network is None and not item.missing


def names_in(table: Table) -> bool:
    """Whether a table may say something to a name (not only to addresses)."""
    if isinstance(table, Rules):
        return any(rule.network is None for rule in table.rules)
    return not table.keys or any(is_name(key) for key in table.keys)


def is_name(key: str) -> bool:
    """Whether a key is a host's name and not an address or the beginning of one."""
    return not key.replace(".", "").isdigit() and ":" not in key


def networks_in(table: Table) -> Iterator[Network]:
    """The networks that a table can tell apart."""
    if isinstance(table, Rules):
        for rule in table.rules:
            yield from (found.network for found in (rule, *rule.conditions) if found.network is not None)
        return
    for key in table.keys:
        if (network := network_of_key(key)) is not None:
            yield network


def network_of_key(key: str) -> Network | None:
    """``10.1`` in an access table is 10.1.0.0/16."""
    if not key or is_name(key):
        return None
    if ":" in key:
        parts = key.split(":")
        return networks_of(key) or networks_of(key + "::/" + str(16 * len(parts)))
    octets = key.split(".")
    if len(octets) > 4 or not all(octet.isdigit() for octet in octets):
        return None
    return networks_of(".".join([*octets, *["0"] * (4 - len(octets))]) + f"/{8 * len(octets)}")


def parents_of(name: str, *, dotless: bool) -> Iterator[str]:
    """``a.b.c``, then ``b.c`` and ``c``, or ``.b.c`` and ``.c``. An address has no parents."""
    yield name
    if _is_address(name):
        return
    at = name.find(".", 1)
    while at >= 0 and name:
        name = name[at + 1 :] if dotless else name[at:]
        if name:
            yield name
        at = name.find(".", 1)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
