"""Fixtures of every room. The vectors of others are found in one place and stay outside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TESTDATA = Path(__file__).resolve().parents[2] / "shared" / "testdata"


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of third-party vectors, beside the checkout; POSTLATCH_TESTDATA names another."""
    folder = Path(os.environ.get("POSTLATCH_TESTDATA", TESTDATA))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}: set POSTLATCH_TESTDATA to run these vectors")
    return folder
