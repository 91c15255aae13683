"""Asks with envelopes alone: can a stranger's mail for a stranger be handed in?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from postlatch.audit.printable import printable
from postlatch.audit.probes.conversation import Conversation, Reply
from postlatch.audit.probes.ended import Ended, Why
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.judge import judge
from postlatch.audit.probes.proofs import Proofs
from postlatch.audit.probes.states import Position, State, asked
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.probes.vectors import Question, Whose
from postlatch.audit.values import Evidence

# Postfix answers the eleventh error of a session a second late; Exim ends it after ten commands that are no mail.
_A_SESSION: Final = 5
_AT_ONCE: Final = 4
_ABOUT_SENDERS: Final = "A"  # the family whose question is the sender
_CLOSING: Final = 421
_UNSENDABLE: Final = frozenset("\0\r\n")

Asked = tuple[State, Question]


async def ask(inquiry: Inquiry) -> list[Outcome]:
    """All envelopes where strangers hand in their mail, one of each idea in every other state and place; deep, all of them."""
    found: dict[Asked, Outcome] = {}
    proofs = Proofs(inquiry)
    await _work(inquiry, asked(inquiry), proofs, found)
    # A server that was busy, or had enough of us, is asked once more what it did not decide.
    again = [one for one, outcome in found.items() if outcome.stand is Stand.UNDECIDED]
    await _work(inquiry, again, proofs, found)
    return list(found.values())


async def _work(inquiry: Inquiry, wanted: Sequence[Asked], proofs: Proofs, found: dict[Asked, Outcome]) -> None:
    sessions = list(_sessions(wanted))
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(session: Sequence[Asked]) -> None:
        async with turns:
            await _session(inquiry, session, proofs, found)

    await asyncio.gather(*map(one, sessions))


def _sessions(wanted: Iterable[Asked]) -> Iterable[Sequence[Asked]]:
    """Questions that can share a conversation: of one state and greeting; what may end it stands alone."""

    def together(one: Asked) -> tuple[State, str, str]:
        state, question = one
        alone = question.rcpt if _UNSENDABLE.intersection(question.rcpt) else ""
        return state, question.helo, alone

    for _, group in groupby(wanted, together):
        questions = list(group)
        yield from (questions[start : start + _A_SESSION] for start in range(0, len(questions), _A_SESSION))


async def _session(inquiry: Inquiry, session: Sequence[Asked], proofs: Proofs, found: dict[Asked, Outcome]) -> None:
    left = list(session)
    before = 0
    while left and len(left) != before:  # who hangs up after some answers (Exim: three errors of syntax) is asked the rest anew
        before = len(left)
        try:
            await _rest(inquiry, left, proofs, found)
        except Ended as end:
            for one in left:
                found[one] = _unanswered(one, end)
            if end.why is not Why.CLOSED:
                return


async def _rest(inquiry: Inquiry, left: list[Asked], proofs: Proofs, found: dict[Asked, Outcome]) -> None:
    """Ask one after the other in a conversation of theirs; ``left`` are those that got no answer."""
    inquiry.check_time()
    state, first = left[0]
    async with await inquiry.dial.open(state.place, state.verb, first.helo) as talk:
        while left:
            inquiry.check_time()
            found[left[0]] = await _question(inquiry, talk, *left[0], proofs)
            left.pop(0)


def _unanswered(one: Asked, end: Ended) -> Outcome:
    state, question = one
    # To such octets, and to a name that is not the client's own, hanging up is an answer.
    odd = bool(_UNSENDABLE.intersection(question.rcpt)) or bool(question.helo)
    stand = Stand.HELD if odd and end.why is Why.CLOSED else Stand.UNDECIDED
    return Outcome(question.vector, state.place, stand, how=_how(state, question), why=str(end))


async def _question(inquiry: Inquiry, talk: Conversation, state: State, question: Question, proofs: Proofs) -> Outcome:
    """One question, and the proof of it if the server takes the recipient."""
    begins = len(talk.transcript)
    asked_at = Outcome(
        question.vector,
        state.place,
        Stand.UNDECIDED,
        how=_how(state, question),
        foreign=question.whose is Whose.FOREIGN,
    )
    if (absent := await _prepare(inquiry, talk, state)) is not None:
        return asked_at._replace(stand=Stand.ABSENT, why=absent)
    reply = await _envelope(inquiry, talk, state, question)
    stand, why = judge(reply, question.whose)
    outcome = asked_at._replace(stand=stand, why=why, evidence=Evidence.E1 if stand is Stand.TAKEN else Evidence.E0)
    if stand is Stand.TAKEN:
        outcome = await proofs.prove(talk, outcome)
    if question.whose is Whose.LOCAL and stand is Stand.TAKEN:
        outcome = outcome._replace(stand=Stand.HELD)  # its own mailbox: only what leaves for the canary says otherwise
    outcome = outcome._replace(transcript=tuple(talk.transcript[begins:]))
    await talk.say("RSET")
    return outcome


async def _envelope(inquiry: Inquiry, talk: Conversation, state: State, question: Question) -> Reply:
    """MAIL and RCPT; the answer that decides. Where the recipient is the question, a refused sender is no answer to it."""
    reply = await talk.say(question.mail)
    if not reply.taken and question.vector[0] != _ABOUT_SENDERS:
        # Exim takes no address literal, others no sender of a domain that does not exist.
        for sender in (f"{inquiry.names.canary}@{inquiry.names.canary_domain}", ""):
            reply = await talk.say(f"MAIL FROM:<{sender}>")
            if reply.taken or reply.code == _CLOSING:
                break
    if not reply.taken:
        return reply
    if state.position is Position.AFTER_LEGAL:
        await talk.say(f"RCPT TO:<{inquiry.names.known_mailbox}>")
    return await talk.say(question.rcpt)


async def _prepare(inquiry: Inquiry, talk: Conversation, state: State) -> str | None:
    """What comes before a question in a second transaction; why it cannot be asked, if it cannot."""
    if state.position is Position.SECOND:
        sender = f"{inquiry.names.canary}@{inquiry.names.canary_domain}"
        legal = await talk.say(f"MAIL FROM:<{sender}>")
        if legal.taken:
            legal = await talk.say(f"RCPT TO:<{inquiry.names.known_mailbox}>")
        await talk.say("RSET")
        if not legal.taken:
            return f"the legal transaction before it is refused: {legal.text}"
    return None


def _how(state: State, question: Question) -> str:
    return printable(", ".join(filter(None, (question.how, state.how))))
