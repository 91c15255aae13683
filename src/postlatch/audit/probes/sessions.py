"""Asks in states of a conversation in which no client of good manners would be (group E of the catalogue)."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final, NamedTuple

from postlatch.audit.probes.asking import Question, ask_each, one_finding_each, says_yes_to_all
from postlatch.audit.probes.conversation import Conversation, Reply
from postlatch.audit.probes.ended import Ended, Why
from postlatch.audit.probes.fixes import fix
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.judge import judge
from postlatch.audit.probes.place import Place, Tls
from postlatch.audit.probes.relaying import Relaying
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.probes.vectors import Whose
from postlatch.audit.values import Evidence, Finding, Severity


class Means(Enum):
    """What an answer to a line is worth."""

    NOTHING = auto()
    LEGAL = auto()  # it must be taken, else the question does not arise
    RELAY = auto()  # a stranger's recipient: it must be refused
    NO_DATA = auto()  # a beginning of data that must be refused
    GONE = auto()  # a command that must not be taken


class Line(NamedTuple):
    """One command. ``{MAIL}``, ``{RCPT}``, ``{KNOWN}`` and ``{T}`` stand for the transaction of a stranger."""

    text: str
    means: Means = Means.NOTHING


class Script(NamedTuple):
    """One conversation. ``greets``: begins with EHLO; ``together``: all lines in one go; ``early``: before the banner.

    ``hung_up`` is what it means if the server ends it. ``needs``: what EHLO must offer; ``fault``: the finding of a GONE.
    """

    id: str
    how: str
    lines: tuple[Line, ...]
    greets: bool = True
    together: bool = False
    early: bool = False
    hung_up: Stand = Stand.HELD
    deep: bool = False
    needs: str = ""
    fault: str = ""


_MAIL: Final = Line("{MAIL}")
_RCPT: Final = Line("{RCPT}", Means.RELAY)
_KNOWN: Final = Line("RCPT TO:<{KNOWN}>", Means.LEGAL)
_DATA: Final = Line("DATA", Means.NO_DATA)

SCRIPTS: Final = (
    Script("E01", "after a recipient of its own", (_MAIL, _KNOWN, _RCPT), hung_up=Stand.UNDECIDED),
    Script("E02", "after a legal transaction and RSET", (_MAIL, _KNOWN, Line("RSET"), _MAIL, _RCPT), hung_up=Stand.UNDECIDED),
    Script("E03", "RCPT and DATA without MAIL", (_RCPT, _DATA)),
    Script("E03", "DATA without RCPT", (_MAIL, _DATA), deep=True),
    Script("E04", "without a greeting", (_MAIL, _RCPT), greets=False),
    Script("E05", "MAIL, RCPT and DATA at once", (_MAIL, _RCPT, _DATA), together=True),
    # RFC 3030: chunks after a refused recipient; a bare line feed must not end a command either.
    Script("E06", "an empty last chunk after a refusal", (_MAIL, _RCPT, Line("BDAT 0 LAST", Means.NO_DATA)), needs="CHUNKING"),
    # RFC 1985, RFC 2645; TURN gave the queue to whoever asked (RFC 5321 appendix F.1).
    Script("E07", "ETRN", (Line("ETRN {T}", Means.GONE),), fault="audit.etrn"),
    Script("E07", "TURN and ATRN", (Line("TURN", Means.GONE), Line("ATRN {T}", Means.GONE)), fault="audit.turn"),
    Script("E07", "VERB", (Line("VERB", Means.GONE),), deep=True, fault="audit.verb"),
    Script("E08", "SEND", (Line("SEND FROM:<{X}@{T}>", Means.GONE),), fault="audit.send"),
    Script("E08", "SOML", (Line("SOML FROM:<{X}@{T}>", Means.GONE),), deep=True, fault="audit.send"),
    Script("E08", "SAML", (Line("SAML FROM:<{X}@{T}>", Means.GONE),), deep=True, fault="audit.send"),
    Script(
        "E11",
        "before the banner, all at once",
        (Line("EHLO {HELO}"), _MAIL, _RCPT, _DATA),
        greets=False,
        together=True,
        early=True,
    ),
    Script("E13", "a space before the colon", (_MAIL, Line("rcpt to :<{U}@{T}>", Means.RELAY))),
    Script("E13", "a tab for the space", (_MAIL, Line("rcpt\tto:<{U}@{T}>", Means.RELAY)), deep=True),
    Script("E13", "in lower case", (Line("mail from:<{X}@{T}>"), Line("rcpt to:<{U}@{T}>", Means.RELAY)), deep=True),
    Script(
        "E16",
        "as HTTP",
        (Line("GET / HTTP/1.0"), Line("Host: {H}"), _MAIL, _RCPT),
        greets=False,
        together=True,
    ),
)

_ABOUT: Final = {
    "audit.etrn": (
        Severity.LOW,
        "ETRN is granted to strangers",
        "Anybody can make the server run its queue for a domain, which costs it work and tells what it keeps.",
    ),
    "audit.turn": (
        Severity.HIGH,
        "TURN or ATRN is granted to strangers",
        "The server would hand its queued mail to whoever asks for it.",
    ),
    "audit.verb": (Severity.INFO, "VERB is taken", "It tells strangers how mail is handled inside."),
    "audit.send": (
        Severity.INFO,
        "a command that was given up long ago is taken (SEND, SOML, SAML)",
        "Checks that look at MAIL may not look at these.",
    ),
}


async def ask(inquiry: Inquiry) -> list[Outcome]:
    """All of them where strangers hand in their mail; deep, in every place."""
    places = inquiry.places if inquiry.deep else inquiry.places[:1]
    relaying = Relaying(inquiry)
    wanted = [script for script in SCRIPTS if inquiry.deep or not script.deep]
    questions = [_question(inquiry, relaying, script, place) for place in places for script in wanted if _fits(script, place)]
    if inquiry.deep:
        begun = Outcome("E13", places[0], Stand.UNDECIDED, how="a notice of success to a third party")
        questions.append(Question(begun, _Reflection(inquiry).talk))
    return one_finding_each(await ask_each(inquiry, questions))


def _fits(script: Script, place: Place) -> bool:
    """After STARTTLS a conversation has been greeted already."""
    return script.greets or place.tls is not Tls.STARTTLS


def _question(inquiry: Inquiry, relaying: Relaying, script: Script, place: Place) -> Question:
    played = _Played(inquiry, relaying, script)
    sure = script.hung_up is Stand.UNDECIDED
    begun = Outcome(script.id, place, Stand.UNDECIDED, how=script.how, foreign=sure)
    return Question(begun, played.talk, raw=not script.greets, if_closed=script.hung_up)


class _Played:
    """A script in one conversation."""

    def __init__(self, inquiry: Inquiry, relaying: Relaying, script: Script) -> None:
        self._inquiry = inquiry
        self._relaying = relaying
        self._script = script

    async def talk(self, talk: Conversation, begun: Outcome) -> Outcome:
        if self._script.needs and self._script.needs not in talk.features:
            return begun._replace(stand=Stand.ABSENT, why=f"{self._script.needs} is not offered")
        if self._script.together:
            return await self._all_at_once(talk, begun)
        if not self._script.greets:
            talk.banner = await talk.reply()
        outcome = begun._replace(stand=Stand.HELD)
        for line in self._script.lines:
            outcome = await self._judged(talk, begun, line, await talk.say(self._filled(line)))
            if outcome.stand is not Stand.HELD:
                break
        return outcome

    async def _all_at_once(self, talk: Conversation, begun: Outcome) -> Outcome:
        """Lines that do not wait for each other's answers. That the server hangs up instead is a refusal."""
        if not self._script.greets and not self._script.early:
            talk.banner = await talk.reply()
        await talk.send(b"".join(self._filled(line).encode() + b"\r\n" for line in self._script.lines))
        if self._script.early:
            talk.banner = await talk.reply()
        replies = [await talk.reply() for _ in self._script.lines]
        if (taken := await self._taken_at_once(talk, begun, replies)) is not None:
            return taken
        outcome = begun._replace(stand=Stand.HELD)
        for line, reply in zip(self._script.lines, replies, strict=True):
            if line.means is not Means.NOTHING and outcome.stand is Stand.HELD:
                outcome = await self._judged(talk, begun, line, reply)
        return outcome

    async def _taken_at_once(self, talk: Conversation, begun: Outcome, replies: list[Reply]) -> Outcome | None:
        """Recipient and DATA were both taken: the message is due now."""
        answers = {line.means: reply for line, reply in zip(self._script.lines, replies, strict=True)}
        data = answers.get(Means.NO_DATA)
        if data is None or data.code != 354 or not answers[Means.RELAY].taken:
            return None
        outcome = begun._replace(stand=Stand.TAKEN, evidence=Evidence.E2, foreign=True, why=answers[Means.RELAY].text)
        if self._inquiry.canary is None:
            return outcome._replace(why=f"{outcome.why}; no message was sent: there is no canary to look for it")
        token = self._inquiry.token()
        await talk.send_body(self._inquiry.message(token) + b".\r\n")
        reply = await talk.reply()
        evidence = Evidence.E3 if reply.taken else Evidence.E2
        return outcome._replace(evidence=evidence, token=token, why=f"{outcome.why}; then {reply.text}")

    async def _judged(self, talk: Conversation, begun: Outcome, line: Line, reply: Reply) -> Outcome:
        held = begun._replace(stand=Stand.HELD, why=reply.text)
        match line.means:
            case Means.LEGAL if not reply.taken:
                stand = Stand.UNDECIDED if reply.later else Stand.ABSENT
                return held._replace(stand=stand, why=f"its own recipient is refused: {reply.text}")
            case Means.RELAY:
                return await self._relay(talk, begun, reply)
            case Means.NO_DATA if reply.code == 354:
                return await self._relaying.finish(talk, begun)
            case Means.NO_DATA if reply.taken:
                return held._replace(stand=Stand.UNDECIDED, why=f"it took data without a recipient: {reply.text}")
            case Means.GONE if reply.taken and not await says_yes_to_all(talk):
                return held._replace(stand=Stand.BROKE, finding=self._fault(begun.place, reply))
            case _:
                return held

    async def _relay(self, talk: Conversation, begun: Outcome, reply: Reply) -> Outcome:
        if self._script.needs and judge(reply, Whose.FOREIGN)[0] is Stand.TAKEN:
            return begun._replace(stand=Stand.ABSENT, why=f"the recipient is not refused: {reply.text}")
        return await self._relaying.judged(talk, begun, reply)

    def _fault(self, place: Place, reply: Reply) -> Finding:
        severity, message, why = _ABOUT[self._script.fault]
        text = f"At {place}, {message}: {reply.text}"
        return Finding(self._script.fault, severity, text, why, fix(self._script.fault, self._inquiry.server.product))

    def _filled(self, line: Line) -> str:
        names = self._inquiry.names
        values = {
            "MAIL": self._relaying.mail,
            "RCPT": self._relaying.rcpt,
            "KNOWN": names.known_mailbox,
            "U": names.canary,
            "T": names.canary_domain,
            "H": names.hostname or names.address,
            "HELO": names.helo,
        }
        text = line.text
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        return text


