"""Asks what a login protects (group G of the catalogue; RFC 4954, RFC 4616).

One random name with one random password is tried once a target, and never the name of a mailbox that may exist.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Final

from postlatch.audit.probes.asking import Question, ask_each
from postlatch.audit.probes.conversation import Conversation, Reply
from postlatch.audit.probes.fixes import fix
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.place import Place, Tls
from postlatch.audit.probes.relaying import Relaying
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import Finding, Severity

CLEAR: Final = "audit.auth-before-tls"
ANY: Final = "audit.auth-any-password"
NOBODY: Final = "audit.auth-anonymous"

_SUBMISSION: Final = (587, 465)  # RFC 6409, RFC 8314
_NOT_FOR_STRANGERS: Final = (*_SUBMISSION, 2525)
_CLEAR_MECHANISMS: Final = frozenset({"PLAIN", "LOGIN"})
_TRIED: Final = ("PLAIN", "LOGIN", "CRAM-MD5")  # the first that is offered
# Logins of nobody: what is sent, and what it is. RFC 4616 wants both a name and a password; RFC 4505; RFC 4422 appendix A.
_NOBODIES: Final = (
    ("G04", "ANONYMOUS", b"audit@example.com", "an anonymous login"),
    ("G03", "PLAIN", b"\0", "a login of one NUL"),
    ("G03", "PLAIN", b"\0\0", "a login without a name and without a password"),
    ("G04", "EXTERNAL", b"", "a login by a certificate that was not shown"),
)
_LOGGED_IN: Final = 235


async def ask(inquiry: Inquiry) -> list[Outcome]:
    """What is offered, in every place; the logins of nobody and the random one where the server offers to log in."""
    asks = _Asks(inquiry)
    offers = {place: _mechanisms(inquiry, place) for place in inquiry.places}
    found = [_on_mx(inquiry, offers)]
    found += await ask_each(inquiry, [*asks.clear(offers), *asks.submission(), *asks.nobodies(offers)])
    if _password(offers)[0] is None:
        why = "no login with a password is offered"
        return found + [Outcome(vector, inquiry.places[0], Stand.ABSENT, why=why) for vector in ("G05", "G07")]
    return found + await ask_each(inquiry, asks.random(offers))


def _mechanisms(inquiry: Inquiry, place: Place) -> list[str]:
    """As EHLO offered them; ``AUTH=LOGIN`` is how they were offered before there was a standard."""
    offered = inquiry.features.get(place, {})
    words = [offered.get("AUTH", ""), *(f"{name[5:]} {rest}" for name, rest in offered.items() if name.startswith("AUTH="))]
    return list(dict.fromkeys(" ".join(words).upper().split()))


def _on_mx(inquiry: Inquiry, offers: dict[Place, list[str]]) -> Outcome:
    """G10: the port for strangers has no use for logins."""
    first = inquiry.places[0]
    begun = Outcome("G10", first, Stand.HELD, how="AUTH where strangers hand in their mail")
    if first.port in _NOT_FOR_STRANGERS:
        return begun._replace(stand=Stand.ABSENT, why="this is a port for the server's own users")
    found = next((place for place, names in offers.items() if place.port == first.port and names), None)
    if found is None:
        return begun._replace(why="it is not offered")
    offered = " ".join(offers[found])[:200]
    finding = Finding(
        "audit.auth-on-mx",
        Severity.INFO,
        f"At {found}, logins are offered where strangers hand in their mail: {offered}",
        "Whoever guesses passwords finds the port that every mail server must leave open. Users need ports 465 and 587 alone.",
        fix("audit.auth-on-mx", inquiry.server.product),
    )
    return begun._replace(stand=Stand.BROKE, why=f"offered: {offered}", finding=finding)


class _Asks:
    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry
        self._relaying = Relaying(inquiry)

    # G01: a password in the clear

    def clear(self, offers: dict[Place, list[str]]) -> list[Question]:
        places = [place for place in self._inquiry.places if place.tls is Tls.NEVER]
        return [
            Question(
                Outcome("G01", place, Stand.UNDECIDED, how="a password before TLS"),
                _Clear(self._inquiry, offers[place]),
                if_closed=Stand.HELD,
            )
            for place in places
        ]

    # G02: submission without a login

    def submission(self) -> list[Question]:
        places = [place for place in self._inquiry.places if place.port in _SUBMISSION]
        begun = [Outcome("G02", place, Stand.UNDECIDED, how="without a login", foreign=True) for place in places]
        return [Question(one, self._relaying.ask) for one in begun]

    # G03 and G04: the login of nobody

    def nobodies(self, offers: dict[Place, list[str]]) -> list[Question]:
        place = _best(offers)
        if place is None:
            return []
        wanted = [one for one in _NOBODIES if self._inquiry.deep or (one[1] == "ANONYMOUS" and "ANONYMOUS" in offers[place])]
        return [
            Question(
                Outcome(vector, place, Stand.UNDECIDED, how=how),
                _Nobody(self._inquiry, self._relaying, mechanism, response),
                if_closed=Stand.HELD,
            )
            for vector, mechanism, response, how in wanted
        ]

    # G05 and G07: the login of somebody who does not exist

    def random(self, offers: dict[Place, list[str]]) -> list[Question]:
        place, mechanism = _password(offers)
        if place is None:
            return []
        cancelled = Outcome("G07", place, Stand.UNDECIDED, how=f"a login that was broken off ({mechanism})")
        random = Outcome("G05", place, Stand.UNDECIDED, how=f"a random name with a random password ({mechanism})")
        return [
            Question(cancelled, _Cancelled(self._inquiry, self._relaying, mechanism), if_closed=Stand.HELD),
            Question(random, _Random(self._inquiry, self._relaying, mechanism), if_closed=Stand.HELD),
        ]


def _password(offers: dict[Place, list[str]]) -> tuple[Place | None, str]:
    """Where a login with a password can be tried, and by which mechanism."""
    place = _best({place: [name for name in names if name in _TRIED] for place, names in offers.items()})
    return place, next((name for name in _TRIED if place is not None and name in offers[place]), "")


def _best(offers: dict[Place, list[str]]) -> Place | None:
    """Where logins are offered, rather encrypted."""
    places = [place for place, names in offers.items() if names]
    return min(places, key=lambda place: place.tls is Tls.NEVER, default=None)


class _Clear:
    """Nothing of a password is sent: that it asks for one is enough."""

    def __init__(self, inquiry: Inquiry, offered: Sequence[str]) -> None:
        self._inquiry = inquiry
        self._offered = [name for name in offered if name in _CLEAR_MECHANISMS]

    async def __call__(self, talk: Conversation, begun: Outcome) -> Outcome:
        reply = await talk.say("AUTH PLAIN")
        if reply.code == 334:
            await talk.say("*")
        if not self._offered and reply.code != 334:
            return begun._replace(stand=Stand.HELD, why=reply.text)
        what = f"offered ({' '.join(self._offered)})" if self._offered else "taken, though not offered"
        finding = Finding(
            CLEAR,
            Severity.MEDIUM if reply.code == 334 else Severity.LOW,
            f"At {begun.place}, passwords are {what} before TLS; AUTH PLAIN is answered with {reply.text}",
            "Who can read the line reads the password, and then sends mail in its owner's name.",
            fix(CLEAR, self._inquiry.server.product),
        )
        return begun._replace(stand=Stand.BROKE, why=reply.text, finding=finding)


class _Login:
    """What logins have in common: after one that must fail, a stranger must still be one."""

    def __init__(self, inquiry: Inquiry, relaying: Relaying, mechanism: str) -> None:
        self._inquiry = inquiry
        self._relaying = relaying
        self._mechanism = mechanism

    async def _failed(self, talk: Conversation, begun: Outcome, reply: Reply) -> Outcome:
        """It did not log in. Does it let mail through all the same?"""
        if reply.code == 421:  # it closes (RFC 5321 section 3.8)
            return begun._replace(stand=Stand.HELD, why=reply.text)
        outcome = await self._relaying.ask(talk, begun)
        return outcome if outcome.stand is Stand.TAKEN else begun._replace(stand=Stand.HELD, why=reply.text)

    async def _logged_in(self, talk: Conversation, begun: Outcome, finding: str, message: str) -> Outcome:
        outcome = await self._relaying.ask(talk, begun)
        taken = outcome.stand is Stand.TAKEN
        severity = Severity.CRITICAL if taken else Severity.HIGH
        why = "Anybody can log in, and send as somebody who is trusted."
        if taken:
            why = "Anybody can log in, and then send any mail to anybody: it is an open relay with one more step."
        text = f"At {begun.place}, {message} is taken"
        return outcome._replace(
            stand=Stand.TAKEN if taken else Stand.BROKE,
            finding=Finding(finding, severity, text, why, fix(finding, self._inquiry.server.product)),
        )


class _Nobody(_Login):
    def __init__(self, inquiry: Inquiry, relaying: Relaying, mechanism: str, response: bytes) -> None:
        super().__init__(inquiry, relaying, mechanism)
        self._response = b64encode(response).decode() or "="  # RFC 4954 section 4: an empty response

    async def __call__(self, talk: Conversation, begun: Outcome) -> Outcome:
        reply = await talk.say(f"AUTH {self._mechanism} {self._response}")
        if reply.code == 334:
            reply = await talk.say("*")
        if reply.code != _LOGGED_IN:
            return begun._replace(stand=Stand.HELD, why=reply.text)
        return await self._logged_in(talk, begun, NOBODY, begun.how)


class _Cancelled(_Login):
    """RFC 4954 section 4: a line of one asterisk ends it, with 501."""

    async def __call__(self, talk: Conversation, begun: Outcome) -> Outcome:
        reply = await talk.say(f"AUTH {self._mechanism}")
        if reply.code == 334:
            reply = await talk.say("*")
        if reply.code == _LOGGED_IN:
            return await self._logged_in(talk, begun, ANY, begun.how)
        return await self._failed(talk, begun, reply)


class _Random(_Login):
    async def __call__(self, talk: Conversation, begun: Outcome) -> Outcome:
        dice = self._inquiry.dice
        name, password = self._inquiry.names.unknown, f"{dice.getrandbits(96):024x}"
        reply = await self._try(talk, name, password)
        if reply.code == _LOGGED_IN:
            return await self._logged_in(talk, begun, ANY, begun.how)
        if reply.later:
            return begun._replace(why=f"the server did not decide: {reply.text}")
        return await self._failed(talk, begun, reply)

    async def _try(self, talk: Conversation, name: str, password: str) -> Reply:
        if self._mechanism == "PLAIN":
            return await talk.say(f"AUTH PLAIN {_base64(f'{chr(0)}{name}{chr(0)}{password}')}")
        reply = await talk.say(f"AUTH {self._mechanism}")
        # A digest of the right length for CRAM-MD5 (RFC 2195): the password could as well be any other.
        answers = (f"{name} {password}{password[:8]}",) if self._mechanism == "CRAM-MD5" else (name, password)
        for answer in answers:
            if reply.code != 334:
                break
            reply = await talk.say(_base64(answer))
        return await talk.say("*") if reply.code == 334 else reply


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
