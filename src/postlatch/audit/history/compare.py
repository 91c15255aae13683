"""What changed between two results: for the worse, for the better, or so that one cannot tell any more.

Silence is not safety: what was not asked, or got no answer, is never better than what was seen before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from postlatch.audit.history.seen import GRADES, Key, Result, Seen
from postlatch.audit.probes.values import Stand
from postlatch.audit.report.words import VERDICTS
from postlatch.audit.values import AuditVerdict, Severity

_VERDICT_ORDER: Final = tuple(AuditVerdict)  # worst first, inconclusive apart
_SEVERITY_ORDER: Final = tuple(Severity)
_BAD: Final = frozenset({AuditVerdict.OPEN, AuditVerdict.BACKSCATTER, AuditVerdict.ACCEPTS, AuditVerdict.SPOOFABLE})
_FAILED: Final = frozenset({Stand.TAKEN, Stand.BROKE})


class Change(NamedTuple):
    """One difference. ``what``: target, verdict, grade, finding, answer or place. What was not there is empty."""

    target: str
    what: str
    sentence: str
    id: str = ""
    place: str = ""
    before: str = ""
    after: str = ""

    def as_data(self) -> dict[str, Any]:
        """For JSON, where empty is null."""
        return {
            name: value or None if name in {"id", "place", "before", "after"} else value
            for name, value in self._asdict().items()
        }


@dataclass(slots=True)
class Comparison:
    """All differences. ``unsure``: seen before, and not to be seen now; ``same`` counts what did not change."""

    worse: list[Change] = field(default_factory=list)
    better: list[Change] = field(default_factory=list)
    new: list[Change] = field(default_factory=list)
    gone: list[Change] = field(default_factory=list)
    unsure: list[Change] = field(default_factory=list)
    same: int = 0

    @property
    def undecided(self) -> bool:
        """Is a verdict that there was before not to be had now?"""
        return any(change.what == "verdict" for change in self.unsure)

    def as_data(self) -> dict[str, Any]:
        """For JSON: the fields of ``postlatch.audit-compare/1``."""
        lists = {name: [one.as_data() for one in getattr(self, name)] for name in ("worse", "better", "new", "gone", "unsure")}
        return {**lists, "same": self.same}


def compare(before: Result, after: Result) -> Comparison:
    """From the first to the second."""
    found = Comparison()
    for name, seen in after.targets.items():
        if name in before.targets:
            _target(before.targets[name], seen, found)
        else:
            _new(seen, found)
    for name, seen in before.targets.items():
        if name not in after.targets:
            words = f"{name} was {VERDICTS[seen.verdict].phrase} and is not in the second result."
            found.gone.append(Change(name, "target", words, before=seen.verdict.value))
    return found


def _new(seen: Seen, found: Comparison) -> None:
    words = f"{seen.target} is new: {VERDICTS[seen.verdict].phrase}."
    change = Change(seen.target, "target", words, after=seen.verdict.value)
    found.new.append(change)
    if seen.verdict in _BAD:
        found.worse.append(change)


def _target(before: Seen, after: Seen, found: Comparison) -> None:
    _verdict(before, after, found)
    blind = after.verdict is AuditVerdict.INCONCLUSIVE
    if not blind and before.grade != after.grade and {before.grade, after.grade} <= set(GRADES):
        better = GRADES.index(after.grade) > GRADES.index(before.grade)
        words = f"{after.target}: the grade went {'up' if better else 'down'} from {before.grade} to {after.grade}."
        (found.better if better else found.worse).append(
            Change(after.target, "grade", words, "", "", before.grade, after.grade)
        )
    asked = {key.place for key in after.answers}
    _findings(before, after, found, asked, blind=blind)
    _answers(before, after, found, asked)
    if not blind:
        _places(before, after, found)


def _verdict(before: Seen, after: Seen, found: Comparison) -> None:
    was, now = before.verdict, after.verdict
    if was is now:
        found.same += 1
        return
    words = f"{after.target} was {VERDICTS[was].phrase} and is {VERDICTS[now].phrase} now."
    change = Change(after.target, "verdict", words, "", "", was.value, now.value)
    if now is AuditVerdict.INCONCLUSIVE:
        found.unsure.append(change)
    elif was is AuditVerdict.INCONCLUSIVE:
        (found.worse if now in _BAD else found.better).append(change)
    else:
        better = _VERDICT_ORDER.index(now) > _VERDICT_ORDER.index(was)
        (found.better if better else found.worse).append(change)


def _findings(before: Seen, after: Seen, found: Comparison, asked: set[str], *, blind: bool) -> None:
    for key in _keys(before.findings, after.findings):
        was, now = before.findings.get(key), after.findings.get(key)
        if was is now:
            found.same += 1
            continue
        title = after.titles.get(key) or before.titles[key]
        change = Change(after.target, "finding", "", key.id, key.place, was or "", now or "")
        if now is None:
            # Nobody looked where it was, or nothing could be seen: that it is not found says nothing.
            unseen = blind or bool(key.place and key.place not in asked)
            words = f"{after.target}: not {'to be seen' if unseen else 'found'} any more: {title}"
            (found.unsure if unseen else found.better).append(change._replace(sentence=words))
        elif was is None:
            found.worse.append(change._replace(sentence=f"{after.target}: new, {now.value}: {title}"))
        else:
            better = _SEVERITY_ORDER.index(now) > _SEVERITY_ORDER.index(was)
            words = f"{after.target}: {'less' if better else 'more'} severe, {now.value} instead of {was.value}: {title}"
            (found.better if better else found.worse).append(change._replace(sentence=words))


def _answers(before: Seen, after: Seen, found: Comparison, asked: set[str]) -> None:
    known = {key.place for key in before.answers}
    for key in _keys(before.answers, after.answers):
        if key.place not in asked or key.place not in known:
            continue  # told as a place
        was, now = before.answers.get(key, Stand.ABSENT), after.answers.get(key, Stand.ABSENT)
        if was is now:
            found.same += 1
        elif (way := _way(was, now, found)) is not None:
            words = f"{after.target}, {key.place}: question {key.id} was {_stand(was)} and is {_stand(now)} now."
            way.append(Change(after.target, "answer", words, key.id, key.place, was.value, now.value))


def _way(was: Stand, now: Stand, found: Comparison) -> list[Change] | None:
    """Whether an answer is worse, better, or lost; None for a question that nobody had asked before and that went well."""
    if now in _FAILED:
        return found.better if was is Stand.BROKE else found.worse
    if now is Stand.HELD:
        return found.better if was in _FAILED else None
    return found.unsure if was is not Stand.UNDECIDED and was is not Stand.ABSENT else None


def _stand(stand: Stand) -> str:
    return "not asked" if stand is Stand.ABSENT else stand.value


def _places(before: Seen, after: Seen, found: Comparison) -> None:
    was, now = ({key.place for key in seen.answers} for seen in (before, after))
    for place in sorted(now - was):
        found.new.append(Change(after.target, "place", f"{after.target} is asked at {place} too.", place=place))
    for place in sorted(was - now):
        found.gone.append(Change(after.target, "place", f"{after.target} was asked at {place}, and is not now.", place=place))


def _keys(*both: Iterable[Key]) -> Iterator[Key]:
    """Of either, the order of the first kept."""
    yield from dict.fromkeys(key for one in both for key in one)