class _Reflection:
    """E13: may a stranger have a notice of success sent to somebody (RFC 3461)?

    The sender is null, so that there is nobody whom a notice could rightly go to: one that arrives is reflected mail.
    """

    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry

    async def talk(self, talk: Conversation, begun: Outcome) -> Outcome:
        names = self._inquiry.names
        if "DSN" not in talk.features or not names.mailbox or self._inquiry.canary is None:
            return begun._replace(stand=Stand.ABSENT, why="it needs DSN, a named mailbox (--local) and a canary")
        reply = await talk.say("MAIL FROM:<>")
        if reply.taken:
            third = f"ORCPT=rfc822;{names.canary}@{names.canary_domain}"
            reply = await talk.say(f"RCPT TO:<{names.known_mailbox}> {third} NOTIFY=SUCCESS,FAILURE")
        if not reply.taken:
            return begun._replace(stand=Stand.HELD, why=reply.text)
        token = self._inquiry.token()
        try:
            evidence, reply = await self._inquiry.deliver(talk, self._inquiry.message(token, to=names.known_mailbox))
        except Ended as end:
            if end.why is not Why.MANNERS:
                raise
            return begun._replace(why=str(end))
        return begun._replace(stand=Stand.HELD, evidence=evidence, token=token, why=reply.text)
