"""What a command answers, and how that crosses the control socket."""

from __future__ import annotations

from typing import Any, NamedTuple

GOOD, BAD_NEWS, UNUSABLE, UNDECIDED = 0, 1, 2, 3  # exit statuses, DESIGN section 9


class Answer(NamedTuple):
    """``status`` is the exit status; ``data`` the JSON object; ``message`` one line for people where it went wrong."""

    status: int
    data: dict[str, Any]
    message: str = ""


class CommandError(Exception):
    """A command that cannot be carried out: bad input (2) unless another status says otherwise."""

    def __init__(self, message: str, status: int = UNUSABLE) -> None:
        super().__init__(message)
        self.status = status


def good(schema: str, **data: Any) -> Answer:
    """An answer with exit status 0 and its schema named."""
    return Answer(GOOD, {"schema": f"postlatch.{schema}/1", **data})
