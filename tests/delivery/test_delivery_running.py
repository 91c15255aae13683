"""Destinations by command, beside the running program and without it."""

from __future__ import annotations

import json
import smtplib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postlatch.testing.peers.ports import free_port
from postlatch.testing.peers.recorder import RecordingSink
from postlatch.testing.running import BASE, LOOPBACK_RIGHT, RunningRelay

pytestmark = pytest.mark.soak


def config(port: int, dead: int) -> str:
    routes = f"""
[outbound.routes]
"partner.example" = "smtp://127.0.0.1:{port}"
"dead.example" = "smtp://127.0.0.1:{dead}"

[outbound.destinations."127.0.0.1"]
connections = 3
messages_per_connection = 2
"""
    return BASE + LOOPBACK_RIGHT + routes


def send(relay: RunningRelay, domain: str, count: int) -> None:
    with smtplib.SMTP("127.0.0.1", relay.port("relay"), timeout=20) as session:
        for number in range(count):
            session.sendmail("alice@example.com", [f"u{number}@{domain}"], f"Subject: {domain} {number}\r\n\r\nhello\r\n")


def eventually(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"not in 20 seconds: {what}")


def shown(relay: RunningRelay, name: str) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {row["destination"]: row for row in relay.json("destination", "list")["destinations"]}
    return found.get(name, {})


def attempts(relay: RunningRelay) -> set[int]:
    return {row["attempts"] for row in relay.json("queue", "list")["recipients"]}


def test_a_paused_destination_waits_over_a_kill_and_goes_on_when_it_is_resumed(tmp_path: Path) -> None:
    with RecordingSink() as sink:
        relay = RunningRelay(tmp_path, config(sink.port, free_port()))
        with relay:
            assert relay.run("destination", "list").stdout == "No mail waits, and no destination is paused.\n"
            done = relay.run("destination", "pause", "Partner.Example", "--reason", "they move until Sunday")
            assert (done.returncode, done.stderr) == (0, "")
            assert "Paused partner.example" in done.stdout
            again = relay.run("destination", "pause", "partner.example")
            assert (again.returncode, "paused already" in again.stderr) == (2, True)
            send(relay, "partner.example", 12)
            eventually(lambda: shown(relay, "partner.example").get("waiting") == 12, "all wait on the disk")
            row = shown(relay, "partner.example")
            assert (row["state"], row["why"], row["active"]) == ("paused", "they move until Sunday", 0)
            assert row["last_reply"] == "451 4.3.2 paused by an operator: partner.example"
            assert attempts(relay) == {0}
            assert "paused since" in relay.run("destination", "list").stdout
            relay.kill()
        offline = shown(relay, "partner.example")
        assert (offline["state"], offline["waiting"]) == ("paused", 12)
        with relay:
            send(relay, "partner.example", 1)
            time.sleep(0.5)
            assert sink.subjects == []
            done = relay.run("destination", "resume", "partner.example", "--json")
            assert done.returncode == 0
            answer = json.loads(done.stdout)
            assert answer["schema"] == "postlatch.destination.resume/1"
            assert answer["woken"] == 13
            eventually(lambda: len(sink.subjects) == 13, "all arrive")
            eventually(lambda: relay.json("queue", "list")["recipients"] == [], "nothing waits")
            found = relay.json("journal", "search", "--event", "destination")["events"]
            assert [event["event"] for event in found][:2] == ["destination.paused", "destination.resumed"]
            assert relay.run("destination", "resume", "partner.example").returncode == 2


def test_a_parked_destination_is_shown_and_tried_when_an_operator_says_so(tmp_path: Path) -> None:
    dead = free_port()
    with RecordingSink() as sink, RunningRelay(tmp_path, config(sink.port, dead)) as relay:
        name = f"smtp://127.0.0.1:{dead}"
        for _ in range(4):
            send(relay, "dead.example", 2)
            time.sleep(2.2)
            if shown(relay, name).get("state") == "parked":
                break
        eventually(lambda: shown(relay, name)["state"] == "parked", "it is parked")
        row = shown(relay, name)
        assert row["last_reply"].startswith("connect failed")
        assert row["next_attempt"]
        send(relay, "partner.example", 3)
        eventually(lambda: len(sink.subjects) == 3, "the others move")
        assert relay.run("destination", "resume", name).returncode == 0
        assert relay.run("destination", "resume", "partner.example").returncode == 2


def test_what_is_no_destination_is_refused_with_what_would_be_right(tmp_path: Path) -> None:
    relay = RunningRelay(tmp_path)
    for text in ("smtp://", "no domain", "a..example", "\x1b[31m"):
        done = relay.run("destination", "pause", text)
        assert done.returncode == 2
        assert "write a domain, or a next hop" in done.stderr
        assert "\x1b" not in done.stderr


def test_a_pause_can_be_made_before_the_relay_starts(tmp_path: Path) -> None:
    with RecordingSink() as sink:
        relay = RunningRelay(tmp_path, config(sink.port, free_port()))
        hop = f"smtp://127.0.0.1:{sink.port}"
        assert relay.run("destination", "pause", hop).returncode == 0
        with relay:
            send(relay, "partner.example", 2)
            eventually(lambda: shown(relay, hop).get("waiting") == 2, "they wait")
            assert sink.subjects == []
            assert relay.run("destination", "resume", hop).returncode == 0
            eventually(lambda: len(sink.subjects) == 2, "both arrive")
