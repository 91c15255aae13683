"""DNS answers as values: records, none, no such name, or no answer."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, Generic, NamedTuple, TypeVar

from postlatch.audit.printable import printable
from postlatch.model.dns import DnsError

MOST: Final = 200  # records of one answer that are looked at

_T = TypeVar("_T")


class Asked(NamedTuple, Generic[_T]):
    """``failed`` says why there is no answer, empty if there is one; ``exists`` is False for a name that is not there."""

    records: tuple[_T, ...] = ()
    failed: str = ""
    exists: bool = True


async def ask(answer: Awaitable[list[_T]]) -> Asked[_T]:
    """Never raises for what the DNS can do."""
    try:
        return Asked(tuple((await answer)[:MOST]))
    except DnsError as error:
        if error.temporary:
            return Asked(failed=printable(str(error)) or "the DNS did not answer")
        return Asked(exists=False)
