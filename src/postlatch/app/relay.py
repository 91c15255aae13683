"""The relay process: smtp, policy, spool, delivery and the writer in one event loop. Started by the supervisor."""

from __future__ import annotations

import asyncio
import gc
import random
import secrets
import signal
import sqlite3
import sys
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvloop

from postlatch.accounts.mechanisms import MECHANISMS
from postlatch.app import compose
from postlatch.app.answer import BAD_NEWS, UNUSABLE, Answer, CommandError
from postlatch.app.break_ins import BreakIns
from postlatch.app.clock import JUMP, SystemClock
from postlatch.app.commands.destination import load_pauses
from postlatch.app.commands.run import run_command
from postlatch.app.control import serve_control
from postlatch.app.directories import with_directories
from postlatch.app.disk import DiskSpace
from postlatch.app.dmarc_reports import REPORT_HOURS, dmarc_reports_of
from postlatch.app.handover import Handover, received
from postlatch.app.housekeeping import Housekeeping
from postlatch.app.incoming_reports import IncomingReports, report_addresses
from postlatch.app.local import local_port, local_rules, local_socket
from postlatch.app.machine import make_load
from postlatch.app.masking import Masking
from postlatch.app.notices import Notices
from postlatch.app.operator import act_as
from postlatch.app.policy import PolicyRefused
from postlatch.app.privileges import raise_file_limit
from postlatch.app.probe import ProbeResult, probe_all
from postlatch.app.proofs import make_proofs
from postlatch.app.recheck import reason_to_hold
from postlatch.app.reloading import below, read_certificate, take_up
from postlatch.app.report_tap import ReportTap
from postlatch.app.reputation import Reputation
from postlatch.app.self_audit import self_audit_of
from postlatch.app.senders import make_senders
from postlatch.app.signing import make_keys, make_signing
from postlatch.app.supervisor import until_orphaned
from postlatch.app.tls_reports import tls_reports_of
from postlatch.app.way_out import WayOut, make_resolver
from postlatch.app.world import World, open_world
from postlatch.delivery.callout import Callout
from postlatch.delivery.config import DeliveryConfig
from postlatch.delivery.dispatcher import Dispatcher
from postlatch.delivery.pool import SessionPool
from postlatch.delivery.session_setup import connect_directly
from postlatch.journal.logs import configure, flush_log, log_event
from postlatch.journal.read import head
from postlatch.model.address import Address, parse_address
from postlatch.model.envelope import IPAddress, Role
from postlatch.model.events import Event, JsonValue
from postlatch.policy.snapshot import Snapshot
from postlatch.senderauth.results import Authentication
from postlatch.server.connection import ListenerPort
from postlatch.server.listeners import SmtpServer, bound_address
from postlatch.server.refused import Refusals
from postlatch.server.services import Services
from postlatch.server.tls import CertificateError
from postlatch.settings.load import load
from postlatch.settings.problem import SettingsError
from postlatch.store import meta
from postlatch.store.database import StoreError
from postlatch.store.transaction import WriteFailed

DRAIN = 30.0  # seconds for sessions and deliveries to end


