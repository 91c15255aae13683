"""Asks what becomes of a conversation when it is encrypted (E09, E10 and E12 of the catalogue; RFC 3207).

What was said in the clear may have been said by somebody in between: nothing of it may count afterwards.
"""

from __future__ import annotations

from typing import Final

from postlatch.audit.printable import printable
from postlatch.audit.probes.asking import Question, ask_each, one_finding_each
from postlatch.audit.probes.conversation import Conversation
from postlatch.audit.probes.ended import Ended, Why
from postlatch.audit.probes.fixes import fix
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.place import Place, Tls
from postlatch.audit.probes.relaying import Relaying
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import Finding, Severity

_SETTLES: Final = 0.1  # seconds in which an answer in the clear would have come with that to STARTTLS
_LISTEN: Final = 0.6
_LISTEN_DEEP: Final = 2.0

INJECTION: Final = "audit.starttls-injection"
STATE: Final = "audit.starttls-state"

# Found in server after server, since 2011.
_KNOWN: Final = (
    "CVE-2011-0411, CVE-2020-15955, CVE-2020-29547, CVE-2020-29548, CVE-2021-33515, CVE-2021-37844, CVE-2021-37845,"
    " CVE-2021-37846, CVE-2021-38084"
)


async def ask(inquiry: Inquiry) -> list[Outcome]:
    """At each port that offers STARTTLS in the clear; the default audit asks at the first."""
    places = [place for place in inquiry.places if place.tls is Tls.NEVER and "STARTTLS" in inquiry.features.get(place, {})]
    if not places:
        why = "STARTTLS is offered nowhere"
        return [Outcome(vector, inquiry.places[0], Stand.ABSENT, why=why) for vector in ("E09", "E10", "E12")]
    asks = _Asks(inquiry)
    wanted = [question for place in places[: len(places) if inquiry.deep else 1] for question in asks.questions(place)]
    return one_finding_each(await ask_each(inquiry, wanted))


class _Asks:
    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry
        self._relaying = Relaying(inquiry)
        self._listen = min(_LISTEN_DEEP if inquiry.deep else _LISTEN, inquiry.dial.patience)

    def questions(self, place: Place) -> list[Question]:
        def begun(vector: str, how: str) -> Outcome:
            return Outcome(vector, place, Stand.UNDECIDED, how=how)

        injected = ("NOOP", "RSET") if self._inquiry.deep else ("NOOP",)
        return [
            *(
                Question(begun("E09", f"STARTTLS and {line} in one segment"), self._injected(line), if_closed=Stand.HELD)
                for line in injected
            ),
            Question(begun("E10", "MAIL before STARTTLS, RCPT after it"), self._carried),
            Question(begun("E12", "STARTTLS twice"), self._twice, if_closed=Stand.HELD),
        ]

    def _injected(self, line: str) -> _Injection:
        return _Injection(line, self._listen, self._inquiry)

    async def _carried(self, talk: Conversation, begun: Outcome) -> Outcome:
        """MAIL in the clear must be forgotten: neither at once nor after the new greeting does RCPT belong to it."""
        if not (reply := await talk.say(self._relaying.mail)).taken:
            return begun._replace(stand=Stand.ABSENT, why=f"MAIL is refused: {reply.text}")
        if not (reply := await talk.starttls()).taken:
            return begun._replace(stand=Stand.HELD, why=f"in a transaction STARTTLS is refused: {reply.text}")
        try:
            await talk.greet(self._inquiry.dial.helo)
            reply = await talk.say(f"RCPT TO:<{self._inquiry.names.known_mailbox}>")
        except Ended as end:
            if end.why is not Why.CLOSED:
                raise
            return begun._replace(stand=Stand.HELD, why=str(end))
        if not reply.taken:
            return begun._replace(stand=Stand.HELD, why=reply.text)
        finding = Finding(
            STATE,
            Severity.MEDIUM,
            f"At {begun.place}, a MAIL that was sent before STARTTLS still counts after it: {reply.text}",
            "Somebody between client and server can say whom a message is from, in a conversation that the client thinks is"
            " protected.",
            fix(STATE, self._inquiry.server.product),
        )
        return begun._replace(stand=Stand.BROKE, why=reply.text, finding=finding)

    async def _twice(self, talk: Conversation, begun: Outcome) -> Outcome:
        """RFC 3207 section 4.2: it is offered no more once it runs."""
        if not (reply := await talk.starttls()).taken:
            return begun._replace(stand=Stand.ABSENT, why=f"STARTTLS is refused: {reply.text}")
        await talk.greet(self._inquiry.dial.helo)
        offered = "STARTTLS" in talk.features
        reply = await talk.say("STARTTLS")
        if not reply.taken and not offered:
            return begun._replace(stand=Stand.HELD, why=reply.text)
        finding = Finding(
            "audit.starttls-twice",
            Severity.INFO,
            f"At {begun.place}, STARTTLS is {'offered' if offered else 'taken'} where TLS runs already: {reply.text}",
            "Its state of TLS is not kept as RFC 3207 says; what else it forgets is not known.",
            fix("audit.starttls-twice", self._inquiry.server.product),
        )
        return begun._replace(stand=Stand.BROKE, why=reply.text, finding=finding)


class _Injection:
    """E09: a command in the same segment as STARTTLS must never be answered inside of TLS."""

    def __init__(self, line: str, listen: float, inquiry: Inquiry) -> None:
        self._line = line
        self._listen = listen
        self._inquiry = inquiry

    async def __call__(self, talk: Conversation, begun: Outcome) -> Outcome:
        await talk.send(b"STARTTLS\r\n" + self._line.encode() + b"\r\n")
        if not (reply := await talk.reply()).taken:
            return begun._replace(stand=Stand.HELD, why=reply.text)
        if clear := await talk.unasked(_SETTLES):
            return begun._replace(stand=Stand.HELD, why=f"answered in the clear, where it was said: {printable(clear, 200)}")
        try:
            await talk.shake_hands()
        except Ended as end:
            # That it refuses to go on is as it should be, if it would have encrypted what was asked properly.
            encrypts = begun.place._replace(tls=Tls.STARTTLS) in self._inquiry.places
            return begun._replace(stand=Stand.HELD if encrypts else Stand.UNDECIDED, why=str(end))
        if not (stray := await talk.unasked(self._listen)):
            return begun._replace(stand=Stand.HELD, why="silence after the handshake, until it was asked")
        if stray[:1] != b"2":
            return begun._replace(stand=Stand.HELD, why=f"it ends with a refusal: {printable(stray, 200)}")
        finding = Finding(
            INJECTION,
            Severity.HIGH,
            f"At {begun.place}, a command that was sent in the clear is carried out inside of TLS: {printable(stray, 200)}",
            "Somebody between client and server can put commands before those of the client, and so get its password or mail"
            f" (as in {_KNOWN}).",
            fix(INJECTION, self._inquiry.server.product),
        )
        return begun._replace(stand=Stand.BROKE, why=printable(stray, 200), finding=finding)
