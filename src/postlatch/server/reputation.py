"""Strangers on ``mx``: what is known of them is found out beside the connection, and told to the policy at RCPT.

Nothing is asked for clients with a private address, with a right, or that are exempt; nor for recipients that are
refused anyway. What the DNS does not answer in time weighs nothing.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from postlatch.model.address import Address
from postlatch.model.clock import Clock
from postlatch.model.dns import Resolver
from postlatch.model.envelope import IPAddress, Role
from postlatch.model.events import JsonValue
from postlatch.policy.aliases import is_postmaster
from postlatch.policy.networks import IPNetwork
from postlatch.policy.reputation import Standing
from postlatch.senderauth.authres_forged import without
from postlatch.senderauth.check import MessageCheck
from postlatch.senderauth.reputation.names import Ourselves
from postlatch.senderauth.reputation.score import (
    ClientFound,
    Score,
    Weights,
    add_up,
    find_client,
    find_domains,
    find_helo,
    is_public,
)
from postlatch.senderauth.results import Result
from postlatch.senderauth.spf.names import to_domain
from postlatch.server.greylist import Greylist, group_of
from postlatch.server.metering import Count
from postlatch.server.reputation_lists import ListHealth

if TYPE_CHECKING:
    from postlatch.server.connection import Connection
    from postlatch.server.services import Services
    from postlatch.server.transaction import Transaction

KEPT: Final = 300.0  # seconds for which an address's lists and names are remembered…
KEPT_PART: Final = 20.0  # …and if some did not answer
MAX_CLIENTS: Final = 20_000
_FIELD: Final = b"x-postlatch-score"
BeginCheck = Callable[[Address | None], MessageCheck | None]
Knows = Callable[[Address, Address], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class StrangerRules:
    """The ``[reputation]`` table. ``mark``: the score from which on mail is marked; ``seconds`` for a look-up."""

    score: bool = False
    weights: Weights = field(default_factory=Weights)
    ourselves: Ourselves = field(default_factory=Ourselves)
    mark: int = 3
    exempt: tuple[IPNetwork, ...] = ()
    seconds: float = 5.0
    greylist: bool = False


class _Known(NamedTuple):
    task: asyncio.Task[ClientFound]
    until: float


class Strangers:
    """One object a relay. ``rules`` may be replaced. ``knows(sender, recipient)``: has the recipient written to the sender?"""

    def __init__(
        self, resolver: Resolver, clock: Clock, count: Count, lists: ListHealth, greylist: Greylist, knows: Knows
    ) -> None:
        self._resolver = resolver
        self._clock = clock
        self._count = count
        self._knows = knows
        self._clients: OrderedDict[IPAddress, _Known] = OrderedDict()
        self.lists = lists
        self.greylist = greylist
        self.rules = StrangerRules()

    def use(self, rules: StrangerRules) -> None:
        """Judge by these from now on."""
        self.rules = rules
        self._clients.clear()
        self.lists.use(rules.weights.lists if rules.score else ())

    def judges(self, connection: Connection) -> bool:
        """True for a stranger on ``mx`` who is to be judged."""
        if not (self.rules.score or self.rules.greylist) or connection.port.role is not Role.MX or not connection.identity:
            return False
        client = connection.client.address
        if not is_public(client) or _is_in(client, self.rules.exempt):
            return False
        snapshot = connection.services.snapshot
        return not any(snapshot.rights_of(name, client) for name in snapshot.listeners)

    async def judge(self, connection: Connection, transaction: Transaction, recipient: Address) -> Standing:
        """How the client stands, with this recipient."""
        begin_check = connection.mail.begin_check  # now: the client may be gone when it is needed
        if self.rules.score and transaction.score is None:
            transaction.score = await self._score(connection.client.address, transaction)
        score = transaction.score
        standing = Standing() if score is None else Standing(score.total, score.why, score.lists)
        refuse = connection.services.snapshot.reputation.refuse
        refused = refuse is not None and standing.score >= refuse
        if not self.rules.greylist or refused or is_postmaster(connection.services.snapshot, recipient):
            return standing
        until = await self._greylisted(connection.client.address, transaction, recipient, begin_check)
        return standing._replace(greylisted_until=until)

    async def _score(self, client: IPAddress, transaction: Transaction) -> Score:
        rules, usable = self.rules, self.lists.usable()
        helo = transaction.origin.helo
        found, heard, domains = await asyncio.gather(
            self._client(client),
            find_helo(self._resolver, rules.weights, helo, client, rules.ourselves, rules.seconds),
            find_domains(self._resolver, usable, _domains(transaction, rules.ourselves), rules.seconds),
        )
        self.lists.note(domains, self._clock.now())
        # A list that turned out to be out of order meanwhile counts no more.
        left = set(self.lists.usable())
        found = found._replace(asked=tuple(asked for asked in found.asked if asked.list in left))
        return add_up(rules.weights, client, found, heard, [asked for asked in domains if asked.list in left])

    async def _client(self, client: IPAddress) -> ClientFound:
        """What is known of an address; all who ask for it at the same time wait for the same answer."""
        now = self._clock.now()
        known = self._clients.get(client)
        if known is None or not now < known.until <= now + KEPT:
            work = find_client(self._resolver, self.rules.weights, client, self.lists.usable(), self.rules.seconds)
            known = _Known(asyncio.get_running_loop().create_task(work), now + KEPT)
            self._clients[client] = known
            while len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)
            known.task.add_done_callback(lambda task: self._found(client, task))
        self._clients.move_to_end(client)
        return await asyncio.shield(known.task)

    def _found(self, client: IPAddress, task: asyncio.Task[ClientFound]) -> None:
        whole = not task.cancelled() and task.exception() is None and task.result().whole
        if not task.cancelled() and task.exception() is None:
            self.lists.note(task.result().asked, self._clock.now())
        if not whole and (known := self._clients.get(client)) is not None and known.task is task:
            self._clients[client] = known._replace(until=self._clock.now() + KEPT_PART)

    # Greylisting

    async def _greylisted(
        self, client: IPAddress, transaction: Transaction, recipient: Address, begin_check: BeginCheck
    ) -> float | None:
        rules, score = self.greylist.rules, transaction.score
        if rules.least is not None and score is not None and score.total < rules.least:
            return None
        if _is_in(client, rules.exempt) or (score is not None and score.allowed):
            return self._counted("exempt", None)
        domain = await self._spf_domain(transaction, begin_check)
        sender = transaction.sender
        if domain and sender is not None and (domain in rules.exempt_domains or await self._knows(sender, recipient)):
            return self._counted("exempt", None)
        until = self.greylist.judge(group_of(client, domain), sender, recipient, self._clock.now())
        return self._counted("passed" if until is None else "deferred", until)

    async def _spf_domain(self, transaction: Transaction, begin_check: BeginCheck) -> str:
        """The domain of MAIL FROM, if SPF passes for it. It is the check of the message, begun earlier."""
        if transaction.sender is None:
            return ""
        if transaction.check is None:
            transaction.check = begin_check(transaction.sender)
        if transaction.check is None:
            return ""
        try:
            async with asyncio.timeout(self.rules.seconds):
                found = await asyncio.shield(transaction.check.start())
        except TimeoutError:
            return ""
        return found.domain if found.result is Result.PASS and found.scope == "mfrom" else ""

    def _counted(self, result: str, until: float | None) -> float | None:
        self._count.inc("postlatch_greylist_total", (result,))
        return until


def _domains(transaction: Transaction, ourselves: Ourselves) -> list[str]:
    """What lists of domains are asked for: the name in EHLO and the sender's domain, if they could be somebody's."""
    sender = transaction.sender.domain if transaction.sender is not None else ""
    found = (to_domain(text) for text in (transaction.origin.helo, sender) if text)
    return list(dict.fromkeys(domain for domain in found if domain and domain not in ourselves.names))


def _is_in(client: IPAddress, networks: tuple[IPNetwork, ...]) -> bool:
    return any(client in network for network in networks if network.version == client.version)


# What a connection calls


def judges(connection: Connection) -> bool:
    """True if somebody is to be judged before a recipient of this connection is accepted."""
    strangers = connection.services.strangers
    return strangers is not None and strangers.judges(connection)


async def judge(connection: Connection, recipient: Address) -> None:
    """Find out how the client stands, if it is to be judged."""
    strangers, transaction = connection.services.strangers, connection.mail.transaction
    if strangers is not None and transaction is not None and strangers.judges(connection):
        transaction.standing = recipient, await strangers.judge(connection, transaction, recipient)


def standing_of(transaction: Transaction | None, recipient: Address) -> Standing | None:
    """What was found out for this recipient; None if nothing was."""
    if transaction is None or transaction.standing is None or transaction.standing[0] is not recipient:
        return None
    return transaction.standing[1]


def strip(services: Services, block: bytes) -> bytes:
    """A stranger's header block without fields that claim to be our score."""
    strangers = services.strangers
    return without(block, _FIELD) if strangers is not None and strangers.rules.score else block


def mark(services: Services, transaction: Transaction) -> bytes:
    """The field with the score, if it is high enough to be told. ASCII: the parts are names of ours."""
    score, strangers = transaction.score, services.strangers
    if score is None or strangers is None or score.total < strangers.rules.mark:
        return b""
    parts = ";\r\n\t".join(f"{sign.name}={sign.weight}" for sign in score.signs)
    return f"X-Postlatch-Score: {score.total}\r\n\t{parts}\r\n".encode("ascii") if parts else b"X-Postlatch-Score: 0\r\n"


def journalled(transaction: Transaction) -> dict[str, JsonValue]:
    """The fields of the journal: the score, and the reason of each part."""
    score = transaction.score
    return {} if score is None else {"score": score.total, "signs": [f"{s.name}={s.weight}: {s.why}" for s in score.signs]}
