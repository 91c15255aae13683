"""``postlatch firewall``: keeps nftables sets as the relay's bans are. The only part of Postlatch that needs CAP_NET_ADMIN.

It asks the relay over the control socket once a second what has changed, and tells ``nft`` on its standard input. While no
relay answers, the sets stay: their time-outs are the kernel's.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from postlatch.app import control
from postlatch.app.answer import BAD_NEWS, GOOD, UNUSABLE, Answer
from postlatch.app.firewall_nft import (
    MOST,
    TABLE,
    BadAnswer,
    Bans,
    Wanted,
    change,
    counted,
    fill,
    install,
    ports_of,
    read_bans,
    read_networks,
    remove,
    wanted,
)
from postlatch.settings.tree import Settings

_INTERVAL: Final = 1.0
_LOOK_AGAIN: Final = 30.0  # seconds: is the table still there, and has an outer ban made way for an inner one?
_PLACES: Final = ("/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft", "/usr/local/sbin/nft")
_PATH: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_EMPTY: Final = Wanted({}, frozenset())


class NftError(Exception):
    """nft is not there, or refused."""


class Nft:
    """The program. It is started directly, with its commands on standard input: there is no shell."""

    def __init__(self) -> None:
        found = next((place for place in _PLACES if Path(place).exists()), None)
        if found is None:
            raise NftError("there is no nft on this machine: apt-get install nftables")
        self._program = found

    def apply(self, script: str) -> None:
        """Carry out a script, whole or not at all."""
        self._run("-f", "-", script=script)

    def listing(self, *words: str) -> dict[str, Any]:
        """``nft -j list …``."""
        found: dict[str, Any] = json.loads(self._run("-j", "list", *words))
        return found

    def _run(self, *arguments: str, script: str = "") -> str:
        command = [self._program, *arguments]
        try:
            done = subprocess.run(command, input=script, capture_output=True, text=True, env=_PATH, timeout=60, check=False)  # noqa: S603
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NftError(f"{self._program}: {error}") from error
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise NftError(f"nft: {lines[0][:300]}")
        return done.stdout


class Follower:
    """What the helper knows of the relay's bans, and what it has put into the kernel."""

    def __init__(self, ask: Callable[[dict[str, Any]], Answer], nft: Nft, ports: list[int]) -> None:
        self._ask = ask
        self._nft = nft
        self._ports = ports
        self._run, self._version = "", -1
        self._bans: Bans = {}
        self._allowed: frozenset[Any] = frozenset()
        self._installed: Wanted | None = None  # None: not known
        self._looked_at = 0.0

    def begin(self) -> None:
        """Make the table."""
        self._nft.apply(install(self._ports))
        self._installed = _EMPTY

    def end(self) -> None:
        """Take the table away."""
        self._nft.apply(remove())

    def step(self, now: float) -> None:
        """Ask, and bring the sets up to date. Raises NotServing, BadAnswer and NftError."""
        moved = self._take_up(self._ask({"run": self._run, "version": self._version}))
        if now - self._looked_at >= _LOOK_AGAIN:
            self._looked_at = now
            moved = True
            self._look()
        if moved or self._installed is None:
            self._put(wanted(self._bans, self._allowed, now), now)

    def _take_up(self, answer: Answer) -> bool:
        data = answer.data
        if answer.status != GOOD or not isinstance(data.get("version"), int) or not isinstance(data.get("run"), str):
            raise BadAnswer(answer.message or "it is not the answer that this version gives")
        bans, lifted = read_bans(data.get("bans")), read_networks(data.get("lifted"), narrow=True)
        allowed = read_networks(data.get("allowed"), narrow=False)
        moved = bool(data.get("whole") or bans or lifted or allowed != self._allowed)
        if data.get("whole"):
            self._bans = {}
        for network in lifted:
            self._bans.pop(network, None)
        self._bans.update(bans)
        if len(self._bans) > MOST or len(allowed) > MOST:
            raise BadAnswer(f"more than {MOST} networks: too many for a set")
        self._allowed, self._run, self._version = allowed, data["run"], data["version"]
        return moved

    def _look(self) -> None:
        """Somebody may have flushed the ruleset."""
        try:
            self._nft.listing("counters", "table", *TABLE.split())
        except NftError:
            self.begin()

    def _put(self, new: Wanted, now: float) -> None:
        old, self._installed = self._installed, None
        if old is not None:
            try:
                if script := change(old, new, now):
                    self._nft.apply(script)
                self._installed = new
                return
            except NftError:
                pass  # an element lapsed before we deleted it, or somebody else was here: all anew
        self._nft.apply(fill(new, now))
        self._installed = new


def run(settings: Settings) -> int:
    """``postlatch firewall run``: until SIGTERM; the exit status."""
    ports = ports_of(address for listener in settings.listeners for address in listener.address)
    if not ports:
        _say("no listener has a fixed port: there is nothing to guard")
        return UNUSABLE
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        follower = Follower(lambda asked: control.call(settings.data_dir, "ban.changes", asked, 20.0), Nft(), ports)
        follower.begin()
    except NftError as error:
        _say(f"{error} (this command needs root, or CAP_NET_ADMIN)")
        return UNUSABLE
    _say(f"guarding ports {', '.join(map(str, ports))}")
    _follow(follower, stopping)
    try:
        follower.end()
    except NftError as error:
        _say(str(error))
        return BAD_NEWS
    return GOOD


def _follow(follower: Follower, stopping: threading.Event) -> None:
    told = ""
    while not stopping.is_set():
        trouble = ""
        try:
            follower.step(time.time())
        except control.NotServing as error:
            trouble = f"no relay answers, the sets stay as they are: {error}"
        except (BadAnswer, NftError, OSError, ValueError) as error:
            trouble = f"not up to date: {error}"
        if trouble != told:
            _say(trouble or "up to date again")
            told = trouble
        stopping.wait(_INTERVAL)


def status() -> Answer:
    """``postlatch firewall status``: what the kernel has."""
    try:
        nft = Nft()
        dropped = counted(nft.listing("counters", "table", *TABLE.split()))
    except NftError as error:
        return Answer(BAD_NEWS, {"active": False, "why": str(error), "schema": "postlatch.firewall.status/1"}, "")
    sizes = {name: _size(nft, name) for name in ("clients4", "clients6", "banned4", "banned6", "allowed4", "allowed6")}
    return Answer(GOOD, {"active": True, "sets": sizes, "dropped": dropped, "schema": "postlatch.firewall.status/1"}, "")


def _size(nft: Nft, name: str) -> int:
    for entry in nft.listing("set", *TABLE.split(), name).get("nftables", ()):
        if "set" in entry:
            return len(entry["set"].get("elem", ()))
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
