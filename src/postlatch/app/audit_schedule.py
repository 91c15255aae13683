"""``postlatch audit schedule``: the same audit again and again, and a word to somebody when it comes out worse."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from postlatch.app.answer import BAD_NEWS, GOOD, UNDECIDED, UNUSABLE
from postlatch.app.audit_alerts import Alerts
from postlatch.app.audit_history import History
from postlatch.app.audit_units import cron_line, systemd_units
from postlatch.app.clock import SystemClock
from postlatch.audit.history.drift import Drift, drift
from postlatch.audit.history.seen import SCHEMA, Result, result
from postlatch.audit.printable import printable
from postlatch.audit.report.words import VERDICTS, one_line
from postlatch.audit.result import TargetResult, as_data
from postlatch.model.clock import Clock

Run = Callable[[], Awaitable[list[TargetResult]]]

LEAST: Final = 60  # seconds between two audits
_LOOK: Final = 20.0  # seconds between two looks at the clock: after a sleep of the machine this one runs late, not never


class Plan(NamedTuple):
    """What was asked. ``every`` is in seconds."""

    targets: tuple[str, ...]
    every: float
    history: Path
    keep: int
    once: bool
    as_json: bool

    @classmethod
    def of(cls, arguments: dict[str, Any]) -> Plan:
        """ValueError says what would be right."""
        every = float(arguments.get("every", 86_400))
        if every < LEAST:
            raise ValueError(f"--every: audits need at least {LEAST} seconds between them")
        return cls(
            tuple(map(str, arguments["targets"])),
            every,
            Path(str(arguments.get("history") or _default_history())),
            int(arguments.get("keep", 400)),
            bool(arguments.get("once")),
            bool(arguments.get("json")),
        )


def _default_history() -> Path:
    """As the XDG base directory specification has it: state that shall survive, and is no configuration."""
    state = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()) / "postlatch" / "audits"


def schedule(arguments: dict[str, Any], run: Run) -> int:
    """Until it is ended, with ``--once`` after one audit. ``run`` makes an audit. Returns the exit status.

    With ``--once``: 0 as before or better; 1 worse; 2 cannot be done; 3 there is no result, or no verdict any more.
    """
    try:
        plan = Plan.of(arguments)
        alerts = Alerts(str(arguments.get("alert_command", "")), str(arguments.get("alert_mail", "")))
        if arguments.get("print_systemd"):
            say(systemd_units(arguments))
            return GOOD
        if arguments.get("print_cron"):
            say(cron_line(arguments))
            return GOOD
        with History(plan.history, plan.keep) as history:
            return asyncio.run(_until_ended(Schedule(plan, run, history, alerts, SystemClock())))
    except BlockingIOError:
        complain(f"{arguments.get('history') or _default_history()}: another audit is at work there")
    except ValueError as error:
        complain(str(error))
    except OSError as error:
        complain(f"{error.filename or 'the history'}: {error.strerror or error}")
    return UNUSABLE


async def _until_ended(schedule: Schedule) -> int:
    """SIGTERM and SIGINT end it, at once and with status 0: that is how one ends it."""
    loop = asyncio.get_running_loop()
    working = loop.create_task(schedule.work())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, working.cancel)
    try:
        return await working
    except asyncio.CancelledError:
        return GOOD


class Schedule:
    """The audits of a plan. Time, files, alerts and the audit itself are arguments."""

    def __init__(
        self,
        plan: Plan,
        run: Run,
        history: History,
        alerts: Alerts,
        clock: Clock,
        *,
        look: float = _LOOK,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._plan = plan
        self._run = run
        self._history = history
        self._alerts = alerts
        self._clock = clock
        self._look = look
        self._tell = tell or say
        self._untold: list[Drift] = []

    async def work(self) -> int:
        """Returns with ``once`` only."""
        due = self._clock.now()
        while True:
            status = await self.audit()
            if self._plan.once:
                return status
            due = self._next(due)
            await self._wait(due)

    def _next(self, due: float) -> float:
        """What was missed while the machine slept is made up for once; a clock that went back delays nothing."""
        now, every = self._clock.now(), self._plan.every
        if not due <= now < due + 2 * every:
            return now + every
        return due + every

    async def _wait(self, due: float) -> None:
        began = self._clock.monotonic()
        while self._clock.now() < due and self._clock.monotonic() - began < self._plan.every:  # noqa: ASYNC110 (a clock has no events)
            await asyncio.sleep(min(self._look, max(0.0, due - self._clock.now())))

    async def audit(self) -> int:
        """One audit: made, compared, kept, told. Its status."""
        earlier = self._history.earlier(self._plan.targets)
        for trouble in self._history.troubles:
            complain(trouble)
        latest, results = await self._made()
        found = drift(earlier, latest)
        self._keep_results(latest, results)
        self._report(latest, found)
        await self._warn(found)
        if found.comparison.worse:
            return BAD_NEWS
        return UNDECIDED if latest.failed or found.comparison.undecided else GOOD

    async def _made(self) -> tuple[Result, list[TargetResult]]:
        try:
            results = await self._run()
            return result({"schema": SCHEMA, "at": self._clock.now(), "targets": [as_data(one) for one in results]}), results
        except Exception as error:  # noqa: BLE001 (whatever ends one audit, the next one is made)
            return Result({}, printable(f"{error}" or type(error).__name__), self._clock.now()), []

    def _keep_results(self, latest: Result, results: list[TargetResult]) -> None:
        try:
            if latest.failed:
                self._history.save_failed(latest.failed, latest.at)
            else:
                self._history.save(results, latest.at)
        except OSError as error:
            complain(f"the result could not be kept: {error}")

    def _report(self, latest: Result, found: Drift) -> None:
        verdicts = {name: seen.verdict for name, seen in latest.targets.items()}
        if self._plan.as_json:
            targets = [{"target": name, "verdict": verdict.value} for name, verdict in verdicts.items()]
            data = {**found.as_data(), "schema": "postlatch.audit-schedule/1", "at": latest.at, "targets": targets}
            self._tell(json.dumps({**data, "alarming": found.alarming, "failed": latest.failed or None}))
            return
        words = ", ".join(f"{name} is {VERDICTS[verdict].phrase}" for name, verdict in verdicts.items())
        moment = datetime.fromtimestamp(latest.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        self._tell(one_line(f"{moment}: {words or f'the audit could not be made: {latest.failed}'}."))
        for sentence in found.sentences:
            self._tell(one_line(f"  {sentence}"))

    async def _warn(self, found: Drift) -> None:
        """What could not be told is told with the next audit."""
        waiting, self._untold = [*self._untold, *([found] if found.alarming else [])], []
        for one in waiting:
            troubles = await self._alerts.tell(one.as_data(), one.sentences)
            for trouble in troubles:
                complain(trouble)
            if troubles and len(self._untold) < 10:
                self._untold.append(one)


def say(text: str) -> None:
    """To whoever watches."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """To standard error."""
    sys.stderr.write(f"Error: {one_line(text)}\n")
