"""Asks whether a stranger may say that he is somebody else: XCLIENT, XFORWARD and PROXY headers (I01 to I03)."""

from __future__ import annotations

from typing import Final, NamedTuple

from postlatch.audit.probes.asking import Question, ask_each, one_finding_each, says_yes_to_all
from postlatch.audit.probes.conversation import Conversation, Reply
from postlatch.audit.probes.ended import Ended, Why
from postlatch.audit.probes.fixes import fix
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.place import Place, Tls
from postlatch.audit.probes.proxy_header import header_v1, header_v2
from postlatch.audit.probes.relaying import Relaying
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import Finding, Severity

XCLIENT: Final = "audit.xclient"
XFORWARD: Final = "audit.xforward"
PROXY: Final = "audit.proxy-header"


class Claim(NamedTuple):
    """A command that says who the client is. ``deep``: in a thorough audit only."""

    vector: str
    finding: str
    line: str
    deep: bool = False


# Postfix's XCLIENT_README and XFORWARD_README. ``{X}`` is a login that nobody has.
CLAIMS: Final = (
    Claim("I01", XCLIENT, "XCLIENT ADDR=127.0.0.1 NAME=localhost"),
    Claim("I01", XCLIENT, "XCLIENT ADDR=IPV6:::1 NAME=localhost", deep=True),
    Claim("I01", XCLIENT, "XCLIENT ADDR=10.0.0.1 NAME=[UNAVAILABLE]", deep=True),
    Claim("I01", XCLIENT, "XCLIENT ADDR=172.17.0.1 NAME=[UNAVAILABLE]", deep=True),
    Claim("I01", XCLIENT, "XCLIENT LOGIN={X}", deep=True),
    Claim("I01", XCLIENT, "XCLIENT HELO=localhost PROTO=ESMTP", deep=True),
    Claim("I02", XFORWARD, "XFORWARD ADDR=127.0.0.1 NAME=localhost PROTO=ESMTP"),
)
# Whom a PROXY header may name, first the one that nearly everybody trusts.
_CLIENTS: Final = ("127.0.0.1",)
_CLIENTS_DEEP: Final = ("127.0.0.1", "::1", "10.0.0.1", "172.17.0.1")

_NO_HEADER: Final = b"XPROBE nothing\r\n"


async def ask(inquiry: Inquiry) -> list[Outcome]:
    """Where strangers hand in their mail; deep, in every place."""
    places = inquiry.places if inquiry.deep else inquiry.places[:1]
    relaying = Relaying(inquiry)
    questions: list[Question] = []
    for place in places:
        questions += _claims(inquiry, relaying, place)
        if place.tls is Tls.NEVER:  # a PROXY header stands before everything else
            questions += _headers(inquiry, relaying, place)
    return one_finding_each(await ask_each(inquiry, questions))


# Commands


def _claims(inquiry: Inquiry, relaying: Relaying, place: Place) -> list[Question]:
    def question(claim: Claim) -> Question:
        line = claim.line.replace("{X}", inquiry.names.unknown)
        begun = Outcome(claim.vector, place, Stand.UNDECIDED, how=line)
        return Question(begun, _Claimed(inquiry, relaying, claim, line), if_closed=Stand.HELD)

    return [question(claim) for claim in CLAIMS if inquiry.deep or not claim.deep]


