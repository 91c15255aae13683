"""What a DMARC result means for a message: its author's domain asks, exceptions with an owner and an end may soften it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from postlatch.model.envelope import IPAddress
from postlatch.policy.networks import IPNetwork

NONE, QUARANTINE, REJECT = "none", "quarantine", "reject"
_SEVERITY = {NONE: 0, QUARANTINE: 1, REJECT: 2}


@dataclass(frozen=True, slots=True)
class Override:
    """An exception for mail of some authors' domains that fails: at most ``disposition`` is done.

    ``networks`` empty: whoever sends it. ``expires``: the first second that is too late, UTC.
    """

    name: str
    domains: frozenset[str]
    networks: tuple[IPNetwork, ...]
    disposition: str
    owner: str
    expires: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class DmarcRules:
    """How results are acted on. ``sealers``: ARC sealers that are believed, by domain, until when (UTC)."""

    enforce: bool = True
    overrides: tuple[Override, ...] = ()
    sealers: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A copy behind a proxy: nobody who kept the dictionary can change what has been proved.
        object.__setattr__(self, "sealers", MappingProxyType(dict(self.sealers)))


class DmarcFacts(NamedTuple):
    """What was found out about the author. ``result`` and ``asked`` (a disposition) as in RFC 9989.

    ``sealer`` is the newest ARC sealer, if its chain is whole and it says that DMARC passed when the message reached it.
    ``identity`` is False where the client's address is a proxy's: no override for a network counts then.
    """

    result: str
    asked: str
    from_domain: str
    sealer: str = ""
    identity: bool = True


class Decision(NamedTuple):
    """What is to be done, and why it is that, as a sentence for the journal. ``forwarded``: for a trusted sealer's sake."""

    disposition: str
    why: str
    forwarded: bool = False


def decide_disposition(rules: DmarcRules, facts: DmarcFacts, client: IPAddress, now: float) -> Decision:
    """What is done with a message. It is never more severe than what the author's domain asks for."""
    asked = facts.asked
    if _SEVERITY.get(asked, 0) == 0:
        return Decision(NONE, f"DMARC {facts.result} for {facts.from_domain or 'an unknown author'}")
    because = f"{facts.from_domain} asks to {asked} mail that fails DMARC"
    if not rules.enforce:
        return Decision(NONE, f"{because}; dmarc.enforce is false")
    if facts.sealer and now < rules.sealers.get(facts.sealer, 0.0):
        return Decision(NONE, f"{because}; the trusted sealer {facts.sealer} saw it pass", forwarded=True)
    for override in rules.overrides:
        if _covers(override, facts, client, now) and _SEVERITY[override.disposition] < _SEVERITY[asked]:
            return Decision(override.disposition, f"{because}; the override {override.name} of {override.owner} says otherwise")
    return Decision(asked, because)


def _covers(override: Override, facts: DmarcFacts, client: IPAddress, now: float) -> bool:
    if now >= override.expires or facts.from_domain not in override.domains:
        return False
    return not override.networks or (facts.identity and any(client in network for network in override.networks))
