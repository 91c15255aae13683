"""The shape of a command: what the tables of commands are made of."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """The type of an argument, and what the backend gets."""

    TEXT = "text"  # str, unchecked
    COUNT = "count"  # int, from 1
    FLAG = "flag"  # True
    CHOICE = "choice"  # str, one of ``choices``
    DOMAIN = "domain"  # str, lower-case A-labels
    ADDRESS = "ip"  # str, an IPv4 or IPv6 address
    NETWORK = "network"  # str, ADDRESS/LENGTH without host bits; a bare address is itself alone
    DATE = "date"  # str, YEAR-MONTH-DAY
    TIME = "time"  # float, seconds since 1970
    DURATION = "duration"  # int, seconds
    PATH = "path"  # str, absolute


class Argument(NamedTuple):
    """One argument. ``name`` is its key for the backend; without ``flag`` it is positional."""

    name: str
    kind: Kind
    help: str
    flag: str = ""
    metavar: str = ""
    required: bool = False
    many: bool = False
    choices: tuple[str, ...] = ()
    default: str | int | None = None


class Way(StrEnum):
    """How the backend carries a command out."""

    CALL = "call"
    STREAM = "stream"
    RUN = "run"


class Command(NamedTuple):
    """One command. ``name`` is the backend's (``queue.list`` is typed as ``queue list``).

    ``result`` names the fields of its JSON object beside ``schema`` (``postlatch.NAME/1``). ``password``: it takes one, as the
    argument ``password``. ``selection``: it refuses to run without an ID or a filter.
    """

    name: str
    help: str
    arguments: tuple[Argument, ...] = ()
    result: tuple[str, ...] = ()
    way: Way = Way.CALL
    password: bool = False
    selection: bool = False
    examples: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """As typed: ``["queue", "list"]``."""
        return self.name.split(".")
