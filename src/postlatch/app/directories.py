"""Directories at work: made from the settings, their accounts taken up into the policy, and told of when they fail.

What a directory says of a login becomes an account like any other (a row, with the directory as its source), so that the
policy, suspension, limits, the proof and delivery know it by the rules that they have. It is proved before it is stored and
installed, like an account that is added by command: several first logins at once share one proof.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from postlatch.accounts import changes
from postlatch.accounts.authenticator import Authenticator
from postlatch.accounts.directory import Directories, Directory, Down, Entry, Found
from postlatch.accounts.directory_dovecot import DovecotDirectory
from postlatch.accounts.directory_http import HttpDirectory
from postlatch.accounts.directory_ldap import LdapDirectory
from postlatch.accounts.directory_ldap_text import LdapSettings
from postlatch.app.fetch import HttpFetcher
from postlatch.app.ways import read_secret
from postlatch.model.dns import Resolver
from postlatch.model.events import Event
from postlatch.policy.snapshot import Account
from postlatch.settings.directory import DirectorySettings
from postlatch.store.transaction import WriteFailed
from postlatch.store.writer import Operation

if TYPE_CHECKING:
    from postlatch.app.relay import Relay

_AGAIN: Final = 60.0  # seconds between two events about the same trouble
_TOGETHER: Final = 1000  # accounts of one proof
_SLACK: Final = 0.2  # seconds that a helper ends before its question is given up


def with_directories(relay: Relay) -> Authenticator:
    """The authenticator, with the directories of the settings and a way for their accounts into the policy."""
    authenticator = relay.world.authenticator
    authenticator.enrol = Enrolment(relay).enrol
    configure(relay)
    return authenticator


def configure(relay: Relay) -> None:
    """At start and at a reload. OSError if a file with a secret cannot be read, and then nothing has changed."""
    watch = Watch(relay)
    directories = make_directories(relay.settings.directories, relay.resolver, watch.told)
    before, relay.world.authenticator.directories = relay.world.authenticator.directories, directories
    before.close()


def make_directories(
    chosen: Mapping[str, DirectorySettings], resolver: Resolver, told: Callable[[str, str, str], None]
) -> Directories:
    """All of them."""
    return Directories(
        Entry(
            name,
            frozenset(one.domains),
            _make(one, resolver),
            timeout=one.timeout,
            cache_seconds=one.cache_seconds,
            told=told,
        )
        for name, one in chosen.items()
    )


def _make(one: DirectorySettings, resolver: Resolver) -> Directory:
    if one.kind == "ldap":
        return LdapDirectory(ldap_settings(one))
    if one.kind == "dovecot":
        return DovecotDirectory(str(one.socket), len(one.domains))
    token = read_secret(one.token_file)
    return HttpDirectory(one.url, HttpFetcher(resolver), timeout=one.timeout, token=token)


def ldap_settings(one: DirectorySettings) -> LdapSettings:
    """What the helper is told. Without authorities of its own, those of the system: ldap.conf is not read."""
    authorities = str(one.authorities) if one.authorities is not None else ssl.get_default_verify_paths().cafile or ""
    return LdapSettings(
        url=one.url,
        starttls=one.starttls and urlsplit(one.url).scheme == "ldap",
        base=one.base,
        filter=one.filter or "",
        name=one.name or "",
        bind_name=one.bind_name,
        bind_password=read_secret(one.password_file),
        send_as=one.send_as or "",
        authorities=authorities,
        timeout=max(one.timeout - _SLACK, 0.5),
    )


class Watch:
    """Counts answers, and tells people when a directory stops answering, answers again, or lies."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._down: set[str] = set()
        self._told: dict[tuple[str, str], float] = {}

    def told(self, directory: str, outcome: str, why: str) -> None:
        """See ``Told``."""
        self._relay.world.counters.inc("postlatch_directory_answers_total", (directory, outcome))
        if outcome in {"accepted", "refused"}:
            if directory in self._down:
                self._down.discard(directory)
                self._record("directory.recovered", directory, "")
            return
        name = "directory.lied" if outcome == "lied" else "directory.failed"
        first = directory not in self._down
        self._down.add(directory)
        now = self._relay.world.clock.monotonic()
        if first or now - self._told.get((directory, outcome), -_AGAIN) >= _AGAIN:
            self._told[directory, outcome] = now
            self._record(name, directory, why)
            if first or outcome == "lied":
                self._tell(directory, outcome, why)

    def _tell(self, directory: str, outcome: str, why: str) -> None:
        if outcome == "lied":
            self._relay.notices.alert(f"the directory {directory} answers for others than were asked for", {"why": why})
        else:
            self._relay.notices.alert(f"the directory {directory} does not answer: its users cannot log in", {"why": why})

    def _record(self, name: str, directory: str, why: str) -> None:
        self._relay.record(Event(name, self._relay.world.now(), {"directory": directory, "why": why}))


class _Waiting(NamedTuple):
    directory: str
    found: Found
    done: asyncio.Future[None]


class Enrolment:
    """Takes up accounts of directories, as many as wait at once. ``Down`` if that cannot be done now."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def enrol(self, directory: str, found: Found) -> None:
        """Returns when the policy in force knows the account with what was found."""
        waiting = _Waiting(directory, found, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        await waiting.done

    async def _work(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            try:
                async with self._relay.world.changing:
                    await self._take_up({waiting.found.login: waiting for waiting in batch})
            except Exception as error:  # noqa: BLE001  (whatever it is, nobody may wait for ever, and nobody gets in by it)
                why = str(error) if isinstance(error, Down) else f"{type(error).__name__} while an account was taken up"
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_exception(Down(why))
                continue
            for waiting in batch:
                if not waiting.done.done():
                    waiting.done.set_result(None)

    async def _take_up(self, batch: Mapping[str, _Waiting]) -> None:
        world = self._relay.world
        accounts = {login: self._account(waiting) for login, waiting in batch.items()}
        candidate = world.policy.candidate(accounts={**world.book.policy_accounts(), **accounts})
        judgement = await world.policy.judged(candidate)
        if not judgement.may_start:
            self._relay.notices.alert("accounts of a directory were not taken up: the policy would not be closed with them")
            raise Down("the policy would not be closed with this account")
        operations = [self._operation(waiting) for waiting in batch.values()]
        try:
            stored = await world.submit(operations, *(self._event(waiting) for waiting in batch.values()))
        except WriteFailed:
            raise Down("the account could not be stored") from None
        for change in stored:
            world.book.apply(change)
        world.policy.install(candidate, starting=True, judgement=judgement)

    def _account(self, waiting: _Waiting) -> Account:
        record = self._relay.world.book.get(waiting.found.login)
        suspended = record is not None and record.suspended
        own = frozenset({waiting.found.login})
        return Account(waiting.found.login, waiting.found.send_as | own, suspended, source=waiting.directory)

    def _operation(self, waiting: _Waiting) -> Operation[changes.Change]:
        world = self._relay.world
        login, send_as = waiting.found
        return changes.enrol(login, waiting.directory, send_as, world.authenticator.unusable(), world.now())

    def _event(self, waiting: _Waiting) -> Event:
        known = self._relay.world.book.get(waiting.found.login) is not None
        fields = {"account": waiting.found.login, "operator": f"directory {waiting.directory}"}
        return Event("account.changed" if known else "account.added", self._relay.world.now(), {**fields})
