"""Where the files of a configuration are: it may have been copied from another machine."""

from __future__ import annotations

from pathlib import Path

from postlatch.audit.lint.reading import is_readable_file

_HOME = Path("/etc/postfix")


class Place:
    """The directory of main.cf, and what its paths mean."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._copied = directory.resolve() != _HOME

    def find(self, name: str) -> Path | None:
        """The file that the configuration calls ``name``; None if there is none here.

        What is called /etc/postfix/x is x beside main.cf first, if that is not /etc/postfix itself: this machine's file of
        that name says nothing about another server.
        """
        if not name or "\0" in name or len(name) > 1000:
            return None
        path = Path(name)
        below = path.relative_to(_HOME) if path.is_relative_to(_HOME) else None
        beside = self.directory / (below if below is not None else path.name if path.is_absolute() else path)
        order = [beside, path] if self._copied and below is not None else [path, beside]
        return next((found for found in order if (found.is_absolute() or found is beside) and is_readable_file(found)), None)

    def shown(self, path: Path) -> str:
        """A file's name for people: relative to the directory where it is inside."""
        return str(path.relative_to(self.directory)) if path.is_relative_to(self.directory) else str(path)
