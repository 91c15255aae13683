"""What a command answers. The shape is the command line's; it also crosses the control socket, as JSON."""

from __future__ import annotations

from typing import Any

from postlatch.cli.backend import BAD_NEWS, GOOD, UNDECIDED, UNUSABLE, Answer, CommandFailed

__all__ = ["BAD_NEWS", "GOOD", "UNDECIDED", "UNUSABLE", "Answer", "CommandError", "CommandFailed", "good"]


class CommandError(Exception):
    """A command that cannot be carried out: bad input (2) unless another status says otherwise."""

    def __init__(self, message: str, status: int = UNUSABLE) -> None:
        super().__init__(message)
        self.status = status


def good(schema: str, **data: Any) -> Answer:
    """An answer with exit status 0 and its schema named."""
    return Answer(GOOD, {"schema": f"postlatch.{schema}/1", **data})
