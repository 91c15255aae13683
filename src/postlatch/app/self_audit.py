"""The relay audits itself: on a schedule it starts a process that asks every listener as a stranger would.

The audit has no privilege: limits, bans and greylisting treat it as they treat anybody at this machine's own addresses. Where
they come between, the result is inconclusive and says so. Only listeners of the configuration are asked; no caller names one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from postlatch.app.interfaces import local_addresses
from postlatch.app.self_audit_child import TIME_LIMIT, helo
from postlatch.app.self_audit_targets import Listening, reachable_at, source_for
from postlatch.audit.printable import printable
from postlatch.audit.values import Severity
from postlatch.audit.verdict import grade_of
from postlatch.model.clock import Clock
from postlatch.model.envelope import IPAddress, Role
from postlatch.model.events import Event, JsonValue
from postlatch.store import meta

if TYPE_CHECKING:
    from postlatch.app.relay import Relay

KEY: Final = "self_audit"  # in the store's meta
FIRST: Final = 120.0  # seconds from the start to the first audit
RETRY: Final = 3600.0  # seconds until an audit that could not be made is tried again
_ENVELOPES: Final = "ABCD"  # the families that ask with MAIL and RCPT alone
_MOST_OUTPUT: Final = 8_388_608  # octets
_BAD: Final = ("open", "backscatter", "accepts", "spoofable")
_RANK: Final = (*_BAD, "failed", "inconclusive", "closed")  # the worst first

Ask = Callable[[Sequence[Listening], str], Awaitable[list[dict[str, Any]]]]


@dataclass(frozen=True, slots=True)
class Joint:
    """What the self-audit needs of the relay. ``every`` is None where it is switched off."""

    clock: Clock
    dice: random.Random
    every: Callable[[], float | None]
    targets: Callable[[], tuple[list[Listening], list[str]]]
    ask: Ask
    record: Callable[[Event], None]
    alert: Callable[[str, Mapping[str, JsonValue]], None]
    load: Callable[[], Awaitable[str | None]]
    save: Callable[[str], Awaitable[None]]
    gauge: Callable[[str, str, float], None]


class SelfAudit:
    """``every_minute`` is to be called each minute."""

    def __init__(self, joint: Joint) -> None:
        self._joint = joint
        self._began = joint.clock.monotonic()
        self._tried: float | None = None
        self._running = asyncio.Lock()
        self._loaded = False
        self.latest: dict[str, Any] | None = None

    async def every_minute(self) -> None:
        """Audit if it is due."""
        every = self._joint.every()
        if every is None or self._running.locked():
            return
        await self.begin()
        if self._due(every):
            await self.audit()

    async def begin(self) -> None:
        """Take up what an earlier run found."""
        if self._loaded:
            return
        self._loaded = True
        text = await self._joint.load()
        with contextlib.suppress(ValueError):
            self.latest = json.loads(text) if text else None

    def _due(self, every: float) -> bool:
        monotonic = self._joint.clock.monotonic()
        if monotonic - self._began < FIRST or (self._tried is not None and monotonic - self._tried < RETRY):
            return False
        if self.latest is None or self.latest["verdict"] == "failed":
            return True
        return not 0.0 <= self._joint.clock.now() - self.latest["at"] < every

    async def audit(self) -> dict[str, Any]:
        """One audit of all listeners: kept, told, returned. Whoever asks during one waits, and gets a new one."""
        async with self._running:
            await self.begin()
            self._tried = self._joint.clock.monotonic()
            before, latest = self.latest, await self._made()
            self.latest = latest
            await self._joint.save(json.dumps(latest))
            self._tell(before, latest)
            return latest

    async def _made(self) -> dict[str, Any]:
        joint, run = self._joint, f"{self._joint.dice.getrandbits(48):012x}"
        at, began = joint.clock.now(), joint.clock.monotonic()
        targets, left_out = joint.targets()
        asked = [one for one in targets if not one.doubt]
        why, rows = "", [_unasked(one) for one in targets if one.doubt]
        try:
            rows += [_row(one, found) for one, found in zip(asked, await joint.ask(asked, run), strict=True)]
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = printable(f"{type(error).__name__}: {error}", 300)
        verdict = "failed" if why else min((row["verdict"] for row in rows), key=_RANK.index, default="inconclusive")
        return {
            "at": at,
            "seconds": round(joint.clock.monotonic() - began, 1),
            "verdict": verdict,
            "why": why,
            "helo": helo(run),
            "addresses": rows,
            "left_out": left_out,
        }

    def _tell(self, before: Mapping[str, Any] | None, latest: Mapping[str, Any]) -> None:
        joint = self._joint
        grades: dict[str, str] = {}
        for row in sorted(latest["addresses"], key=lambda row: -_RANK.index(row["verdict"])):  # the worst stays
            grades[row["listener"]] = f"{row['verdict']} {row['grade']}"
        fields: dict[str, JsonValue] = {"verdict": latest["verdict"], "listeners": grades, "helo": latest["helo"]}
        joint.record(Event("audit.finished", joint.clock.now(), {**fields, "why": latest["why"]}))
        for row in latest["addresses"]:
            joint.gauge(row["listener"], row["address"], float(row["verdict"] == "closed"))
        self._warn(before or {}, latest)

    def _warn(self, before: Mapping[str, Any], latest: Mapping[str, Any]) -> None:
        """What a person must know: every fault, each time; what is not known any more, once."""
        alert = self._joint.alert
        earlier = {(row["listener"], row["address"]): row["verdict"] for row in before.get("addresses", ())}
        for row in latest["addresses"]:
            name, verdict = row["listener"], row["verdict"]
            fields = {"kind": "self_audit", "listener": name, "address": row["address"], "why": row["summary"]}
            if verdict in _BAD:
                alert(f"the self-audit found listener {name} not closed: {verdict}", fields)
            elif verdict != "closed" and earlier.get((name, row["address"])) == "closed":
                alert(f"the self-audit does not know any more whether listener {name} is closed", fields)
        if latest["verdict"] == "failed" and before.get("verdict") != "failed":
            alert("the self-audit could not be made", {"kind": "self_audit", "why": latest["why"]})


def _row(one: Listening, found: Mapping[str, Any]) -> dict[str, Any]:
    found = _by_right(found) if one.by_right else found
    kept = {
        name: found[name] for name in ("verdict", "evidence", "grade", "summary", "decide", "places", "connections", "seconds")
    }
    findings = [{name: finding[name] for name in ("id", "severity", "title", "fix")} for finding in found["findings"]]
    return {**_place(one), **kept, "messages": found["messages"], "findings": findings}


def _by_right(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a listener that takes nothing from strangers, not even mail for its own mailboxes: refusing all is right."""
    asked = [one for one in found["vectors"] if one["id"] not in {"C+", "C-"}]
    refused = [one for one in asked if one["stand"] == "held"]
    if found["verdict"] != "inconclusive" or not refused or any(map(_speaks_against, asked)):
        return found
    text = f"Closed: who has no right can hand in nothing at all ({len(refused)} questions)."
    grade = grade_of(Severity(finding["severity"]) for finding in found["findings"])
    return {**found, "verdict": "closed", "grade": grade, "summary": text, "decide": None}


