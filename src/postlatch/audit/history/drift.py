"""Is the latest audit a reason to wake somebody?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from postlatch.audit.history.compare import Comparison, compare
from postlatch.audit.history.seen import Result, Seen
from postlatch.audit.values import AuditVerdict

_BLIND: Final = AuditVerdict.INCONCLUSIVE


class Drift(NamedTuple):
    """What the latest audit says that those before did not. ``failed``: that it could not be made, if the last one could."""

    comparison: Comparison
    failed: str = ""

    @property
    def alarming(self) -> bool:
        """Worse, or blind where there was sight: each told once, not again with every audit that finds the same."""
        return bool(self.comparison.worse or self.comparison.undecided or self.failed)

    @property
    def sentences(self) -> list[str]:
        """The bad news first."""
        found = self.comparison
        failed = [f"The audit could not be made: {self.failed}"] if self.failed else []
        told = dict.fromkeys([*found.worse, *found.unsure, *found.better, *found.new, *found.gone])
        return failed + list(dict.fromkeys(change.sentence for change in told))

    def as_data(self) -> dict[str, Any]:
        """For the program that is told: ``postlatch.audit-alert/1``."""
        return {
            "schema": "postlatch.audit-alert/1",
            "failed": self.failed or None,
            "sentences": self.sentences,
            **self.comparison.as_data(),
        }


def drift(earlier: Sequence[Result], latest: Result) -> Drift:
    """``earlier`` in the order in which they were made.

    A target is compared with what was last known of it: audits that failed or were inconclusive are passed over, so that a
    server that was closed, then silent, then open is worse than it was, and one that was open, then silent, is not better.
    """
    last = earlier[-1] if earlier else Result({})
    if latest.failed:
        return Drift(Comparison(), latest.failed if not last.failed else "")
    known = {name: _known(earlier, name) for name in latest.targets}
    found = compare(Result({name: seen for name, seen in known.items() if seen is not None}), latest)
    if not earlier:
        return Drift(found)
    # That nothing can be seen is told once, when it begins.
    began = {name for name, seen in latest.targets.items() if seen.verdict is _BLIND and not _was_blind(earlier, name)}
    found.unsure = [
        change for change in found.unsure if change.target in began or latest.targets[change.target].verdict is not _BLIND
    ]
    return Drift(found)


def _known(earlier: Sequence[Result], name: str) -> Seen | None:
    """What was last known of a target: its last verdict, or, if there never was one, its last result."""
    seen = [result.targets[name] for result in earlier if name in result.targets]
    return next((one for one in reversed(seen) if one.verdict is not _BLIND), seen[-1] if seen else None)


def _was_blind(earlier: Sequence[Result], name: str) -> bool:
    seen = next((result.targets[name] for result in reversed(earlier) if name in result.targets), None)
    return seen is not None and seen.verdict is _BLIND
