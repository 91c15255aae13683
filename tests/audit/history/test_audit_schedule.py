"""Audits time and again: what is kept, what is told, and to whom."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from postlatch.app.audit_alerts import Alerts, mail
from postlatch.app.audit_history import History, compare
from postlatch.app.audit_schedule import Plan, Schedule, schedule
from postlatch.app.audit_units import command_line, cron_line, systemd_units
from postlatch.audit.probes.place import Place
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.result import TargetResult
from postlatch.audit.values import AuditVerdict, Evidence
from postlatch.testing.clock import FakeClock

NAME = "mx.example.com"
PLACE = Place(NAME, "192.0.2.25", 25)
OPTIONS: dict[str, Any] = {"targets": [NAME], "i_own_this": True}


def found(verdict: AuditVerdict = AuditVerdict.CLOSED, target: str = NAME) -> TargetResult:
    """A small result."""
    stand = {AuditVerdict.OPEN: Stand.TAKEN, AuditVerdict.INCONCLUSIVE: Stand.UNDECIDED}.get(verdict, Stand.HELD)
    grade = {AuditVerdict.OPEN: "F", AuditVerdict.INCONCLUSIVE: "-"}.get(verdict, "A")
    outcomes = (Outcome("A01", PLACE, stand),)
    return TargetResult(target, verdict, Evidence.E0, grade, verdict.value, places=(str(PLACE),), outcomes=outcomes)


CLOSED, OPEN, BLIND = (found(verdict) for verdict in (AuditVerdict.CLOSED, AuditVerdict.OPEN, AuditVerdict.INCONCLUSIVE))
Told = list[str]


class World:
    """A schedule with a clock that stands, and audits that were decided on beforehand."""

    def __init__(self, directory: Path, alerts: Alerts | None = None, keep: int = 400, *, as_json: bool = False) -> None:
        self.clock = FakeClock()
        self.history = History(directory, keep)
        self.alerts = alerts or Alerts()
        self.plan = Plan((NAME,), 3600.0, directory, keep, once=True, as_json=as_json)
        self.told: Told = []

    def audit(self, *outcomes: TargetResult | Exception) -> list[int]:
        """The statuses of an audit for each outcome, an hour apart."""
        statuses = []
        for outcome in outcomes:

            async def run(made: TargetResult | Exception = outcome) -> list[TargetResult]:
                if isinstance(made, Exception):
                    raise made
                return [made]

            one = Schedule(self.plan, run, self.history, self.alerts, self.clock, tell=self.told.append)
            statuses.append(asyncio.run(one.work()))
            self.clock.advance(3600)
        return statuses


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "history")
    with made.history:
        yield made


def test_it_is_told_when_a_server_gets_worse_and_then_no_more(world: World) -> None:
    assert world.audit(CLOSED, CLOSED, OPEN, OPEN, CLOSED) == [0, 0, 1, 0, 0]
    assert [line for line in world.told if "was closed and is an open relay now" in line]
    assert world.told[0] == f"2026-01-01 00:00:00 UTC: {NAME} is closed."


def test_an_audit_that_failed_is_kept_as_failed_and_passed_over(world: World) -> None:
    assert world.audit(OPEN, OSError("no route to host"), OPEN, CLOSED) == [1, 3, 0, 0]
    (file,) = (path for path in world.plan.history.iterdir() if "failed" in path.name)
    kept = json.loads(file.read_text())
    assert (kept["failed"], kept["targets"]) == ("no route to host", [])
    assert any("the audit could not be made: no route to host" in line for line in world.told)


def test_silence_then_open_is_worse_than_it_was(world: World) -> None:
    assert world.audit(CLOSED, BLIND, BLIND, OPEN) == [0, 3, 0, 1]


def test_each_result_is_a_file_that_can_be_compared(world: World) -> None:
    world.audit(CLOSED, OPEN)
    first, second = sorted(path for path in world.plan.history.iterdir() if path.suffix == ".json")
    assert first.name == "20260101T000000.000Z-mx.example.com.json"
    assert first.stat().st_mode & 0o777 == 0o600
    assert compare({"before": str(first), "after": str(second)}).status == 1


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    world = World(tmp_path, keep=3)
    (tmp_path / "notes.txt").write_text("mine")
    with world.history:
        world.audit(*[CLOSED] * 5, OSError("x"))
    names = sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".json")
    assert [name[:13] for name in names] == ["20260101T0200", "20260101T0300", "20260101T0400", "20260101T0500"]
    assert (tmp_path / "notes.txt").exists()


def test_names_tell_what_was_last_though_the_clock_went_back(world: World) -> None:
    world.audit(CLOSED)
    world.clock.jump(-86_400)
    assert world.audit(OPEN, OPEN) == [1, 0]


def test_a_file_that_was_spoiled_is_passed_over(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.audit(OPEN, CLOSED)
    _, last = sorted(path for path in world.plan.history.iterdir() if path.suffix == ".json")
    last.write_text("{")
    assert world.audit(OPEN) == [0]
    assert f"{last.name} was passed over" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["../../etc/passwd", "[2001:db8::1]:25", "a" * 300, "x/y", "", ".", "caf\u00e9", "\ud800"])
def test_any_target_has_a_file_of_its_own_in_the_directory(tmp_path: Path, target: str) -> None:
    with History(tmp_path / "h", 9) as history:
        history.save([found(target=target), found(target=target + "x")], 0.0)
        assert len([path for path in (tmp_path / "h").iterdir() if path.suffix == ".json"]) == 2
        assert len(history.earlier([target])) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["h"]


def test_two_schedules_do_not_share_a_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def never() -> list[TargetResult]:
        raise AssertionError

    with History(tmp_path, 9):
        assert schedule({**OPTIONS, "history": str(tmp_path), "once": True}, never) == 2
    assert "another audit is at work there" in capsys.readouterr().err


def test_a_line_of_json_for_programs(tmp_path: Path) -> None:
    world = World(tmp_path, as_json=True)
    with world.history:
        world.audit(CLOSED, OPEN)
    data = json.loads(world.told[1])
    assert data["schema"] == "postlatch.audit-schedule/1"
    assert data["alarming"] is True
    assert data["targets"] == [{"target": NAME, "verdict": "open"}]
    assert [change["what"] for change in data["worse"]] == ["verdict", "grade", "answer"]


def _recorder(path: Path, code: str = "") -> str:
    """A program that writes what it got, and its arguments, beside itself."""
    program = path / "recorder"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys, time\nfrom pathlib import Path\n"
        f"here = Path(__file__)\nhere.with_suffix('.in').write_bytes(sys.stdin.buffer.read())\n"
        f"here.with_suffix('.args').write_text(json.dumps(sys.argv[1:]))\n{code}\n"
    )
    program.chmod(0o755)
    return str(program)


def test_the_command_gets_the_difference_and_no_shell(tmp_path: Path) -> None:
    world = World(tmp_path / "h", Alerts(f"{_recorder(tmp_path)} --to 'a b' '$(touch {tmp_path}/pwned)'"))
    with world.history:
        world.audit(CLOSED)
        assert not (tmp_path / "recorder.in").exists()
        world.audit(OPEN)
    data = json.loads((tmp_path / "recorder.in").read_text())
    assert data["schema"] == "postlatch.audit-alert/1"
    assert f"{NAME} was closed and is an open relay now." in data["sentences"]
    assert json.loads((tmp_path / "recorder.args").read_text()) == ["--to", "a b", f"$(touch {tmp_path}/pwned)"]
    assert not (tmp_path / "pwned").exists()


def test_mail_goes_through_the_sendmail_program(tmp_path: Path) -> None:
    world = World(tmp_path / "h", Alerts(mail="ops@example.com", sendmail=_recorder(tmp_path)))
    with world.history:
        world.audit(CLOSED, OPEN)
    assert json.loads((tmp_path / "recorder.args").read_text()) == ["-i", "-t"]
    message = message_from_bytes((tmp_path / "recorder.in").read_bytes(), policy=default)
    assert message["To"] == "ops@example.com"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Subject"] == f"Mail server audit: {NAME} was closed and is an open relay now."
    assert f"- {NAME} was closed and is an open relay now." in message.get_content()


def test_no_sentence_can_add_a_field_to_the_mail() -> None:
    message = message_from_bytes(mail("ops@example.com", ["x" * 500]), policy=default)
    assert set(message.keys()) >= {"To", "Subject", "Auto-Submitted"}
    with pytest.raises(ValueError, match="linefeed"):
        mail("ops@example.com", ["x\r\nBcc: victim@example.net"])


def test_an_alert_that_was_not_taken_is_told_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path / "h", Alerts(_recorder(tmp_path, "sys.exit(0 if here.with_suffix('.ok').exists() else 75)")))

    async def both() -> None:
        outcomes = iter([CLOSED, OPEN, OPEN])

        async def run() -> list[TargetResult]:
            return [next(outcomes)]

        work = Schedule(world.plan, run, world.history, world.alerts, world.clock, tell=world.told.append)
        for _ in range(2):
            await work.audit()
            world.clock.advance(60)
        (tmp_path / "recorder.ok").touch()
        (tmp_path / "recorder.in").unlink()
        await work.audit()

    with world.history:
        asyncio.run(both())
    assert "recorder ended with status 75" in capsys.readouterr().err
    assert json.loads((tmp_path / "recorder.in").read_text())["worse"]


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    code = "import os\nhere.with_suffix('.pid').write_text(str(os.fork() or os.getpid()))\ntime.sleep(60)"
    alerts = Alerts(_recorder(tmp_path, code), limit=1.0)
    (trouble,) = asyncio.run(alerts.tell({}, []))
    assert "did not end within 1 s" in trouble
    pid = int((tmp_path / "recorder.pid").read_text())
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in {"Z", "X"}


def test_a_command_that_is_not_there_is_said_to_be_so() -> None:
    (trouble,) = asyncio.run(Alerts("/no/such/program").tell({}, []))
    assert "/no/such/program could not be started" in trouble


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"every": 10}, "--every"),
        ({"alert_command": "'"}, "quotation"),
        ({"alert_command": " "}, "--alert-command"),
        ({"alert_mail": "nobody"}, "--alert-mail"),
    ],
)
def test_bad_options_are_refused(more: dict[str, Any], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def never() -> list[TargetResult]:
        raise AssertionError

    assert schedule({**OPTIONS, "history": str(tmp_path), **more}, never) == 2
    assert words in capsys.readouterr().err


def _times_of(world: World, steps: Callable[[int], None], count: int) -> list[float]:
    """When audits begin, if ``steps`` moves the clock after each."""
    began: list[float] = []

    async def run() -> list[TargetResult]:
        began.append(world.clock.now() - 1_767_225_600.0)
        if len(began) == count:
            raise asyncio.CancelledError
        return [CLOSED]

    async def both() -> None:
        plan = world.plan._replace(once=False)
        work = Schedule(plan, run, world.history, world.alerts, world.clock, look=0.001, tell=world.told.append)
        task = asyncio.get_running_loop().create_task(work.work())
        seen = 0
        while not task.done():
            await asyncio.sleep(0.002)
            if len(began) > seen:
                seen = len(began)
                steps(seen)
            else:
                world.clock.advance(100)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(both())
    return began


def test_audits_keep_their_hours(world: World) -> None:
    times = _times_of(world, lambda _: None, 4)
    assert [round(at / 3600) for at in times] == [0, 1, 2, 3]


def test_what_was_missed_in_a_sleep_is_made_up_for_once(world: World) -> None:
    times = _times_of(world, lambda seen: world.clock.jump(10 * 3600) if seen == 1 else None, 3)
    assert times[1] == pytest.approx(10 * 3600, abs=600)
    assert times[2] == pytest.approx(11 * 3600, abs=600)


def test_a_clock_that_went_back_delays_nothing(world: World) -> None:
    times = _times_of(world, lambda seen: world.clock.jump(-50 * 3600) if seen == 1 else None, 3)
    assert times[1] == pytest.approx(-49 * 3600, abs=600)
    assert times[2] == pytest.approx(-48 * 3600, abs=600)


_ENDLESS = """
import asyncio, sys
from postlatch.app.audit_schedule import schedule
async def run():
    await asyncio.sleep(60)