class _Claimed:
    """A claim, a new greeting (XCLIENT starts the conversation anew), and a stranger's mail for a stranger."""

    def __init__(self, inquiry: Inquiry, relaying: Relaying, claim: Claim, line: str) -> None:
        self._inquiry = inquiry
        self._relaying = relaying
        self._claim = claim
        self._line = line

    async def __call__(self, talk: Conversation, begun: Outcome) -> Outcome:
        command = self._line.partition(" ")[0]
        offered = command in talk.features
        reply = await talk.say(self._line)
        if not reply.taken:
            finding = self._offered(begun.place, command) if offered else None
            return begun._replace(stand=Stand.BROKE if finding else Stand.HELD, why=reply.text, finding=finding)
        finding = self._believed(begun.place, command)
        try:
            await talk.greet(self._inquiry.dial.helo)
            if not offered and await says_yes_to_all(talk):
                return begun._replace(stand=Stand.HELD, why=f"it takes any command: {reply.text}")
            begun = begun._replace(stand=Stand.BROKE, why=reply.text, finding=finding)
            outcome = await self._relaying.ask(talk, begun)
        except Ended as end:
            return begun._replace(stand=Stand.BROKE, why=f"{reply.text}; then {end}", finding=finding)
        return outcome if outcome.stand is Stand.TAKEN else begun._replace(why=f"{reply.text}; then {outcome.why}")

    def _offered(self, place: Place, command: str) -> Finding:
        return Finding(
            f"{self._claim.finding}-offered",
            Severity.LOW,
            f"At {place}, {command} is offered to a stranger, though this use of it was refused",
            "It is offered to those who may use it: another attribute of it may be taken.",
            fix(self._claim.finding, self._inquiry.server.product),
        )

    def _believed(self, place: Place, command: str) -> Finding:
        login = " or login" if command == "XCLIENT" else ""
        why = f"Anybody can choose the address{login} under which the server sees him."
        if command == "XFORWARD":
            why = "Anybody can choose the address that the log and filters behind the server see."
        return Finding(
            self._claim.finding,
            Severity.MEDIUM if command == "XFORWARD" else Severity.HIGH,
            f"At {place}, a stranger's {self._line} is believed",
            why,
            fix(self._claim.finding, self._inquiry.server.product),
        )


# PROXY headers


def _headers(inquiry: Inquiry, relaying: Relaying, place: Place) -> list[Question]:
    def question(header: bytes, how: str) -> Question:
        begun = Outcome("I03", place, Stand.UNDECIDED, how=how)
        return Question(begun, _Header(inquiry, relaying, header), raw=True, if_closed=Stand.HELD)

    clients = _CLIENTS_DEEP if inquiry.deep else _CLIENTS
    return [
        question(header, f"a PROXY header of version {version} for {client}")
        for client in clients
        for version, header in ((1, header_v1(client, place)), (2, header_v2(client, place)))
    ]


class _Header:
    """A header, the banner, a greeting, and a stranger's mail. A server that knows no headers answers this one as a command."""

    def __init__(self, inquiry: Inquiry, relaying: Relaying, header: bytes) -> None:
        self._inquiry = inquiry
        self._relaying = relaying
        self._header = header

    async def __call__(self, talk: Conversation, begun: Outcome) -> Outcome:
        reply = await self._greeted(talk, self._header)
        if not reply.taken or reply.code != 250:
            return begun._replace(stand=Stand.HELD, why=reply.text)
        if await self._is_overheard(begun.place):
            why = "whatever comes before the banner is dropped unread, headers too"
            return begun._replace(stand=Stand.HELD, why=why)
        finding = Finding(
            PROXY,
            Severity.HIGH,
            f"At {begun.place}, {begun.how} from a stranger is believed",
            "Anybody can choose the address under which the server sees him: networks that it trusts, its block lists and"
            " its limits mean nothing.",
            fix(PROXY, self._inquiry.server.product),
        )
        begun = begun._replace(stand=Stand.BROKE, why="the header is taken for one", finding=finding)
        try:
            outcome = await self._relaying.ask(talk, begun)
        except Ended as end:
            return begun._replace(why=f"{begun.why}; then {end}")
        return outcome if outcome.stand is Stand.TAKEN else begun._replace(why=f"{begun.why}; then {outcome.why}")

    async def _greeted(self, talk: Conversation, first: bytes) -> Reply:
        """The answer that comes after the banner: to EHLO, or to the header."""
        await talk.send(first)
        talk.banner = await talk.reply()
        if not talk.banner.taken:
            return talk.banner
        return await talk.greet(self._inquiry.dial.helo)

    async def _is_overheard(self, place: Place) -> bool:
        """Does it drop any line that comes too early? Then that it answers EHLO says nothing."""
        try:
            async with await self._inquiry.dial.connect(place) as talk:
                return (await self._greeted(talk, _NO_HEADER)).taken
        except Ended as end:
            if end.why in {Why.MANNERS, Why.UNREACHABLE}:
                raise
            return False
