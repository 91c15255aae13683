"""What stands behind the command line: the running relay by its control socket, or the database itself. ``app`` makes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

GOOD, BAD_NEWS, UNUSABLE, UNDECIDED = 0, 1, 2, 3  # exit statuses, DESIGN section 9


class Answer(NamedTuple):
    """``status`` is the exit status; ``data`` the JSON object with its ``schema``; ``message`` says what went wrong.

    ``data`` may be empty where there is no result. A result of another command than ``check`` may hold ``errors`` of the
    configuration in the shape of ``check``'s.
    """

    status: int
    data: dict[str, Any]
    message: str = ""


class CommandFailed(Exception):
    """For a stream that cannot go on: its answer ends the command. Also taken from ``call``."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.message)
        self.answer = answer


class Backend(Protocol):
    """Carries out commands. Commands, arguments and results are listed in ``catalogue``.

    ``arguments`` hold JSON values only, and only those that were given or have a default. ``config`` is the file of
    ``--config``; None: look in the usual places (``settings.choose_path``).
    """

    def call(self, command: str, arguments: dict[str, Any], config: Path | None) -> Answer:
        """Run a command that has one result."""
        ...

    def stream(self, command: str, arguments: dict[str, Any], config: Path | None) -> Iterator[dict[str, Any]]:
        """Run a command that yields records as they come (``journal.tail`` with ``follow``, ``journal.export``)."""
        ...

    def run(self, command: str, arguments: dict[str, Any], config: Path | None) -> int:
        """Take over the process (``serve``, ``demo``); returns the exit status."""
        ...
