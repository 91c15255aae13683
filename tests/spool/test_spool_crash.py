"""kill -9 (RELIABILITY cases 1 and 2): what was answered 250 is there, whole, and what may be a duplicate is flagged."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from spool_contract import LARGE, read_all
from spool_tools import BODY, Relay, in_loop

from postlatch.model.ids import parse_id
from postlatch.store.database import check_whole

CHILD = Path(__file__).with_name("spool_child.py")
KILLS = 20


def run_until_killed(folder: Path, start: float, seconds: float) -> list[tuple[str, int]]:
    """What one child said before it was killed, ``seconds`` after its first word."""
    with subprocess.Popen([sys.executable, str(CHILD), str(folder), str(start)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        first = child.stdout.readline()
        time.sleep(seconds)
        child.kill()
        # The last line may be cut off: then it was not said.
        lines = [first, *(line for line in child.stdout if line.endswith("\n"))]
    return [(word, parse_id(name)) for word, name in (line.split() for line in lines)]


@pytest.mark.soak
def test_nothing_acknowledged_is_lost_over_twenty_kills(tmp_path: Path) -> None:
    said: Counter[tuple[str, int]] = Counter()
    chance = random.Random(7)
    for kill in range(KILLS):
        start = 1_767_225_600.0 + kill * 1000  # ids grow from run to run
        said.update(run_until_killed(tmp_path / "data", start, chance.uniform(0.02, 0.25)))
    accepted = {message for word, message in said if word == "accepted"}
    sent = {message for word, message in said if word == "sent"}
    done = {message for word, message in said if word == "done"}
    assert len(accepted) > KILLS

    @in_loop
    async def scenario() -> None:
        async with Relay(tmp_path / "data") as relay:
            relay.clock.advance(KILLS * 1000)
            rows = relay.sql("SELECT message, number, state, possible_duplicate FROM recipients ORDER BY message, number")
            states = {(message, number): state for message, number, state, _ in rows}
            assert accepted <= {message for message, _ in states}, "answered 250, and lost"
            assert all((message, number) in states for message in accepted for number in (0, 1)), "stored in part"
            assert all(states[message, 0] == "delivered" for message in done)
            flagged = {message for message, number, _, duplicate in rows if number == 0 and duplicate}
            assert sent - done <= flagged | {m for m, n in states if n == 0 and states[m, n] == "delivered"}
            assert relay.swept.held == ()
            claims = []
            while found := await relay.due(100_000):  # one claim has so many recipients and no more
                claims += found
            assert accepted <= {claim.message.message_id for claim in claims}
            for claim in claims:
                assert await read_all(relay, claim) in (BODY, LARGE)

    scenario()
    assert check_whole(tmp_path / "data" / "postlatch.db") == []
