r"""Asks whether a message ends where the sender did not end it (group F of the catalogue): SMTP smuggling.

A message ends at CR LF . CR LF and nowhere else (RFC 5321 section 4.1.1.4). A server that also takes ``\n.\n`` for its end
takes what follows for commands, and so a second message, which pretends to come from whoever sent the first. It shows in
two ways: an answer before the true end, and two messages where one was sent.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from postlatch.audit.probes.arriving import arrived
from postlatch.audit.probes.asking import Question, ask_each, one_finding_each
from postlatch.audit.probes.conversation import Conversation, Reply
from postlatch.audit.probes.ended import Ended, Why
from postlatch.audit.probes.fixes import fix
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import Evidence, Finding, Severity

SMUGGLING: Final = "audit.smuggling"

_EARLY: Final = 0.4  # seconds in which a server that was fooled answers
_EARLY_DEEP: Final = 1.5
_MORE: Final = 0.2  # seconds between two answers that follow each other
_WAIT: Final = 1.5  # seconds for the messages to be put into the mailbox
_WAIT_DEEP: Final = 5.0
_MAX_REPLIES: Final = 8
_END: Final = b"\r\n.\r\n"


class Sequence(NamedTuple):
    """What is tried as an end. ``genuine``: it holds the true end, so that an answer to it is right."""

    vector: str
    octets: bytes
    severity: Severity
    deep: bool = True
    genuine: bool = False


# The union of those of the published attack (2023), of smtpsmug, and of Wang et al. (USENIX Security 2025, table 1). NUL and
# what Postfix's author has shown to be no attack are for information.
SEQUENCES: Final = (
    Sequence("F01", b"\0\r\n.\r\n", Severity.INFO, genuine=True),
    Sequence("F02", b"\n.\n", Severity.HIGH, deep=False),
    Sequence("F03", b"\n.\r", Severity.MEDIUM),
    Sequence("F04", b"\n.\r\n", Severity.HIGH, deep=False),
    Sequence("F05", b"\r\0\n.\r\n", Severity.LOW),
    Sequence("F06", b"\r\n\0.\r\n", Severity.LOW),
    Sequence("F07", b"\r\n.\0\r\n", Severity.LOW),
    Sequence("F08", b"\r\n.\n", Severity.HIGH, deep=False),
    Sequence("F09", b"\r\n.\r", Severity.MEDIUM),
    Sequence("F10", b"\r\n.\r\0\n", Severity.LOW),
    Sequence("F11", b"\r\n.\r\n\0", Severity.INFO, genuine=True),
    Sequence("F12", b"\r\n.\r\r\n", Severity.INFO),
    Sequence("F13", b"\r\r\n.\r\r\n", Severity.INFO),
    Sequence("F14", b"\r.\n", Severity.MEDIUM),
    Sequence("F15", b"\r.\r", Severity.MEDIUM, deep=False),
    Sequence("F16", b"\r.\r\n", Severity.MEDIUM),
)


async def ask(inquiry: Inquiry) -> list[Outcome]:
    """The four that are used; deep, all. Both messages go to the mailbox that the owner named."""
    place = inquiry.places[0]
    wanted = [sequence for sequence in SEQUENCES if inquiry.deep or not sequence.deep]
    if not (inquiry.names.mailbox and inquiry.names.local_domain):
        why = "no mailbox is known that two messages could be sent to: name one with --local"
        return [Outcome(one.vector, place, Stand.ABSENT, how=_shown(one), why=why) for one in wanted]
    tried = [_Tried(inquiry, sequence) for sequence in wanted]
    begun = [Outcome(one.vector, place, Stand.UNDECIDED, how=_shown(one)) for one in wanted]
    outcomes = await ask_each(inquiry, [Question(*one) for one in zip(begun, tried, strict=True)])
    return one_finding_each(await _counted(inquiry, tried, outcomes))


async def _counted(inquiry: Inquiry, tried: list[_Tried], outcomes: list[Outcome]) -> list[Outcome]:
    """A server that answered as it should may still have handed on two: only its mailbox tells."""
    outer = [one.outer for one in tried if one.outer]
    if not outer or inquiry.mailbox_reader is None:
        return outcomes
    await arrived(inquiry, outer, _WAIT_DEEP if inquiry.deep else _WAIT)
    seen = await arrived(inquiry, [one.inner for one in tried], 0.0) or set()
    return [_with_count(one, outcome, seen) for one, outcome in zip(tried, outcomes, strict=True)]


def _with_count(tried: _Tried, outcome: Outcome, seen: set[str]) -> Outcome:
    if tried.inner not in seen or tried.sequence.genuine:
        return outcome
    return tried.broke(outcome, Evidence.E3, f"two messages arrived where one was sent; {outcome.why}")


def _shown(sequence: Sequence) -> str:
    return repr(sequence.octets)[2:-1]


class _Tried:
    """One sequence in one conversation. ``outer`` and ``inner`` are the tokens of the message and of the smuggled one."""

    def __init__(self, inquiry: Inquiry, sequence: Sequence) -> None:
        self.sequence = sequence
        self.outer = ""
        self.inner = inquiry.token()
        self._inquiry = inquiry
        self._early = min(_EARLY_DEEP if inquiry.deep else _EARLY, inquiry.dial.patience)

    async def __call__(self, talk: Conversation, begun: Outcome) -> Outcome:
        names = self._inquiry.names
        sender, recipient = f"MAIL FROM:<{names.nobody}@{names.canary_domain}>", f"RCPT TO:<{names.known_mailbox}>"
        reply = await talk.say(sender)
        if reply.taken:
            reply = await talk.say(recipient)
        if not reply.taken:
            return begun._replace(stand=_undecided(reply), why=f"its own recipient is refused: {reply.text}")
        token = self._inquiry.token()
        try:
            reply = await self._data(talk, recipient)
        except Ended as end:
            if end.why is not Why.MANNERS:
                raise
            return begun._replace(why=str(end))
        if reply.code != 354:
            return begun._replace(stand=_undecided(reply), why=reply.text)
        self.outer = token
        smuggled = "" if self.sequence.genuine else f"{sender}\r\n{recipient}\r\nDATA\r\n{self._inner()}"
        await talk.send_body(self._outer(token) + self.sequence.octets + smuggled.encode())
        if self.sequence.genuine:
            return await self._genuine(talk, begun)
        return await self._heard(talk, begun)

    async def _data(self, talk: Conversation, recipient: str) -> Reply:
        """DATA, when a second message may follow it: it counts before it can be one."""
        if not self.sequence.genuine:
            self._inquiry.manners.message([recipient.encode()])
        return await talk.say("DATA")

    def _outer(self, token: str) -> bytes:
        """It ends in a letter, which lends the sequence no line end."""
        return self._inquiry.message(token, to=self._inquiry.names.known_mailbox) + b"x"

    def _inner(self) -> str:
        return (
            f"From: <{self._inquiry.names.nobody}@{self._inquiry.names.canary_domain}>\r\nSubject: smuggled {self.inner}\r\n"
            f"X-Postlatch-Audit: {self.inner}\r\n\r\ny"
        )

    async def _heard(self, talk: Conversation, begun: Outcome) -> Outcome:
        """The answers before the true end, and those after it."""
        early = await _replies(talk, self._early)
        if early and not early[0].taken:
            return begun._replace(stand=Stand.HELD, why=f"refused: {early[0].text}")
        replies = list(early)
        try:
            await talk.send_body(_END)
            replies.append(await talk.reply())
        except Ended as end:
            if not early:
                stand = Stand.HELD if end.why is Why.CLOSED else Stand.UNDECIDED
                return begun._replace(stand=stand, why=str(end))
        replies += await _replies(talk, _MORE)
        if not early and len(replies) == 1:
            stand = _undecided(replies[0]) if replies[0].later else Stand.HELD
            return begun._replace(stand=stand, evidence=Evidence.E3, why=f"one answer, at the true end: {replies[0].text}")
        if not early and not (replies[0].taken and any(reply.code == 354 for reply in replies)):
            return begun._replace(stand=Stand.HELD, why=f"answered at the true end: {replies[0].text}")
        when = "before the true end" if early else "for more than one message"
        both = any(reply.code == 354 for reply in replies)
        text = f"it answered {when}: {'; '.join(reply.text for reply in replies)}"[:480]
        return self.broke(begun, Evidence.E3 if both else Evidence.E2, text)

    async def _genuine(self, talk: Conversation, begun: Outcome) -> Outcome:
        """The true end is in there. What matters is that it is seen."""
        reply = await talk.reply()
        return begun._replace(stand=Stand.HELD, why=f"the true end is one: {reply.text}")

    def broke(self, begun: Outcome, evidence: Evidence, why: str) -> Outcome:
        """The outcome for a server that was fooled. What came after may have been refused: then less can be done with it."""
        severity = self.sequence.severity
        if evidence is not Evidence.E3 and severity is Severity.HIGH:
            severity = Severity.MEDIUM
        finding = Finding(
            SMUGGLING,
            severity,
            f"At {begun.place}, {begun.how} ends a message: {why}"[:500],
            "Whoever may send through a server that passes it on can put a second message into his own, with any sender that"
            " server vouches for: SPF and DMARC pass.",
            fix(SMUGGLING, self._inquiry.server.product),
            transcript=begun.transcript,
        )
        return begun._replace(stand=Stand.BROKE, evidence=evidence, why=why, finding=finding)


def _undecided(reply: Reply) -> Stand:
    return Stand.UNDECIDED if reply.later else Stand.ABSENT


async def _replies(talk: Conversation, seconds: float) -> list[Reply]:
    """What comes by itself: the first within ``seconds``, the others soon after."""
    found: list[Reply] = []
    try:
        for _ in range(_MAX_REPLIES):
            found.append(await talk.reply(_MORE if found else seconds))
    except Ended:
        return found
    return found
