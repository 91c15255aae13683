"""The part of the proof about reputation: a bad one is refused where that is asked for, and the best one opens nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address
from typing import NamedTuple

from postlatch.model.envelope import Client, IPAddress, Role
from postlatch.model.verdict import Defer, Refuse
from postlatch.policy import cases, expect, forms
from postlatch.policy.decide import AcceptRecipient
from postlatch.policy.facts import RecipientFacts
from postlatch.policy.parties import Target
from postlatch.policy.reputation import Standing
from postlatch.policy.snapshot import Listener, Snapshot

_BEST, _WORST = -1_000_000, 1_000_000
_PORT = 40000
_MORE: tuple[IPAddress, ...] = tuple(map(ip_address, ("192.0.2.77", "203.0.113.77", "100.64.0.77", "2001:db8:77::77")))

DecideRecipient = Callable[[RecipientFacts], Refuse | Defer | AcceptRecipient]


class StandingFaults(NamedTuple):
    """``sentences`` by a key, one of a kind; ``classes``: how many attempts were judged."""

    sentences: dict[object, str]
    classes: int


def standing_faults(
    snapshot: Snapshot, now: float, listener: Listener, decide: DecideRecipient, targets: Iterable[Target]
) -> StandingFaults:
    """A stranger with every kind of standing to each target, on one listener."""
    sender = forms.parsed(f"{cases.USER}@{cases.foreign_domain(snapshot)}")
    found: dict[object, str] = {}
    classes = 0
    stranger = _stranger(snapshot, listener)
    if stranger is None:
        return StandingFaults(found, classes)
    for target in targets:
        for standing in _standings(snapshot, now):
            classes += 1
            facts = RecipientFacts(
                snapshot,
                listener.name,
                Client(stranger, _PORT),
                now,
                True,
                None,
                sender,
                target.address,
                object(),
                target.known,
                standing=standing,
            )
            if not isinstance(decide(facts), AcceptRecipient):
                continue
            if against := _against(snapshot, listener, target, standing):
                whom = f"{stranger}, with a score of {standing.score}, could send to {target.address}"
                why = f"listener {listener.name} does not heed it: {against}"
                found.setdefault((listener.name, against), f"{whom} because {why}")
    return StandingFaults(found, classes)


def _stranger(snapshot: Snapshot, listener: Listener) -> IPAddress | None:
    """An address for which no right answers; None where rights answer for every one of them, which is judged elsewhere."""
    held = [network for right in snapshot.rights if listener.name in right.listeners for network in right.networks]
    strangers = (*cases.STRANGERS[:2], *_MORE)
    return next((one for one in strangers if not any(one in network for network in held)), None)


def _standings(snapshot: Snapshot, now: float) -> Iterator[Standing]:
    yield Standing(_BEST)
    yield Standing(0, greylisted_until=now + 60)
    if snapshot.reputation.refuse is not None:
        yield Standing(snapshot.reputation.refuse)
        yield Standing(_WORST)


def _against(snapshot: Snapshot, listener: Listener, target: Target, standing: Standing) -> str:
    nobody = expect.Voices((), "nobody answers for it")
    pairs, against = expect.permitted(listener.role, nobody, target.place, target.address)
    if not pairs:
        return against
    if listener.role is not Role.MX:
        return ""
    greylisted = standing.greylisted_until is not None
    return expect.standing_against(snapshot, target.address, standing.score, greylisted=greylisted)
