"""Why a conversation could not go on."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Why(StrEnum):
    """The kinds of end that are no answer."""

    UNREACHABLE = "unreachable"
    SILENT = "silent"  # no answer in time
    CLOSED = "closed"  # by the other side
    GARBAGE = "garbage"  # what came is no SMTP
    TLS = "tls"
    MANNERS = "manners"  # we do not go on ourselves
    LATE = "late"  # the time of the whole audit is over


TIME_IS_OVER: Final = "the time of the audit is over"


class Ended(Exception):
    """The conversation is over. ``str`` is a printable sentence."""

    def __init__(self, why: Why, text: str) -> None:
        super().__init__(text)
        self.why = why
