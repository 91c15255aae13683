"""Every fuzz target is in the list of them, and the list names no other."""

from __future__ import annotations

import re

from docs_support import ROOT, page


def test_every_fuzz_target_is_documented() -> None:
    targets = {path.stem.removeprefix("fuzz_") for path in (ROOT / "fuzz").glob("fuzz_*.py")}
    assert set(re.findall(r"(?m)^\| `(\w+)` \|", page("testing.md").partition("| Target |")[2].partition("\n\n")[0])) == targets
