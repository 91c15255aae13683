"""Whether a name is one under which anybody can have a domain (``com``, ``co.uk``): nobody sends mail as all of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from publicsuffixlist import PSLFILE, PublicSuffixList


def is_public_suffix(domain: str) -> bool:
    """``domain`` is in lower case, as A-labels. What is under no rule counts by its last label, as the list says."""
    return bool(_rules(domain.rpartition(".")[2]).publicsuffix(domain) == domain)


@cache
def _rules(last_label: str) -> PublicSuffixList:
    """Those that can concern names with this last label: the whole list takes a tenth of a second at every start."""
    if last_label.startswith("xn--"):
        return PublicSuffixList()
    end = last_label.encode()
    with Path(PSLFILE).open("rb") as lines:
        return PublicSuffixList(source=[line for line in lines if line.rstrip().endswith(end)])
