"""What joins the judging of strangers with the rest: settings to rules, tables to disk, lists to alerts; and the command."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from postlatch.app.answer import BAD_NEWS, GOOD, UNUSABLE, Answer
from postlatch.app.clock import SystemClock
from postlatch.app.compose import own_addresses
from postlatch.app.senders import chosen_resolver, chosen_settings
from postlatch.app.world import World
from postlatch.limits.limit import Limit, parse_limit
from postlatch.model.address import Address
from postlatch.model.dns import Resolver
from postlatch.model.envelope import IPAddress
from postlatch.policy.match import lists
from postlatch.policy.networks import unmapped
from postlatch.policy.snapshot import Snapshot
from postlatch.senderauth.reputation.dnsbl import DnsList, examine
from postlatch.senderauth.reputation.names import Ourselves
from postlatch.senderauth.reputation.score import (
    SIGNS,
    Score,
    Weights,
    add_up,
    find_client,
    find_domains,
    find_helo,
    is_public,
)
from postlatch.senderauth.spf.names import to_domain
from postlatch.server import replays
from postlatch.server.greylist import Greylist, GreylistRules
from postlatch.server.replays import Replay, Replays
from postlatch.server.reputation import StrangerRules, Strangers
from postlatch.server.reputation_lists import ListHealth
from postlatch.settings.tree import Settings
from postlatch.store import greylist
from postlatch.store.transaction import WriteFailed
from postlatch.store.writer import Operation

if TYPE_CHECKING:
    from postlatch.app.relay import Relay

_MOST_ACCOUNTS: Final = 20  # of one recipient that are looked at


class Reputation:
    """The parts for one relay: made with it, loaded before it serves, flushed by its housekeeping."""

    def __init__(self, relay: Relay) -> None:
        world = relay.world
        self._relay = relay
        self._world = world
        health = ListHealth(relay.resolver, relay.record, relay.notices.alert, world.counters)
        self.greylist = Greylist(greylist_rules(world.settings))
        knows = Correspondents(world).knows
        self.strangers = Strangers(relay.resolver, world.clock, world.counters, health, self.greylist, knows)
        self.replays = Replays()
        self.configure(world.settings)

    def configure(self, settings: Settings) -> None:
        """Take up another configuration; what was learned stays."""
        self.greylist.rules = greylist_rules(settings)
        self.strangers.use(stranger_rules(settings))
        self.replays.limit = replay_limit(settings)

    async def load(self) -> None:
        """Before anybody is served: what was kept; and let the connections know of all this."""
        most = self.greylist.rules.most
        self.greylist.load(await self._world.reader.read(partial(greylist.load, most=most)))
        services = self._relay.services
        services.strangers, services.replays, services.replayed = self.strangers, self.replays, self._replayed

    def _replayed(self, found: Replay) -> None:
        event = replays.event(found, self._world.now())
        self._relay.record(event)
        self._relay.notices.alert("one signed message comes to more and more recipients", event.fields)

    async def flush(self) -> None:
        """Every few seconds, and at the end: what is new onto the disk."""
        while any(changes := self.greylist.changes()):
            try:
                await self._world.submit([greylist.save(changes)])
            except WriteFailed:
                self.greylist.unwritten(changes)
                raise

    async def look(self) -> None:
        """Every few seconds: test the lists that are due."""
        now = self._world.now()
        await self.strangers.lists.look(now)
        self.greylist.prune(now)

    def pruning(self) -> Operation[int]:
        """The operation that forgets on disk what has lapsed; repeat it until it gives 0."""
        now, rules = self._world.now(), self.greylist.rules
        return greylist.prune(now - rules.window, now - rules.keep)


class Correspondents:
    """To whom the people behind our mailboxes have written: their answers need not wait."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._of: tuple[Snapshot | None, dict[str, tuple[str, ...]]] = (None, {})

    async def knows(self, sender: Address, recipient: Address) -> bool:
        """True if an account that may send as ``recipient`` has written to ``sender``."""
        for login in self._accounts(recipient):
            await self._world.known.load(login)
            if not self._world.known.is_new(login, sender):
                return True
        return False

    def _accounts(self, recipient: Address) -> tuple[str, ...]:
        """Remembered until the policy changes: an office may have many accounts."""
        snapshot = self._world.policy.snapshot
        if self._of[0] is not snapshot or len(self._of[1]) > 10_000:
            self._of = (snapshot, {})
        found = self._of[1].get(recipient.key)
        if found is None:
            accounts = (login for login, account in snapshot.accounts.items() if lists(account.send_as, recipient))
            found = self._of[1][recipient.key] = tuple(login for login, _ in zip(accounts, range(_MOST_ACCOUNTS), strict=False))
        return found


# From settings to rules


