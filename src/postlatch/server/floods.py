"""Floods of refusals: beyond a rate, those of one prefix are counted together instead of told one by one. No count is lost.

A prefix is the /24 or /64 around a client. Time is cut into seconds: what exceeds the limit within one is folded, and so is all
of the next one, until a second passes in which the prefix stays below. Memory is bounded: when too many prefixes are under
watch, those that come late share wider ones (/16, /48), and at last one for everybody; the counts stay exact in each.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_network
from typing import Final

from postlatch.journal.codec import to_json
from postlatch.model.events import Event, JsonValue

LIMIT: Final = 1000  # refusals a second from one prefix that are told one by one
PREFIXES: Final = 10_000  # watched at once, and as many wider ones
FOLDS: Final = 1000  # aggregates between two flushes, and as many wider ones
SAMPLES: Final = 3  # of an aggregate
SAMPLE_SIZE: Final = 500  # characters of each

_FoldKey = tuple[str, str, str, str, str]  # prefix, listener, name of the event, verdict, rule


class _Fold:
    """What is known of the refusals that were folded into one."""

    __slots__ = ("count", "first_at", "last_at", "sample")

    def __init__(self, at: float) -> None:
        self.count = 0
        self.first_at = at
        self.last_at = at
        self.sample: list[str] = []


class FloodGate:
    """Asked at every refusal. Used by one thread. ``monotonic`` is in seconds; ``now`` and ``at`` are seconds since 1970."""

    def __init__(self, limit: int = LIMIT, prefixes: int = PREFIXES, folds: int = FOLDS) -> None:
        self._limit = limit
        self._most_prefixes = prefixes
        self._most_folds = folds
        self._second = float("-inf")  # monotonic time at which the current second began
        self._counts: dict[str, int] = {}
        self._flooding: frozenset[str] = frozenset()
        self._folds: dict[_FoldKey, _Fold] = {}

    def folds(
        self,
        name: str,
        verdict: str,
        rule: str,
        facts: Mapping[str, JsonValue],
        now: float,
        monotonic: float,
    ) -> bool:
        """Count one refusal. True: it is part of a flood and of the next ``flush``; False: tell it by itself.

        ``facts`` hold its ``listener`` and ``client``, and whatever else its event would.
        """
        if monotonic - self._second >= 1.0:
            self._next_second(monotonic)
        prefix = self._watched(str(facts["client"]))
        count = self._counts.get(prefix, 0) + 1
        self._counts[prefix] = count
        if count <= self._limit and prefix not in self._flooding:
            return False
        fold = self._fold((prefix, str(facts["listener"]), name, verdict, rule), now)
        fold.count += 1
        fold.last_at = now
        if len(fold.sample) < SAMPLES:
            fold.sample.append(_sample(facts))
        return True

    def flush(self) -> list[Event]:
        """The aggregates since the last call, as ``refusals.aggregated``. Call it a few times a second, and at the end."""
        folds, self._folds = self._folds, {}
        return [_event(key, fold) for key, fold in folds.items()]

    def _next_second(self, monotonic: float) -> None:
        # After a pause nobody is flooding: the second before this one had no refusals at all.
        running = monotonic - self._second < 2.0
        over = [prefix for prefix, count in self._counts.items() if count > self._limit] if running else []
        self._flooding = frozenset(over)
        self._counts = {}
        self._second = monotonic

    def _watched(self, client: str) -> str:
        """The prefix under which a client is counted now."""
        prefix = prefix_of(client)
        counts = self._counts
        if prefix in counts or len(counts) < self._most_prefixes:
            return prefix
        wide = wider(prefix)
        return wide if wide in counts or len(counts) < 2 * self._most_prefixes else everybody(prefix)

    def _fold(self, key: _FoldKey, now: float) -> _Fold:
        folds = self._folds
        if key not in folds and len(folds) >= self._most_folds:
            prefix = key[0]
            key = (wider(prefix), *key[1:])
            if key not in folds and len(folds) >= 2 * self._most_folds:
                key = (everybody(prefix), *key[1:])  # what is left of the key are names of ours: few
        fold = folds.get(key)
        if fold is None:
            fold = folds[key] = _Fold(now)
        return fold


def _sample(facts: Mapping[str, JsonValue]) -> str:
    """The facts of one refusal as JSON, printable ASCII whatever the client said, cut where it gets long."""
    text = to_json({name: value for name, value in facts.items() if name != "listener"})
    return text if len(text) <= SAMPLE_SIZE else f"{text[: SAMPLE_SIZE - 3]}..."


def _event(key: _FoldKey, fold: _Fold) -> Event:
    prefix, listener, name, verdict, rule = key
    fields: dict[str, JsonValue] = {
        "listener": listener,
        "client": prefix,
        "refusal": name,
        "verdict": verdict,
        "rule": rule,
        "count": fold.count,
        "first_at": fold.first_at,
        "last_at": fold.last_at,
        "sample": fold.sample,
    }
    return Event("refusals.aggregated", fold.last_at, fields)


def prefix_of(client: str) -> str:
    """The /24 or /64 of a client's address, as a network is written."""
    if ":" not in client:
        head, dot, _ = client.rpartition(".")
        return f"{head}.0/24" if dot else client  # a client without an address stays what it is
    return _of_ipv6(client)


@lru_cache(maxsize=8192)
def _of_ipv6(client: str) -> str:
    return str(ip_network(f"{client.partition('%')[0]}/64", strict=False))


def wider(prefix: str) -> str:
    """The /16 or /48 around a prefix that ``prefix_of`` made; what is no such prefix stays what it is."""
    address, slash, length = prefix.partition("/")
    if length == "24":
        first, _, rest = address.partition(".")
        return f"{first}.{rest.partition('.')[0]}.0.0/16"
    return str(ip_network(f"{address}/48", strict=False)) if slash and length == "64" else prefix


def everybody(prefix: str) -> str:
    """The whole address space of a prefix."""
    return "::/0" if ":" in prefix else "0.0.0.0/0"
