"""Configurations of other servers, written for one test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple


class Case(NamedTuple):
    """A fault: the files with it, the finding, the verdict; and a change of one file that repairs it."""

    name: str
    files: Mapping[str, str]
    finding: str
    verdict: str
    repaired: Mapping[str, str]
    after: str = "closed"


def written(folder: Path, files: Mapping[str, str]) -> Path:
    """Writes the files, with folders; the folder is returned."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder
