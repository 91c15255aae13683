"""Asks questions that are conversations: each in one of its own, a few at a time; whatever happens is an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from postlatch.audit.probes.conversation import Conversation
from postlatch.audit.probes.ended import TIME_IS_OVER, Ended, Why
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.place import Place
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import Severity

_AT_ONCE: Final = 4
_SILENT: Final = 3  # questions of a family that stayed without an answer: then the rest of it is not asked

Talk = Callable[[Conversation, Outcome], Awaitable[Outcome]]


class Question(NamedTuple):
    """One conversation. ``begun`` is its outcome as long as nothing is known.

    ``raw``: it gets the connection before the banner was read. ``if_closed``: what it means if the server hangs up on it.
    """

    begun: Outcome
    talk: Talk
    raw: bool = False
    if_closed: Stand = Stand.UNDECIDED


async def ask_each(inquiry: Inquiry, questions: Sequence[Question]) -> list[Outcome]:
    """The outcomes, in the order of the questions."""
    asking = _Asking(inquiry)
    return list(await asyncio.gather(*(asking.ask_patiently(question) for question in questions)))


def one_finding_each(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The same fault at the same place is told once, by the worst of the outcomes, which names the others."""
    groups: dict[tuple[str, Place], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.finding is not None:
            groups.setdefault((outcome.finding.id, outcome.place), []).append(outcome)
    worst = {key: min(group, key=_badness) for key, group in groups.items()}

    def told(outcome: Outcome) -> Outcome:
        finding = outcome.finding
        if finding is None:
            return outcome
        key = finding.id, outcome.place
        if worst[key] is not outcome:
            return outcome._replace(finding=None)
        others = ", ".join(one.how for one in groups[key] if one is not outcome)
        return (
            outcome._replace(finding=finding._replace(message=f"{finding.message}; also: {others}"[:500]))
            if others
            else outcome
        )

    return [told(outcome) for outcome in outcomes]


def _badness(outcome: Outcome) -> tuple[int, bool]:
    severity = outcome.finding.severity if outcome.finding is not None else Severity.INFO
    return tuple(Severity).index(severity), outcome.stand is not Stand.TAKEN


def left(inquiry: Inquiry) -> float:
    """Seconds of the audit that are left."""
    return max(0.0, inquiry.deadline - inquiry.clock.monotonic())


async def says_yes_to_all(talk: Conversation) -> bool:
    """Does it take a command that there is not? Then that it takes another one says nothing."""
    return (await talk.say("XPROBE nothing")).taken


class _Asking:
    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._silent = 0

    async def ask_patiently(self, question: Question) -> Outcome:
        """A server that was busy, or had enough of us, is asked once more whether it relays."""
        outcome = await self.ask(question)
        if outcome.foreign and outcome.stand is Stand.UNDECIDED:
            return await self.ask(question)
        return outcome

    async def ask(self, question: Question) -> Outcome:
        async with self._turns:
            try:
                self._inquiry.check_time()
                self._check_silence()
                async with asyncio.timeout(left(self._inquiry)):
                    return await self._answer(question)
            except Ended as end:
                return self._ended(question.begun, Stand.UNDECIDED, end)
            except TimeoutError:
                return question.begun._replace(why=TIME_IS_OVER)

    def _check_silence(self) -> None:
        if self._silent >= _SILENT:
            raise Ended(Why.SILENT, f"not asked: {_SILENT} questions before it got no answer")

    async def _answer(self, question: Question) -> Outcome:
        dial, place = self._inquiry.dial, question.begun.place
        async with await (dial.connect(place) if question.raw else dial.open(place)) as talk:
            try:
                outcome = await question.talk(talk, question.begun)
            except Ended as end:
                outcome = self._ended(question.begun, question.if_closed, end)
            return _with_transcript(outcome, tuple(talk.transcript))

    def _ended(self, begun: Outcome, if_closed: Stand, end: Ended) -> Outcome:
        if end.why is Why.SILENT:
            self._silent += 1
        return begun._replace(stand=if_closed if end.why is Why.CLOSED else Stand.UNDECIDED, why=str(end))


def _with_transcript(outcome: Outcome, transcript: tuple[str, ...]) -> Outcome:
    finding = outcome.finding
    if finding is not None and not finding.transcript:
        finding = finding._replace(transcript=transcript)
    return outcome._replace(transcript=transcript, finding=finding)
