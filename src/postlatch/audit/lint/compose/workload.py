"""What a container that takes mail looks like, however it was written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

MAIL_PORTS: Final = frozenset((24, 25, 465, 587, 588, 1025, 2525, 10025, 8025))


class Setting(NamedTuple):
    """The value of an environment variable, and where it stands."""

    value: str
    file: str
    line: int | None


class Port(NamedTuple):
    """A published mail port. ``masked``: why clients may lose their own addresses; "" if they keep them."""

    number: int
    public: bool
    masked: str
    fix: str
    file: str
    line: int | None
    surely: bool = False


class Workload(NamedTuple):
    """One service, pod or deployment."""

    name: str
    image: str
    settings: Mapping[str, Setting]
    ports: tuple[Port, ...]
    file: str
    line: int | None

    @property
    def reachable(self) -> tuple[Port, ...]:
        """The ports that strangers reach."""
        return tuple(port for port in self.ports if port.public)
