"""Fixtures of every room. The vectors of others are found in one place and stay outside the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTDATA = Path(__file__).resolve().parents[2] / "shared" / "testdata"


def pytest_sessionstart() -> None:
    """Compiled modules that are older than their sources would be tested instead of them."""
    script = Path(__file__).resolve().parents[1] / "script" / "compile"
    checked = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    if checked.returncode:
        pytest.exit(checked.stdout.strip(), returncode=4)


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of third-party vectors, beside the checkout; POSTLATCH_TESTDATA names another."""
    folder = Path(os.environ.get("POSTLATCH_TESTDATA", TESTDATA))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}: set POSTLATCH_TESTDATA to run these vectors")
    return folder
