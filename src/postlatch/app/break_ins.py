"""Joins the folds over attempts with the session, the bans and the database: what they find out becomes rows and alerts."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from postlatch.app.interfaces import local_addresses
from postlatch.model.envelope import IPAddress
from postlatch.model.events import Event, JsonValue
from postlatch.monitor.attempts import Attempts as AttemptFold
from postlatch.monitor.attempts import Finding
from postlatch.monitor.circles import IPNetwork, client_network
from postlatch.policy.replies import rfc3339
from postlatch.server.attempts import Attempts
from postlatch.server.local_rules import CLIENT as LOCAL_CLIENT
from postlatch.store import bans, known_clients
from postlatch.store.known_clients import KnownClient
from postlatch.store.transaction import WriteFailed
from postlatch.store.writer import Operation

if TYPE_CHECKING:
    from postlatch.app.relay import Relay
    from postlatch.app.world import World

PROBES: Final = frozenset({"relay", "foreign on mx", "recipient known"})  # rules
_LONGEST_LOGIN: Final = 320
_QUIET: Final = 600.0  # seconds between two alerts of one spray


class BreakIns:
    """The ``Watcher`` of the server. Of the loop's thread; writing is left to the writer, and nothing waits for it."""

    def __init__(self, world: World, relay: Relay) -> None:
        self._world = world
        self._relay = relay
        self._book = world.ban_book
        chosen = world.settings.bans
        self.attempts = Attempts(self, slowest=chosen.slowest, waiting=chosen.waiting)
        self._key = secrets.token_bytes(32)  # of this process: what is held could be tried out nowhere else
        self._fold = AttemptFold(self._book.rules)
        self._hitting = False
        self._told_of_spray = -_QUIET

    # What the server asks and tells (``server.attempts.Watcher``)

    def known(self, login: str, address: IPAddress) -> bool:
        """Did this login log in from there lately?"""
        return self._book.known.knows(_bounded(login), client_network(address), self._world.now())

    def somebody_known(self, address: IPAddress) -> bool:
        """Did anybody log in from there lately?"""
        return self._book.known.at(client_network(address), self._world.now()) is not None

    def failed(self, login: str, password: str | None, address: IPAddress) -> int:
        """A login failed: count it, ban who is found out. How often the wait for the answer is to be doubled."""
        login, digest, now = _bounded(login), self._digest(password), self._world.now()
        for finding in self._fold.failed(login, address, digest, now):
            self._act(finding)
        if self.known(login, address):
            if self._fold.failed_at_home(login, address, digest, now):
                self._distrust(login, address)
            return 0
        self._fold.failed_abroad(login, digest, now)
        return self._fold.doublings(login, now)

    def pressed(self, address: IPAddress) -> None:
        """A login was refused unheard, because too many failed from there."""
        for finding in self._fold.pressed(address, self._world.now()):
            self._act(finding)

    def refused(self, rule: str, address: IPAddress) -> None:
        """A recipient was refused for good."""
        if rule in PROBES:
            for finding in self._fold.probed(address, self._world.now()):
                self._act(finding)

    # What is heard of the journal

    def hear(self, event: Event) -> None:
        """An event that is being recorded."""
        fields = event.fields
        if fields.get("client") == LOCAL_CLIENT:  # a program of this machine: it has no address
            return
        if event.name == "auth.succeeded":
            self.succeeded(str(fields["account"]), ip_address(str(fields["client"])))
        elif event.name == "message.accepted" and isinstance(fields["recipient"], list):
            self.accepted(ip_address(str(fields["client"])), len(fields["recipient"]))
        elif event.name == "account.deleted":
            self.account_gone(str(fields["account"]))

    def succeeded(self, login: str, address: IPAddress) -> None:
        """A login succeeded: from now on it is known there."""
        record = self._world.book.get(login)
        generation = record.generation if record is not None else 0
        self._book.known.saw(_bounded(login), client_network(address), generation, self._world.now())

    def accepted(self, address: IPAddress, recipients: int) -> None:
        """Mail was taken from there."""
        self._fold.accepted(address, recipients)

    def account_gone(self, login: str) -> None:
        """An account was deleted: nobody is it any more."""
        self._book.known.forget(login)
        self._write(known_clients.forget(login))

    # By the clock

    def reload(self) -> None:
        """The settings have changed. What was counted is counted anew."""
        chosen = self._world.settings.bans
        self._book.configure(self._world.settings)
        self.attempts.slowest, self.attempts.most_waiting = chosen.slowest, chosen.waiting
        self._fold = AttemptFold(self._book.rules)

    async def every_ten_seconds(self) -> None:
        """Keep who has become known; look at this machine's addresses."""
        self._book.allow.renew(local_addresses())
        self._world.counters.set("postlatch_bans", len(self._book.bans))
        self._world.counters.set("postlatch_auth_waiting", self.attempts.waiting)
        if logins := self._book.known.unsaved():
            rows = [KnownClient(entry.login, str(entry.client), entry.generation, entry.seen_at) for entry in logins]
            await self._world.submit([known_clients.save(rows)])

    async def every_minute(self) -> None:
        """Forget what has run out."""
        self._book.lapse()
        now = self._world.now()
        await self._world.submit([bans.prune(now), known_clients.prune(now - self._book.known.lifetime)])

    # What comes of it

    def _act(self, finding: Finding) -> None:
        if not self._world.settings.bans.automatic:
            return
        banned = 0
        for network in finding.networks:
            refused = self._book.refusal(network)
            if refused is None:
                banned += self._ban(network, finding)
            elif finding.instead:
                banned += sum(self._ban(part, finding) for part in finding.instead if self._book.refusal(part) is None)
            else:
                self._refuse(network, finding, refused)
        now = self._world.now()
        if finding.kind == "spray" and banned and not 0 <= now - self._told_of_spray < _QUIET:
            self._told_of_spray = now
            fields: dict[str, JsonValue] = {"why": finding.why, "networks": banned}
            self._relay.notices.alert("somebody tries the same passwords at many accounts", fields)

    def _ban(self, network: IPNetwork, finding: Finding) -> int:
        ban = self._book.sentence(network, finding.kind, finding.why)
        if ban is None:
            return 0
        assert ban.until is not None
        fields: dict[str, JsonValue] = {
            "client": ban.network,
            "why": ban.reason,
            "kind": ban.kind,
            "until": rfc3339(ban.until),
            "strikes": ban.strikes,
        }
        self._world.counters.inc("postlatch_bans_total", (ban.kind,))
        self._write(bans.add(ban), Event("ban.added", ban.created_at, fields))
        # Not now: the session whose failure this is stands in the middle of its answer.
        if not self._hitting:
            self._hitting = True
            asyncio.get_running_loop().call_soon(self._hit)
        return 1

    def _hit(self) -> None:
        self._hitting = False
        self._relay.server.end_banned()

    def _refuse(self, network: IPNetwork, finding: Finding, why: str) -> None:
        fields: dict[str, JsonValue] = {"client": str(network), "kind": finding.kind, "why": f"{finding.why}; {why}"}
        self._world.counters.inc("postlatch_bans_refused_total", (finding.kind,))
        self._relay.record(Event("ban.refused", self._world.now(), fields))

    def _distrust(self, login: str, address: IPAddress) -> None:
        client = client_network(address)
        self._book.known.forget(login, client)
        self._write(known_clients.forget(login, str(client)))
        fields: dict[str, JsonValue] = {"account": login, "client": str(address)}
        self._relay.notices.alert(
            "somebody guesses the password of an account from an address where it logged in lately", fields
        )

    def _digest(self, password: str | None) -> bytes | None:
        if password is None:
            return None
        return hmac.digest(self._key, password.encode("utf-8", "surrogatepass"), "sha256")[:16]

    def _write(self, operation: Operation[None], *events: Event) -> None:
        future = self._relay.submit([operation], events)
        future.add_done_callback(_seen)


def _seen(future: asyncio.Future[list[Any]]) -> None:
    """The ban holds in memory; that the store fails is told by the writer."""
    if not future.cancelled() and (error := future.exception()) is not None and not isinstance(error, WriteFailed):
        raise error


def _bounded(login: str) -> str:
    """What a stranger calls itself may be long, and is kept."""
    if len(login) <= _LONGEST_LOGIN:
        return login
    return hashlib.sha256(login.encode("utf-8", "surrogatepass")).hexdigest()
