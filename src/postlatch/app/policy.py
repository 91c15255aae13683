"""The policy in force: built from settings and database, judged, and only then installed, whoever asked for the change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from postlatch.accounts.book import AccountBook
from postlatch.app import compose, rights
from postlatch.app.interfaces import container_gateways
from postlatch.app.masks import Mask
from postlatch.app.masks import suspended as masked_rights
from postlatch.app.public_suffix import is_public_suffix
from postlatch.model.address import parse_address
from postlatch.model.clock import Clock
from postlatch.model.envelope import Destination
from postlatch.policy.danger import Danger, DangerContext, dangers
from postlatch.policy.prove import examine
from postlatch.policy.sending import Delegation
from postlatch.policy.snapshot import Account, Right, Snapshot
from postlatch.settings.problem import Problem
from postlatch.settings.tree import Settings
from postlatch.store.rights import StoredRight

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found against a snapshot. ``lapsed`` are dangers that stop a reload and a new right, but never a start."""

    counterexamples: tuple[str, ...] = ()
    fatal: tuple[Problem, ...] = ()
    lapsed: tuple[Problem, ...] = ()
    classes: int = 0

    @property
    def closed(self) -> bool:
        """Nothing at all speaks against it."""
        return not (self.counterexamples or self.fatal or self.lapsed)

    @property
    def may_start(self) -> bool:
        """Only what has lapsed speaks against it."""
        return not (self.counterexamples or self.fatal)

    def first(self) -> str:
        """The first thing that is wrong, as a sentence."""
        for problem in (*self.fatal, *self.lapsed):
            return str(problem)
        return self.counterexamples[0] if self.counterexamples else ""


class PolicyRefused(Exception):
    """A snapshot that must not be installed."""

    def __init__(self, judgement: Judgement) -> None:
        super().__init__(judgement.first())
        self.judgement = judgement


@dataclass(slots=True)
class PolicyHolder:
    """Holds what the policy is made from and the snapshot in force. ``installed`` is called with each new snapshot."""

    settings: Settings
    book: AccountBook
    clock: Clock
    stored: list[StoredRight] = field(default_factory=list)
    suspended: frozenset[str] = frozenset()
    masks: tuple[Mask, ...] = ()
    delegations: Sequence[Delegation] = ()
    proved_at: float = 0.0
    listeners: list[Callable[[Snapshot], None]] = field(default_factory=list)
    _version: int = 0
    _snapshot: Snapshot | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The policy in force; RuntimeError before the first."""
        if self._snapshot is None:
            raise RuntimeError("no policy is installed yet")
        return self._snapshot

    def classify(self, domain: str) -> Destination:
        """Whose domain this is, by the policy in force at each call."""
        return self.snapshot.classify(domain)

    def candidate(
        self,
        *,
        settings: Settings | None = None,
        stored: Iterable[StoredRight] | None = None,
        extra: Sequence[Right] = (),
        suspended: frozenset[str] | None = None,
        masks: tuple[Mask, ...] | None = None,
        accounts: Mapping[str, Account] | None = None,
        delegations: Sequence[Delegation] | None = None,
    ) -> Snapshot:
        """A snapshot as it would be with these changes."""
        commanded = [rights.decode(row) for row in (self.stored if stored is None else stored)]
        configured = [compose.configured_right(right) for right in (settings or self.settings).rights]
        masked = masked_rights(self.masks if masks is None else masks, [*configured, *commanded, *extra])
        return compose.snapshot(
            settings or self.settings,
            [*commanded, *extra],
            self.book.policy_accounts() if accounts is None else accounts,
            self._version + 1,
            (self.suspended if suspended is None else suspended) | masked,
            self.delegations if delegations is None else delegations,
        )

    def judge(self, snapshot: Snapshot, settings: Settings | None = None) -> Judgement:
        """Dangers and counterexamples of a snapshot."""
        return judge(settings or self.settings, snapshot, self.clock.now())

    def install(self, snapshot: Snapshot, *, starting: bool = False, judgement: Judgement | None = None) -> None:
        """Judge it (unless that was done just now) and put it in force; PolicyRefused leaves the old one."""
        found = judgement or self.judge(snapshot)
        if not (found.closed or (starting and found.may_start)):
            raise PolicyRefused(found)
        self.proved_at = self.clock.now()
        self._put(snapshot)

    async def narrow(self, candidate: Snapshot) -> Judgement:
        """Put in force a snapshot that allows less than the one in force, and return what is wrong with it all the same.

        The proof can fail for something that was so before, such as a container bridge that the host has got meanwhile. That
        must not keep a revoked right or a suspended account alive.
        """
        found = await self.judged(candidate)
        if found.may_start:
            self.install(candidate, starting=True, judgement=found)
        else:
            self._put(candidate)
        return found

    def _put(self, snapshot: Snapshot) -> None:
        self._version = snapshot.version
        self._snapshot = snapshot
        for tell in self.listeners:
            tell(snapshot)

    def force(self, snapshot: Snapshot) -> None:
        """Hold a snapshot that was refused, for commands that look or take rights away. Nothing serves it."""
        self._snapshot = snapshot

    async def judged(self, snapshot: Snapshot, settings: Settings | None = None) -> Judgement:
        """``judge`` in a thread: a proof takes up to half a second, and mail flows on meanwhile."""
        return await asyncio.to_thread(self.judge, snapshot, settings)


def judge(settings: Settings, snapshot: Snapshot, now: float) -> Judgement:
    """Run the prover and look for named dangers."""
    found = dangers(snapshot, _context(settings, now))
    proof = examine(snapshot, now)
    return Judgement(
        counterexamples=tuple(proof.counterexamples),
        classes=proof.classes,
        fatal=tuple(_problem(settings, danger) for danger in found if danger.fatal_at_start),
        lapsed=tuple(_problem(settings, danger) for danger in found if not danger.fatal_at_start),
    )


def _problem(settings: Settings, danger: Danger) -> Problem:
    table, _, rest = danger.key.partition(".")
    if table == "rights" and not any(rest.startswith(f"{right.name}.") or rest == right.name for right in settings.rights):
        return Problem("", danger.key, None, danger.message, danger=True)  # a right made by command: it stands in no file
    return settings.problem(danger.key, danger.message, danger=True)


def _context(settings: Settings, now: float) -> DangerContext:
    return DangerContext(
        now=now,
        tls_certificate=settings.tls is not None,
        smarthost_username=settings.outbound.username is not None,
        smarthost_tls=settings.outbound.tls,
        proxies={listener.name: listener.proxies for listener in settings.listeners},
        listener_addresses={listener.name: listener.address for listener in settings.listeners},
        alert_recipients=tuple(parse_address(text, smtputf8=True) for text in settings.alerts.to),
        domain_names=(*(domain.raw_name for domain in settings.domains.values()), *settings.relay_domains),
        container_gateways=container_gateways(),
        is_public_suffix=is_public_suffix,
    )
