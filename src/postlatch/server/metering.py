"""Counting for /metrics, as the rooms see it."""

from __future__ import annotations

from typing import Protocol


class Count(Protocol):
    """Counts for /metrics; see the catalogue in the web room."""

    def inc(self, name: str, labels: tuple[str, ...] = (), amount: float = 1) -> None:
        """Add to a counter."""
        ...

    def set(self, name: str, value: float, labels: tuple[str, ...] = ()) -> None:
        """Set a gauge."""
        ...
