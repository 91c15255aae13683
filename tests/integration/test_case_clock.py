"""The machine's clock is set back while the relay runs, and while it does not."""

from __future__ import annotations

import smtplib
import subprocess
from contextlib import suppress
from pathlib import Path

from case_support import tool
from running_support import BOB, SAFE, STRANGER, client, events, eventually, holds, submit, told, with_ports

from postlatch.testing.peers.ports import wait_until
from postlatch.testing.running import RunningRelay

SHIM = Path(__file__).with_name("clock_shim.c")


def accepts(relay: RunningRelay, token: str) -> bool:
    """The reserves of a client's limits begin anew when time goes back: for a moment it may hear 421."""
    with suppress(smtplib.SMTPException, OSError), client(relay.port("mx")) as session:
        return submit(session, token, STRANGER, BOB).startswith("250")
    return False


def test_a_clock_that_is_set_back_is_on_record_alerts_and_stops_no_mail(tmp_path: Path) -> None:
    """An alert says by how much; mail goes on; `journal verify` is good, and names the places where time went back.

    Two hours back while it runs, then a day back while it is stopped. Without these records it would be a failure: an event
    with an earlier time than the one before is what a forged journal looks like.
    """
    library, shift = tmp_path / "clock.so", tmp_path / "shift"
    subprocess.run([tool("cc"), "-shared", "-fPIC", "-O1", "-o", library, SHIM, "-ldl"], check=True)
    shift.write_text("0")
    moved = ("env", f"LD_PRELOAD={library}", f"CLOCK_SHIFT={shift}")
    relay = RunningRelay(tmp_path / "relay", with_ports(SAFE)[0])
    relay.start(prefix=moved)
    try:
        assert accepts(relay, "now")
        eventually(lambda: len(events(relay, "relay.probed")) == 3, "the start to be over", 30)
        shift.write_text("-7200")
        eventually(lambda: len(events(relay, "clock.jumped")) == 1, "the jump to be noticed", 60)
        assert told(relay, "the system clock jumped")
        eventually(lambda: accepts(relay, "two hours ago"), "limits of before to be over", 30)
        relay.stop()
        shift.write_text("-86400")
        relay.start(prefix=moved)
        eventually(lambda: accepts(relay, "yesterday"), "limits of before to be over", 30)
        wait_until(lambda: all(holds(relay, BOB, token) for token in ("now", "two hours ago", "yesterday")), 30, "the mail")
        first, second = events(relay, "clock.jumped")
        assert -7300 < first["seconds"] < -7100
        assert -79300 < second["seconds"] < -79100
        assert second["why"] == "before this start"
        report = relay.json("journal", "verify")
        assert report["ok"] is True, report["failures"]
        assert report["findings"]
    finally:
        relay.stop()
