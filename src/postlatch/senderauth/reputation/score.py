"""What all signs about a stranger come to: a number, with the reason of each part. It is never a reason to accept anything."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any, Final, NamedTuple, TypeVar

from postlatch.model.dns import Resolver
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.reputation import dnsbl
from postlatch.senderauth.reputation.dnsbl import DnsList, ListAnswer, Said
from postlatch.senderauth.reputation.names import Names, Ourselves, judge_helo, looks_dynamic, names_of

T = TypeVar("T")
SIGNS: Final = ("no_ptr", "ptr_mismatch", "ptr_dynamic", "helo_bare", "helo_literal", "helo_own", "helo_unknown")


class Sign(NamedTuple):
    """One part of a score. ``name`` is one of ``SIGNS``, or the zone of a list; ``why`` is printable."""

    name: str
    weight: int
    why: str


@dataclass(frozen=True, slots=True)
class Weights:
    """What each sign weighs, and the lists. ``signs`` by the names of ``SIGNS``; a missing one weighs nothing."""

    lists: tuple[DnsList, ...] = ()
    signs: Mapping[str, int] = field(default_factory=dict)

    def sign(self, name: str, why: str) -> list[Sign]:
        """As a list, which is empty if it weighs nothing."""
        weight = self.signs.get(name, 0)
        return [Sign(name, weight, why)] if weight else []


class Asked(NamedTuple):
    """A list, and what it said."""

    list: DnsList
    answer: ListAnswer


class ClientFound(NamedTuple):
    """What is known of an address alone, whatever it says. ``whole`` False: a look-up failed, so ask again soon."""

    names: Names = Names(known=False)
    asked: tuple[Asked, ...] = ()
    whole: bool = False


class Score(NamedTuple):
    """The sum, and its parts. ``lists`` are zones that list it with a weight above 0; ``allowed``: one with a weight below."""

    total: int
    signs: tuple[Sign, ...]
    lists: tuple[str, ...] = ()
    allowed: bool = False
    asked: tuple[Asked, ...] = ()

    @property
    def why(self) -> str:
        """The parts as one line, for the journal."""
        return "; ".join(f"{sign.name}={sign.weight}" for sign in self.signs)


def is_public(address: IPAddress) -> bool:
    """True for an address that a list may be asked about: private ones are nobody's business, and mean something else there."""
    bad = address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    return not bad and not any(address in network for network in _PRIVATE if network.version == address.version)


_PRIVATE: Final = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "0.0.0.0/8", "fc00::/7"))
)


async def find_client(
    resolver: Resolver, weights: Weights, address: IPAddress, usable: Sequence[DnsList], seconds: float
) -> ClientFound:
    """Ask the lists of addresses in ``usable``, and for the names of the address, all at once and each for so many seconds."""
    lists = [one for one in usable if not one.domains]
    wanted = [name for name in ("no_ptr", "ptr_mismatch", "ptr_dynamic") if weights.signs.get(name)]
    answers, names = await asyncio.gather(
        asyncio.gather(*(_in_time(dnsbl.ask_address(resolver, one, address), seconds, _late(one)) for one in lists)),
        _in_time(names_of(resolver, address) if wanted else _no_names(), seconds, Names(known=False)),
    )
    whole = (names.known or not wanted) and all(answer.said in {Said.LISTED, Said.UNLISTED} for answer in answers)
    return ClientFound(names, tuple(map(Asked, lists, answers)), whole)


async def find_domains(
    resolver: Resolver, usable: Sequence[DnsList], domains: Sequence[str], seconds: float
) -> tuple[Asked, ...]:
    """Ask the lists of domains about each of ``domains``."""
    pairs = [(one, domain) for one in usable if one.domains for domain in domains]
    answers = await asyncio.gather(
        *(_in_time(dnsbl.ask_domain(resolver, one, domain), seconds, _late(one)) for one, domain in pairs)
    )
    return tuple(Asked(one, answer) for (one, _), answer in zip(pairs, answers, strict=True))


async def find_helo(
    resolver: Resolver, weights: Weights, helo: str, address: IPAddress, ourselves: Ourselves, seconds: float
) -> tuple[str, str] | None:
    """What is wrong with the name in EHLO, where that weighs anything."""
    if not any(weights.signs.get(name) for name in SIGNS if name.startswith("helo_")):
        return None
    return await _in_time(judge_helo(resolver, helo, address, ourselves), seconds, None)


def add_up(
    weights: Weights, address: IPAddress, client: ClientFound, helo: tuple[str, str] | None, domains: Sequence[Asked] = ()
) -> Score:
    """The score. A list counts once, however many of a client's names it has."""
    signs = _names(weights, address, client.names)
    if helo is not None:
        signs += weights.sign(*helo)
    found: dict[DnsList, Sign] = {}
    for one, answer in (*client.asked, *domains):
        if answer.said is Said.LISTED and one not in found:
            said = f": {answer.text}" if answer.text else ""
            found[one] = Sign(one.zone, one.weight, f"{one.zone} lists {answer.about} ({', '.join(answer.codes)}){said}")
    signs += found.values()
    blocking = tuple(dict.fromkeys(one.zone for one in found if one.weight > 0))
    return Score(
        sum(sign.weight for sign in signs),
        tuple(signs),
        blocking,
        any(one.weight < 0 for one in found),
        (*client.asked, *domains),
    )


def _names(weights: Weights, address: IPAddress, names: Names) -> list[Sign]:
    if not names.known:
        return []
    if not names.claimed:
        return weights.sign("no_ptr", "the address has no name in the DNS")
    if not names.confirmed:
        return weights.sign("ptr_mismatch", f"its name {names.claimed[0]} does not lead back to the address")
    if all(looks_dynamic(name, address) for name in names.confirmed):
        return weights.sign("ptr_dynamic", f"its name {names.confirmed[0]} looks like one of a whole range")
    return []


async def _in_time(work: Coroutine[Any, Any, T], seconds: float, otherwise: T) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        return otherwise


def _late(one: DnsList) -> ListAnswer:
    return ListAnswer(Said.UNKNOWN, why=f"{one.zone} did not answer in time")


async def _no_names() -> Names:
    return Names(known=False)