sys.exit(schedule({"targets": ["x"], "history": sys.argv[1]}, run))
"""


def test_it_ends_at_once_when_it_is_told_to(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _ENDLESS, str(tmp_path)]) as process:
        while not (tmp_path / ".lock").exists():
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(10) in {0, -signal.SIGTERM}  # the latter if it came before the loop stood


UNITS: dict[str, Any] = {
    **OPTIONS,
    "local": 'a"b%c $HOME\\@example.com',
    "every": 43_200,
    "canary": "listen:0.0.0.0:25",
    "deep": True,
    "window": 90,
}


def test_a_scheduler_gets_the_same_arguments() -> None:
    words = command_line(UNITS, "/usr/bin/postlatch")
    assert words[:4] == ["/usr/bin/postlatch", "audit", "schedule", "--once"]
    assert words[-1] == NAME
    assert words[words.index("--local") + 1] == UNITS["local"]
    assert words[words.index("--window") + 1] == "90 seconds"
    assert {"--i-own-this", "--deep"} <= set(words)
    assert "--every" not in words


def test_the_units_are_what_systemd_reads(tmp_path: Path) -> None:
    text = systemd_units(UNITS, "/bin/true")
    service, timer = text.split("# /etc/systemd/system/postlatch-audit.timer\n")
    assert 'a\\"b%%c $$HOME\\\\@example.com' in service
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in service
    assert "DynamicUser=yes" in service
    assert "OnUnitActiveSec=43200s" in timer
    analyze = Path("/usr/bin/systemd-analyze")
    if not analyze.exists():
        pytest.skip("systemd-analyze, which reads units, is not here")
    (tmp_path / "postlatch-audit.service").write_text(service)
    (tmp_path / "postlatch-audit.timer").write_text(timer)
    files = [str(tmp_path / f"postlatch-audit.{kind}") for kind in ("service", "timer")]
    done = subprocess.run([str(analyze), "verify", "--man=no", *files], capture_output=True, text=True, check=False)
    assert "postlatch-audit" not in done.stderr, done.stderr


def test_who_shall_get_mail_gets_a_service_that_may_send_it() -> None:
    text = systemd_units({**UNITS, "alert_mail": "ops@example.com"}, "/bin/true")
    assert "DynamicUser" not in text
    assert "ProtectSystem=full" in text


def test_a_crontab_gets_a_line() -> None:
    line = cron_line(UNITS, "/usr/bin/postlatch")
    assert line.startswith("17 */12 * * * /usr/bin/postlatch audit schedule --once --i-own-this")
    assert "b\\%c" in line
    with pytest.raises(ValueError, match="--every"):
        cron_line({**UNITS, "every": 7 * 3600})