def stranger_rules(settings: Settings) -> StrangerRules:
    """The ``[reputation]`` table; nothing where senders are not checked."""
    wanted, checks = settings.reputation, settings.authentication.check
    return StrangerRules(
        score=wanted.check and checks,
        weights=weights(settings),
        ourselves=ourselves(settings),
        mark=wanted.mark,
        exempt=wanted.exempt,
        seconds=wanted.timeout,
        greylist=settings.greylisting.enabled and checks,
    )


def weights(settings: Settings) -> Weights:
    """What each sign weighs."""
    wanted = settings.reputation
    named = tuple(DnsList(one.zone, one.weight, one.kind == "domain", one.codes) for one in wanted.lists)
    return Weights(named, {name: getattr(wanted, name) for name in SIGNS})


def ourselves(settings: Settings) -> Ourselves:
    """Names and addresses that are nobody else's."""
    return Ourselves(frozenset({settings.hostname, *settings.domains}), own_addresses(settings))


def greylist_rules(settings: Settings) -> GreylistRules:
    """The ``[greylisting]`` table."""
    wanted = settings.greylisting
    return GreylistRules(
        delay=wanted.delay,
        window=wanted.window,
        keep=wanted.keep,
        allow_after=wanted.allow_after,
        most=wanted.most,
        least=settings.reputation.greylist if settings.reputation.check else None,
        exempt=wanted.exempt,
        exempt_domains=frozenset(wanted.exempt_domains),
    )


def replay_limit(settings: Settings) -> Limit | None:
    """The limit of ``dkim.replays``."""
    return parse_limit(settings.dkim.replays) if settings.dkim.replays is not None else None


# The command


def reputation(config: Path | None, arguments: Mapping[str, Any]) -> Answer:
    """``postlatch reputation``. It needs no database and no running relay."""
    try:
        return asyncio.run(_reputation(config, dict(arguments)))
    except (OSError, ValueError) as error:
        return Answer(UNUSABLE, {}, str(error))


async def _reputation(config: Path | None, arguments: dict[str, Any]) -> Answer:
    settings = chosen_settings(config)
    resolver = chosen_resolver(arguments, settings, SystemClock())
    client = unmapped(ip_address(arguments["client"]))
    if settings is None:
        raise ValueError("no configuration was found, so nobody knows which lists to ask: give --config FILE")
    if not is_public(client):
        raise ValueError(f"{client} is a private address: nobody is asked about those, and they are not judged")
    began = time.monotonic()
    score, off = await _judge(resolver, settings, client, arguments)
    action = _action(settings, score)
    data = {
        "schema": "postlatch.reputation/1",
        "client": str(client),
        "score": score.total,
        "action": action,
        "checked": settings.reputation.check,
        "reasons": [{"sign": sign.name, "weight": sign.weight, "why": sign.why} for sign in score.signs],
        "lists": [
            {
                "zone": one.zone,
                "about": answer.about,
                "result": str(answer.said),
                "codes": list(answer.codes),
                "why": answer.why,
            }
            for one, answer in score.asked
        ]
        + [{"zone": one.zone, "about": "", "result": "not asked", "codes": [], "why": why} for one, why in off.items()],
        "seconds": round(time.monotonic() - began, 3),
    }
    return Answer(BAD_NEWS if action == "refuse" else GOOD, data)


async def _judge(
    resolver: Resolver, settings: Settings, client: IPAddress, arguments: dict[str, Any]
) -> tuple[Score, dict[DnsList, str]]:
    weighed, seconds, helo = weights(settings), settings.reputation.timeout, str(arguments.get("helo") or "")
    health = await asyncio.gather(*(examine(resolver, one) for one in weighed.lists))
    off = {one: found.why for one, found in zip(weighed.lists, health, strict=True) if not found.usable}
    usable = [one for one in weighed.lists if one not in off]
    texts = (helo, str(arguments.get("mail_from") or "").strip("<>").rpartition("@")[2])
    domains = list(dict.fromkeys(domain for text in texts if text and (domain := to_domain(text))))
    found, heard, named = await asyncio.gather(
        find_client(resolver, weighed, client, usable, seconds),
        find_helo(resolver, weighed if helo else Weights(), helo, client, ourselves(settings), seconds),
        find_domains(resolver, usable, domains, seconds),
    )
    return add_up(weighed, client, found, heard, named), off


def _action(settings: Settings, score: Score) -> str:
    wanted = settings.reputation
    if wanted.refuse is not None and score.total >= wanted.refuse:
        return "refuse"
    greylists = settings.greylisting.enabled and not score.allowed
    if greylists and (wanted.greylist is None or score.total >= wanted.greylist):
        return "greylist"
    return "mark" if score.total >= wanted.mark else "none"