def _speaks_against(vector: Mapping[str, Any]) -> bool:
    """Was it taken, or an envelope not decided? What else is undecided would have needed a message."""
    return vector["stand"] in {"taken", "broke"} or (vector["stand"] == "undecided" and vector["id"][0] in _ENVELOPES)


def _unasked(one: Listening) -> dict[str, Any]:
    nothing = {"evidence": "E0", "places": [], "connections": 0, "messages": 0, "seconds": 0.0, "findings": []}
    advice = "Audit it from another machine: postlatch audit."
    return {
        **_place(one),
        "verdict": "inconclusive",
        "grade": "-",
        "summary": f"Not asked: {one.doubt}.",
        "decide": advice,
        **nothing,
    }


def _place(one: Listening) -> dict[str, Any]:
    address = f"[{one.address}]:{one.port}" if ":" in one.address else f"{one.address}:{one.port}"
    loopback = one.source.startswith("127.") or one.source == "::1"
    return {"listener": one.listener, "address": address, "source": one.source, "loopback_only": loopback}


async def ask_outside(targets: Sequence[Listening], run: str) -> list[dict[str, Any]]:
    """In another process, which gets nothing of this one but the places to ask. ValueError or OSError if it fails."""
    if not targets:
        return []
    asked = json.dumps({"run": run, "targets": [one._asdict() for one in targets]}).encode()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "postlatch.app.self_audit_child",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd="/",
    )
    try:
        async with asyncio.timeout(30 + (TIME_LIMIT + 30) * len(targets)):
            said, errors = await process.communicate(asked)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if process.returncode or len(said) > _MOST_OUTPUT:
        last = errors.decode("ascii", "replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise ValueError(f"the auditor's process ended with status {process.returncode}: {last[0]}")
    found: list[dict[str, Any]] = json.loads(said)
    return found


def targets_of(relay: Relay, own: frozenset[IPAddress]) -> tuple[list[Listening], list[str]]:
    """Every address of every listener, and a sentence for each listener that only its proxies may speak to."""
    snapshot, settings = relay.world.policy.snapshot, relay.settings
    domain = min(settings.domains, default="")
    found: list[Listening] = []
    left_out: list[str] = []
    for listener in settings.listeners:
        name = listener.name
        if listener.proxies:
            left_out.append(f"{name} speaks to its proxies alone: audit the proxy's address from outside")
            continue

        def right(address: IPAddress, name: str = name) -> str:
            return ", ".join(one.name for one in snapshot.rights_of(name, address))

        tls_first, by_right = listener.role is Role.SUBMISSIONS, listener.role is Role.RELAY
        for bound in relay.addresses[name]:
            for address, port in reachable_at(bound, own):
                source, doubt = source_for(address, own, right)
                found.append(
                    Listening(name, str(address), port, tls_first, settings.hostname, domain, str(source), by_right, doubt)
                )
    return found, left_out


def self_audit_of(relay: Relay) -> SelfAudit:
    """The running relay's."""
    world = relay.world

    async def load() -> str | None:
        return await world.reader.read(lambda connection: meta.get(connection, KEY))

    async def save(text: str) -> None:
        await world.submit([meta.put(KEY, text)])

    def every() -> float | None:
        return float(relay.settings.audit.every) if relay.settings.audit.enabled else None

    def gauge(listener: str, address: str, value: float) -> None:
        world.counters.set("postlatch_self_audit_closed", value, (listener, address))

    return SelfAudit(
        Joint(
            world.clock,
            relay.dice,
            every,
            lambda: targets_of(relay, local_addresses()),
            ask_outside,
            relay.record,
            relay.notices.alert,
            load,
            save,
            gauge,
        )
    )
