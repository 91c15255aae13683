"""The linter for Postfix says what Postfix does: random configurations, for real (``benchmarks/lint_life.py`` runs 300)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from postfix_lottery import Lottery, draw

pytestmark = pytest.mark.skipif(
    not Path("/usr/sbin/postfix").exists() or os.geteuid() != 0 or shutil.which("postmap", path="/usr/sbin") is None,
    reason="needs Debian's postfix and root",
)
SEEDS = (0, 8, 21)  # among them open ones, services with options of their own, and a wide relay_domains


def test_what_the_linter_says_is_what_happens(tmp_path: Path) -> None:
    lottery = Lottery(tmp_path)
    with lottery.peer:
        outcomes = [outcome for seed in SEEDS for outcome in lottery.outcomes(draw(seed))]
    assert [outcome for outcome in outcomes if not outcome.agree] == []
    assert {bool(outcome.life) for outcome in outcomes} == {True, False}
