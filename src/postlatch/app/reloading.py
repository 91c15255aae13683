"""What SIGHUP does: the file is read, judged and installed as a whole, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from postlatch.app import compose, directories
from postlatch.app.check import unusable
from postlatch.app.incoming_reports import report_addresses
from postlatch.app.local import local_rules
from postlatch.app.machine import caps, overload_rules
from postlatch.app.policy import PolicyRefused
from postlatch.app.proofs import make_proofs
from postlatch.app.senders import make_senders
from postlatch.journal.logs import LEVELS
from postlatch.model.events import EVENTS
from postlatch.server.tls import WatchedCertificate
from postlatch.settings.load import load
from postlatch.settings.problem import SettingsError
from postlatch.settings.tree import Settings

if TYPE_CHECKING:
    from postlatch.app.relay import Relay

_LEVELS = ("debug", "info", "warning", "error")


async def take_up(relay: Relay) -> None:
    """Install the configuration as the file says now. Raises what speaks against it, and changes nothing then."""
    world = relay.world
    settings = load(Path(relay.handover.config))
    if broken := unusable(settings):
        raise SettingsError(broken)
    if (fixed := changed_without_restart(relay.settings, settings)) is not None:
        raise ValueError(f"{fixed} cannot change while the relay runs: restart it")
    certificate = read_certificate(settings)
    candidate = world.policy.candidate(settings=settings)
    judgement = await world.policy.judged(candidate, settings)
    config = compose.delivery_config(settings, relay.bound)
    if not judgement.closed:
        raise PolicyRefused(judgement)
    relay.settings = world.settings = world.policy.settings = settings
    if certificate is not None and relay.certificate is not None:
        relay.certificate.replace(certificate)
    relay.services.session = compose.session_limits(settings)
    relay.services.local = local_rules(settings)
    relay.services.senders = make_senders(settings, relay.resolver, relay.world.clock)
    relay.services.proofs = make_proofs(settings, relay.resolver, relay.world.clock)
    directories.configure(relay)
    relay.break_ins.reload()
    relay.reputation.configure(settings)
    relay.services.load.configure(overload_rules(settings), caps(settings))
    relay.disk.configure(settings)
    relay.report_addresses = report_addresses(settings)
    relay.silent = below(settings.log.level)
    world.policy.install(candidate, judgement=judgement)
    relay.way_out.reload()
    relay.dispatcher.reload(config)
    await relay.dkim.refresh()
    relay.callout.reload(config)


def below(level: str) -> frozenset[str]:
    """The events that are less serious than ``level``."""
    least = _LEVELS.index(level)
    return frozenset(name for name in EVENTS if _LEVELS.index(LEVELS.get(name, "info")) < least)


def changed_without_restart(old: Settings, new: Settings) -> str | None:
    """The first key that a reload cannot change. Sockets are bound, and the user is chosen, before root is given up."""
    for key in ("listeners", "data_dir", "store", "user", "http", "accounts"):
        if getattr(old, key) != getattr(new, key):
            return key
    for key in ("resolver", "dnssec"):
        if getattr(old.outbound, key) != getattr(new.outbound, key):
            return f"outbound.{key}"
    if old.sendmail.socket != new.sendmail.socket:
        return "sendmail.socket"
    if old.log.format != new.log.format:
        return "log.format"
    return "tls" if (old.tls is None) != (new.tls is None) else None


def read_certificate(settings: Settings) -> WatchedCertificate | None:
    tls = settings.tls
    return WatchedCertificate.load(tls.certificate, tls.key, tls.client_ca) if tls is not None else None
