"""Counting for ``/metrics``, in the process that does the work. The page's process asks for a snapshot.

The names and their meaning are the catalogue in ``web/metrics.py``. Labels are names of ours (listeners, rules, results), never
what a client sent: each new combination is kept for ever.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final, NotRequired, TypedDict

# Upper bounds, inclusive. A commit waits for the disk: from a fast SSD to one that must be replaced.
BOUNDS: Final[Mapping[str, tuple[float, ...]]] = {
    "postlatch_commit_seconds": (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0),
    "postlatch_commit_batch_size": (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
}


class Sample(TypedDict):
    """One number, or a histogram: ``sum``, and ``buckets`` as [upper bound, how many were at most that], last the total.

    ``labels`` are in the catalogue's order. ``value`` is the count of observations in a histogram.
    """

    name: str
    labels: list[str]
    value: float
    sum: NotRequired[float]
    buckets: NotRequired[list[tuple[float, int]]]


class _Histogram:
    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0


class Counters:
    """Named numbers. One thread counts under one name (an increment is not atomic); any thread may take a snapshot."""

    def __init__(self, bounds: Mapping[str, tuple[float, ...]] = BOUNDS) -> None:
        self._bounds = bounds
        self._values: dict[tuple[str, tuple[str, ...]], float] = {}
        self._histograms: dict[tuple[str, tuple[str, ...]], _Histogram] = {}

    def inc(self, name: str, labels: tuple[str, ...] = (), amount: float = 1) -> None:
        """Add to a counter (or, with a negative amount, take from a gauge). 0.2 µs."""
        key = (name, labels)
        self._values[key] = self._values.get(key, 0) + amount

    def set(self, name: str, value: float, labels: tuple[str, ...] = ()) -> None:
        """Set a gauge."""
        self._values[name, labels] = value

    def observe(self, name: str, value: float, labels: tuple[str, ...] = ()) -> None:
        """Put one value into a histogram; KeyError if ``name`` has no bounds."""
        histogram = self._histograms.get((name, labels))
        if histogram is None:
            histogram = self._histograms[name, labels] = _Histogram(self._bounds[name])
        histogram.counts[bisect_left(histogram.bounds, value)] += 1
        histogram.total += value

    def total(self, name: str, label: str) -> int:
        """The sum of a counter over all of its label sets that begin with ``label``."""
        values = self._values.copy().items()
        return int(sum(value for (counted, labels), value in values if counted == name and labels[:1] == (label,)))

    def snapshot(self) -> list[Sample]:
        """Everything counted so far, as JSON can hold it."""
        # copy() is one step for the interpreter; list(items()) is not: it makes tuples, the collector may run meanwhile and let
        # another thread in, and a new name would break the loop.
        samples = [Sample(name=name, labels=list(labels), value=value) for (name, labels), value in self._values.copy().items()]
        samples.extend(_sample(name, labels, histogram) for (name, labels), histogram in self._histograms.copy().items())
        return samples


def _sample(name: str, labels: tuple[str, ...], histogram: _Histogram) -> Sample:
    running = 0
    buckets: list[tuple[float, int]] = []
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        running += count
        buckets.append((bound, running))
    total = running + histogram.counts[-1]
    return Sample(name=name, labels=list(labels), value=total, sum=histogram.total, buckets=buckets)
