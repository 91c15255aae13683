"""Asks whether VRFY and EXPN tell a stranger which mailboxes there are (J08; RFC 5321 section 7.3)."""

from __future__ import annotations

from typing import Final

from postlatch.audit.probes.asking import Question, ask_each
from postlatch.audit.probes.conversation import Conversation, Reply
from postlatch.audit.probes.fixes import fix
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import Finding, Severity

# A name that nearly every system has. Not postmaster, which every server must have: that says nothing, and is answered apart.
_LIKELY: Final = "root"
_ABOUT: Final = {
    "VRFY": (Severity.LOW, "audit.vrfy", "which mailboxes exist", "Spammers and guessers of passwords learn whom to try."),
    "EXPN": (
        Severity.MEDIUM,
        "audit.expn",
        "which lists exist, and who is on them",
        "Lists and aliases are read out to anybody, with the addresses behind them.",
    ),
}


async def ask(inquiry: Inquiry) -> list[Outcome]:
    """Where strangers hand in their mail."""
    asks = _Asks(inquiry)
    questions = [
        Question(Outcome("J08", inquiry.places[0], Stand.UNDECIDED, how=verb), asks.verb(verb), if_closed=Stand.HELD)
        for verb in _ABOUT
    ]
    return await ask_each(inquiry, questions)


class _Asks:
    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry

    def verb(self, verb: str) -> _Compared:
        names = self._inquiry.names
        pairs = [(_LIKELY, names.unknown)]
        if names.mailbox:
            pairs.insert(0, (names.known_mailbox, names.unknown_mailbox))
        return _Compared(verb, pairs, self._inquiry.server.product)


class _Compared:
    """The answers for names that exist, or likely do, against those for names that nobody has, written alike.

    Exim ends a conversation after ten commands that are no mail; these are four.
    """

    def __init__(self, verb: str, pairs: list[tuple[str, str]], product: str) -> None:
        self._verb = verb
        self._pairs = pairs
        self._product = product

    async def __call__(self, talk: Conversation, begun: Outcome) -> Outcome:
        outcome = begun
        for name, nobody in self._pairs:
            other = await talk.say(f"{self._verb} {nobody}")
            if _is_unknown_command(other):
                return begun._replace(stand=Stand.HELD, why=other.text)
            reply = await talk.say(f"{self._verb} {name}")
            if reply.taken and _kind(reply) != _kind(other):
                return begun._replace(stand=Stand.BROKE, why=reply.text, finding=self._finding(begun, name, reply, other))
            outcome = begun._replace(stand=Stand.HELD, why=f"for all names alike: {reply.text}")
        return outcome

    def _finding(self, begun: Outcome, name: str, reply: Reply, other: Reply) -> Finding:
        severity, slug, what, why = _ABOUT[self._verb]
        message = (
            f"At {begun.place}, {self._verb} tells {what}: {reply.text} for {name}, {other.text} for a name that nobody has"
        )
        return Finding(slug, severity, message, why, fix(slug, self._product))


def _kind(reply: Reply) -> tuple[int, str]:
    return reply.code, reply.enhanced


def _is_unknown_command(reply: Reply) -> bool:
    return reply.code in {500, 502, 503}