class Relay:
    """One run of the relay."""

    def __init__(self, world: World, handover: Handover) -> None:
        self.world = world
        self.settings = world.settings
        self.sockets = handover.sockets()
        self.used_rights: dict[str, float] = {}
        self.disk = DiskSpace(world.settings)
        self.stopping = asyncio.Event()
        self.probes: list[ProbeResult] = []
        self._reloads: set[asyncio.Task[None]] = set()
        self.certificate = read_certificate(world.settings)
        self.ports = {x.name: self._port(x.name, x.role) for x in world.settings.listeners}
        self.handover = handover
        self.bound = [
            (_host(sock.getsockname()[0]), int(sock.getsockname()[1])) for group in self.sockets.values() for sock in group
        ]
        self.addresses = {name: [bound_address(sock) for sock in group] for name, group in self.sockets.items()}
        self.silent = below(world.settings.log.level)
        self.resolver = make_resolver(world.settings, world.clock)
        self.dice = random.Random(secrets.randbits(64))  # noqa: S311  (spreads retries; guards nothing)
        self.notices = self._notices()
        self.break_ins = BreakIns(world, self)
        self._make_reports()
        config = compose.delivery_config(world.settings, self.bound)
        self.way_out = WayOut(self)
        self.pool = SessionPool(world.settings.hostname, world.clock, connect_directly, tls_seen=self.way_out.policies.note)
        self.callout = Callout(config, pool=self.pool, resolver=self.resolver, clock=world.clock, random=self.dice)
        self.signing = make_signing(world, self.record, self.notices.alert)
        self.dkim = make_keys(world, self.resolver, self.signing)
        self.dispatcher = self._dispatcher(config)
        self.services = self._services()
        self.reputation = Reputation(self)
        self.masking = Masking(self)
        self.server = SmtpServer(self.services, {**self.ports, **local_port(handover)})
        self.self_audit = self_audit_of(self)
        world.policy.listeners.append(self._policy_installed)
        world.relay = self

    def _notices(self) -> Notices:
        world = self.world
        return Notices(
            clock=world.clock,
            spool=world.spool,
            limiter=world.limiter,
            snapshot=lambda: world.policy.snapshot,
            submit=self.submit,
            record=self.record,
            wake=self.wake,
            alert_recipients=self._alert_recipients,
        )

    def _make_reports(self) -> None:
        """Those that others send about our domains, and those that we send about theirs."""
        world = self.world
        self.tls_reports = tls_reports_of(self, self.dice.uniform(0, REPORT_HOURS * 3600))
        self.report_addresses = report_addresses(world.settings)
        self.reports = IncomingReports(
            clock=world.clock,
            snapshot=lambda: world.policy.snapshot,
            authserv_id=lambda: world.settings.authentication.authserv_id or world.settings.hostname,
            submit=self.submit,
            record=self.record,
            counters=world.counters,
        )
        self.dmarc_reports = dmarc_reports_of(self, self.dice.uniform(0, REPORT_HOURS * 3600))

    def _dispatcher(self, config: DeliveryConfig) -> Dispatcher:
        world = self.world
        return Dispatcher(
            config,
            spool=ReportTap(world.spool, lambda: self.report_addresses, self.reports.offer),
            pool=self.pool,
            resolver=self.resolver,
            clock=world.clock,
            random=self.dice,
            submit=self.submit,
            notify=self.notices.prepare,
            alert=self.notices.alert,
            classify=world.policy.classify,
            recheck=lambda recipient, message: reason_to_hold(world.policy.snapshot, recipient, message, world.clock.now()),
            signing=self.signing,
            policies=self.way_out.policies,
        )

    def _services(self) -> Services:
        world = self.world
        return Services(
            clock=world.clock,
            snapshot=world.policy.snapshot,
            session=compose.session_limits(self.settings),
            rules=compose.limit_rules(self.settings, world.policy.snapshot.rights),
            limiter=world.limiter,
            bans=world.bans,
            spool=world.spool,
            authenticator=with_directories(self),
            known_recipients=world.known,
            book=world.book,
            submit=self.submit,
            record=self.record,
            count=world.counters,
            callout=self.callout.known,
            wake_delivery=self.wake,
            right_used=self._right_used,
            store_healthy=lambda: world.writer.healthy,
            free_space=self.disk.has_room,
            refusals=Refusals(),
            local=local_rules(self.settings),
            attempts=self.break_ins.attempts,
            load=make_load(self.settings),
            proofs=make_proofs(self.settings, self.resolver, world.clock),
            senders=make_senders(self.settings, self.resolver, world.clock),
            noted=self._noted,
        )

    def _port(self, name: str, role: Role) -> ListenerPort:
        submission = role in {Role.SUBMISSION, Role.SUBMISSIONS}
        context = None if self.certificate is None else self.certificate.for_clients(logging_in=submission)
        proxies = next(x.proxies for x in self.settings.listeners if x.name == name)
        return ListenerPort(name, role, context, role is Role.SUBMISSIONS, MECHANISMS if submission else (), proxies)

    def record(self, event: Event) -> None:
        """An event into the journal and the log."""
        self.world.writer.record(event)
        self._log(event)

    def submit(self, operations: Sequence[Callable[..., Any]], events: Sequence[Event] = ()) -> asyncio.Future[list[Any]]:
        """Operations and their events to the writer; the events to the log as well."""
        for event in events:
            self._log(event)
        return self.world.writer.submit(operations, events)

    def _log(self, event: Event) -> None:
        self.break_ins.hear(event)
        if event.name not in self.silent:
            log_event(event)
        if event.name.startswith("delivery."):
            self.world.counters.inc("postlatch_deliveries_total", (event.name.removeprefix("delivery."),))
        elif event.name == "alert.raised":
            self.world.counters.inc("postlatch_alerts_total", (str(event.fields.get("kind", "relay")),))
        elif event.name == "limit.reached":
            self.world.counters.inc("postlatch_limits_reached_total", (str(event.fields.get("limit", "")),))

    def _noted(self, found: Authentication, client: IPAddress, applied: str, forwarded: bool) -> None:
        """For the reports that the authors' domains get."""
        self.dmarc_reports.note(found, client, applied=applied, reason="trusted_forwarder" if forwarded else "")

    def _right_used(self, name: str, at: float) -> None:
        self.used_rights[name] = at

    def wake(self) -> None:
        """There is new mail in the queue's memory."""
        self.dispatcher.wake()

    def _alert_recipients(self) -> list[Address]:
        return [parse_address(text, smtputf8=True) for text in self.settings.alerts.to]

    def _policy_installed(self, snapshot: Snapshot) -> None:
        world = self.world
        self.services.snapshot = snapshot
        self.services.rules = compose.limit_rules(self.settings, snapshot.rights)
        fields: dict[str, JsonValue] = {"version": snapshot.version, "rights": len(snapshot.rights)}
        self.record(Event("policy.installed", world.now(), fields))
        world.counters.set("postlatch_policy_version", snapshot.version)
        world.counters.set("postlatch_policy_proved_timestamp_seconds", world.policy.proved_at)

    # The run

    async def run(self) -> int:
        """Serve until told to stop; the exit status."""
        world = self.world
        await self._begin()
        control = await serve_control(self.settings.data_dir, self._command)
        await self.server.start({**self.sockets, **local_socket(self.handover)})
        delivery = asyncio.create_task(self.dispatcher.run())
        housekeeping = asyncio.create_task(Housekeeping(self).run())
        probing = asyncio.create_task(probe_all(self))
        reading = asyncio.create_task(self.reports.work())
        self.handover.say_ready()
        await self.stopping.wait()
        probing.cancel()
        await self.server.stop(DRAIN)
        await self.dispatcher.stop(DRAIN / 2)
        await self.reports.drain(DRAIN / 6)
        reading.cancel()
        self.signing.close()
        housekeeping.cancel()
        await asyncio.gather(delivery, housekeeping, probing, reading, return_exceptions=True)
        await self.pool.close()
        control.close()
        self.record(Event("relay.stopped", world.now(), {}))
        last = Housekeeping(self)
        await last.finish()
        await world.submit([meta.end_run(world.run.epoch)])
        await last.finished()
        await world.close()
        return 0

    async def _begin(self) -> None:
        world = self.world
        await self._note_clock()
        clean = world.run.clean
        [report] = await world.submit([world.spool.sweep(world.now(), clean=clean)])
        world.spool.cleanup(report.stray)
        started: dict[str, JsonValue] = {"clean": clean, "epoch": world.run.epoch, "returned": report.returned}
        self.record(Event("relay.started", world.now(), started))
        self._policy_installed(world.policy.snapshot)
        await load_pauses(world)
        await self.dkim.load()
        await self.reputation.load()
        if report.held:
            self.notices.alert(f"{len(report.held)} messages are held: their bodies are missing from the disk")

    async def _note_clock(self) -> None:
        """A clock that was set back while the relay was down: said in the journal, or its order would look forged."""
        last = await self.world.reader.read(head)
        behind = last.at - self.world.now() if last is not None else 0.0
        if behind > JUMP:
            self.record(Event("clock.jumped", self.world.now(), {"seconds": -round(behind, 1), "why": "before this start"}))

    def judge_probe(self, result: ProbeResult) -> None:
        """What a self-probe found, for the journal; an open listener is an alert."""
        trusted = self.world.policy.snapshot.rights_of(result.listener, ip_address("127.0.0.1"))
        if result.result == "open" and trusted:
            # The probe comes from this machine, and somebody has accepted in writing that this machine may relay.
            result = result._replace(result="trusted", reply=f"this machine has the right {trusted[0].name}")
        self.probes.append(result)
        fields: dict[str, JsonValue] = {"listener": result.listener, "result": result.result, "reply": result.reply}
        self.record(Event("relay.probed", self.world.now(), fields))
        if result.result == "open":
            self.notices.alert(f"listener {result.listener} relays for strangers: stop it and run postlatch check", fields)

    async def _command(self, command: str, arguments: dict[str, object], peer: str) -> Answer:
        act_as(peer)
        return await run_command(self.world, command, arguments)

    def recover_claims(self) -> None:
        """After the database was away: what was claimed in a commit that nobody knows the end of becomes due again."""
        self.dispatcher.recover()

    def on_hangup(self) -> None:
        """SIGHUP."""
        task = asyncio.create_task(self.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def reload(self) -> None:
        """Read, judge, install; on any doubt keep what is in force and say why."""
        try:
            async with self.world.changing:
                await take_up(self)
        except (SettingsError, PolicyRefused, CertificateError, CommandError, OSError, ValueError) as error:
            why = str(error)
            self.record(Event("policy.refused", self.world.now(), {"why": why}))
            self.notices.alert("a reload was refused; the old configuration stays in force", {"why": why})


def _host(text: str) -> IPAddress:
    return ip_address(text.partition("%")[0])


async def _main(handover: Handover) -> int:
    settings = load(Path(handover.config))
    configure(settings.log.format, sys.stderr, SystemClock(), gathers=True)
    relay: Relay | None = None

    def store_changed(healthy: bool, reason: str) -> None:
        if relay is not None:
            relay.record(Event("store.recovered" if healthy else "store.failed", relay.world.now(), {"why": reason}))
            relay.notices.alert("the database writes again" if healthy else "the database does not write", {"why": reason})
            if healthy:
                relay.recover_claims()

    world = await open_world(settings, serving=True, on_store_change=store_changed)
    try:
        world.policy.install(world.policy.candidate(), starting=True)
        relay = Relay(world, handover)
    except BaseException:
        await world.close()
        raise
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, relay.stopping.set)
    loop.add_signal_handler(signal.SIGHUP, relay.on_hangup)
    orphaned = loop.create_task(until_orphaned(handover.life))
    orphaned.add_done_callback(lambda _: relay.stopping.set())
    try:
        return await relay.run()
    finally:
        orphaned.cancel()
        flush_log()


def main() -> int:
    """The child's entry point."""
    # The writer needs the interpreter for some microseconds at a time, and often: with Python's default of 5 ms it would wait
    # for the busy loop before each of them, and every commit with it: a tenth of the throughput.
    sys.setswitchinterval(0.0002)
    # What has been loaded so far lives as long as the process: the collector need not look at it again and again.
    gc.freeze()
    # Mail makes many short-lived objects and few cycles: looking for those every 700 objects costs 5 % for nothing.
    gc.set_threshold(50_000, 20, 100)
    raise_file_limit()
    try:
        return uvloop.run(_main(received()))
    except PolicyRefused as error:
        sys.stderr.write(f"{error}\n")
        return BAD_NEWS
    except (SettingsError, StoreError, CertificateError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return UNUSABLE
    except (sqlite3.Error, WriteFailed) as error:
        rescue = "save what can be read with `postlatch salvage`, or put a backup back with `postlatch restore FILE`"
        full = isinstance(error, WriteFailed) and error.disk_full
        advice = "make room on its disk" if full else f"if it is damaged, {rescue}"
        sys.stderr.write(f"the database cannot be used ({error}): {advice}\n")
        return UNUSABLE


if __name__ == "__main__":
    sys.exit(main())
