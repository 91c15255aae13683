"""``check --self-test``: which address does a client of the running relay have when it arrives? Nothing is sent but EHLO.

The relay is told a token over its control socket; this process connects as a client would and says the token in EHLO; the relay
says over the control socket whom it saw.
"""

from __future__ import annotations

import secrets
import smtplib
import sys
import time
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, NamedTuple

from postlatch.app import control
from postlatch.app.answer import GOOD, Answer, CommandError
from postlatch.app.interfaces import container_gateways, default_gateways, local_addresses
from postlatch.app.probe import reachable, session
from postlatch.model.envelope import IPAddress, Role
from postlatch.model.sighting import Header
from postlatch.monitor.masking import Place, Surroundings
from postlatch.policy.danger_networks import GATEWAYS
from postlatch.policy.networks import unmapped
from postlatch.settings.tree import Settings

_TIMEOUT = 10.0
_PATIENCE = 3.0  # seconds for the relay to have noticed the end of a session


class Target(NamedTuple):
    """Where to connect."""

    host: str
    port: int
    tls: bool

    @property
    def text(self) -> str:
        """``host:port``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Came(NamedTuple):
    """What was done at one target: the token, our own address on that connection, or what went wrong."""

    target: str
    token: str
    own: IPAddress | None
    fault: str = ""
    inside: bool = False  # it never left this machine


def self_test(settings: Settings, targets: Iterable[str], wait: float = 0.0) -> list[dict[str, Any]]:
    """One row a target: ``verdict`` is ``true``, ``local``, ``changed``, ``masked`` or ``failed``.

    CommandError if no relay runs.
    """
    around = Surroundings(
        bridges=container_gateways() | frozenset(GATEWAYS),
        gateways=default_gateways(),
        here=local_addresses(),
        proxies=tuple(network for listener in settings.listeners for network in listener.proxies),
    )
    bound = _ask(settings, "masking.expect", [])["addresses"]
    wanted = [_parsed(text, settings, bound) for text in targets] or _own(settings, bound)
    came = [_visit(settings, target) for target in wanted]
    if wait:
        came.append(_invite(settings, wait))
    seen = _seen(settings, [one.token for one in came if not one.fault])
    return [_row(one, seen.get(one.token), around) for one in came]


def _ask(settings: Settings, command: str, tokens: list[str]) -> dict[str, Any]:
    try:
        answer: Answer = control.call(settings.data_dir, command, {"tokens": tokens})
    except control.NotServing as error:
        raise CommandError(f"the self-test needs the running relay: {error}") from None
    if answer.status != GOOD:
        raise CommandError(answer.message)
    return answer.data


def _own(settings: Settings, bound: dict[str, list[str]]) -> list[Target]:
    """The listeners' own addresses; a proxy's listener is reached through its proxy alone."""
    return [
        Target(*reachable(address), tls=listener.role is Role.SUBMISSIONS)
        for listener in settings.listeners
        if not listener.proxies
        for address in bound[listener.name]
    ]


def _parsed(text: str, settings: Settings, bound: dict[str, list[str]]) -> Target:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise CommandError(f"{text!a}: write HOST:PORT, like mx.example.com:25")
    implicit = {
        reachable(address)[1]
        for listener in settings.listeners
        if listener.role is Role.SUBMISSIONS
        for address in bound[listener.name]
    }
    return Target(host.strip("[]"), int(port), int(port) in implicit | {465})


def _visit(settings: Settings, target: Target) -> Came:
    token = f"selftest-{secrets.token_hex(16)}.invalid"
    _ask(settings, "masking.expect", [token])
    try:
        with session(target.host, target.port, implicit_tls=target.tls, timeout=_TIMEOUT) as client:
            assert client.sock is not None
            own, peer = (
                unmapped(ip_address(name[0].partition("%")[0]))
                for name in (client.sock.getsockname(), client.sock.getpeername())
            )
            client.ehlo(token)
    except (OSError, smtplib.SMTPException) as error:
        return Came(target.text, token, None, f"{type(error).__name__}: {error}"[:200].encode("ascii", "replace").decode())
    return Came(target.text, token, own, inside=peer.is_loopback or peer in local_addresses())


def _invite(settings: Settings, wait: float) -> Came:
    """Let a person connect from where clients are."""
    token = f"selftest-{secrets.token_hex(16)}.invalid"
    _ask(settings, "masking.expect", [token])
    sys.stderr.write(
        f"From a machine outside, within {wait:.0f} seconds: connect to a listener and say\n  EHLO {token}\n  QUIT\n"
    )
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        if _ask(settings, "masking.came", [token])["came"]:
            return Came("from outside", token, None)
        time.sleep(0.2)
    return Came("from outside", token, None, f"nobody said the token within {wait:.0f} seconds")


def _seen(settings: Settings, tokens: list[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    deadline = time.monotonic() + _PATIENCE
    while tokens and time.monotonic() < deadline:
        found = _ask(settings, "masking.came", tokens)["came"]
        if len(found) == len(tokens):
            break
        time.sleep(0.05)
    return found


def _row(one: Came, seen: dict[str, str] | None, around: Surroundings) -> dict[str, Any]:
    row: dict[str, Any] = {"target": one.target, "listener": "", "sent_from": str(one.own or ""), "arrived_as": "", "proxy": ""}
    if one.fault or seen is None:
        why = one.fault or "something answered there that is not this relay: it has not seen the connection"
        return {**row, "verdict": "failed", "why": why}
    row |= {"listener": seen["listener"], "arrived_as": seen["client"], "proxy": seen["proxy"]}
    verdict, why = _verdict(one, ip_address(seen["client"]), seen["header"], around)
    return {**row, "verdict": verdict, "why": why}


def _verdict(one: Came, arrived: IPAddress, header: str, around: Surroundings) -> tuple[str, str]:
    own, place = one.own, around.place(arrived)
    if header == Header.ANONYMOUS:
        return "masked", f"the proxy {arrived} does not say who the client is, so nobody behind it has a right"
    if own == arrived:
        if one.inside:
            return "local", (
                "the address is true, but this connection never left the machine: use --from with the public address, "
                "or --wait and a machine outside"
            )
        return "true", "the client's own address arrives"
    if own is None and place is Place.PUBLIC:
        return "true", "a public address arrives: compare it with that of the machine outside"
    if place is Place.PUBLIC:
        return (
            "changed",
            f"it arrives as {arrived}: true if that is this machine's own way out, masked if it is in front of the relay",
        )
    what = f"it arrives as {arrived}, {place}" + (f", and was sent from {own}" if own is not None else "")
    return "masked", f"{what}: all clients may look like that, so no network right, limit or ban can tell them apart"


def verdict_is_good(rows: Iterable[dict[str, Any]]) -> bool:
    """Nothing speaks against the addresses."""
    return all(row["verdict"] in {"true", "local", "changed"} for row in rows)
