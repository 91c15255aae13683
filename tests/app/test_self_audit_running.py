"""A relay that runs is audited by a process of its own, as by a stranger."""

from __future__ import annotations

from pathlib import Path

import pytest

from postlatch.app import control
from postlatch.app.backend import LocalBackend
from postlatch.testing.running import BASE, RunningRelay

pytestmark = pytest.mark.soak  # 64 seconds: ten connections a second


def test_every_listener_of_both_families_is_closed_and_nothing_is_sent(tmp_path: Path) -> None:
    with RunningRelay(tmp_path, BASE) as relay:
        answer = LocalBackend().call("audit.self", {"now": True}, relay.config)
        rows = answer.data["addresses"]
        assert (answer.status, answer.data["verdict"]) == (0, "closed"), answer
        assert {row["listener"] for row in rows} == {"mx", "submission", "submissions", "relay"}
        assert len(rows) == 8
        assert {row["messages"] for row in rows} == {0}
        assert control.call(relay.data, "journal.search", {"event": "message.accepted"}).data["events"] == []
        [event] = control.call(relay.data, "journal.search", {"event": "audit.finished"}).data["events"]
        assert event["listeners"]["mx"] == "closed A"
        assert LocalBackend().call("audit.self", {}, relay.config).data == answer.data
