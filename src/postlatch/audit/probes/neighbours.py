"""Asks the ports beside those of mail: queues of qmail, filters' way back in, LMTP, programs that are being written (E14, E15).

What comes back from a filter is trusted, so such a port that strangers reach is a relay. Only a thorough audit looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from postlatch.audit.printable import printable
from postlatch.audit.probes.asking import Question, ask_each
from postlatch.audit.probes.conversation import Conversation
from postlatch.audit.probes.ended import Ended, Why
from postlatch.audit.probes.fixes import fix
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.place import Place, Tls
from postlatch.audit.probes.relaying import Relaying
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import Evidence, Finding, Severity

OPEN_PORT: Final = "audit.inner-port"
_LISTEN: Final = 1.0


class Neighbour(NamedTuple):
    """A port and what is behind it. ``inner``: strangers have no business there at all."""

    port: int
    what: str
    inner: bool = True


# http://cr.yp.to/proto/qmtp.txt and qmqp.html; amavisd-new's ports; what development servers take.
QUEUES: Final = (Neighbour(209, "QMTP", inner=False), Neighbour(628, "QMQP"))
NEIGHBOURS: Final = (
    Neighbour(24, "LMTP"),
    Neighbour(26, "another SMTP port", inner=False),
    Neighbour(1025, "a mail catcher"),
    Neighbour(2003, "LMTP"),
    Neighbour(2525, "another SMTP port", inner=False),
    Neighbour(8025, "a development server"),
    Neighbour(10024, "a content filter"),
    Neighbour(10025, "the way back from a content filter"),
    Neighbour(10026, "a content filter"),
)


async def ask(inquiry: Inquiry) -> list[Outcome]:
    """At every address, in a thorough audit."""
    first = inquiry.places[0]
    if not inquiry.deep:
        why = "other ports are tried in a thorough audit (--deep)"
        return [Outcome(vector, first, Stand.ABSENT, why=why) for vector in ("E14", "E15")]
    return await ask_at(inquiry, QUEUES, NEIGHBOURS)


async def ask_at(inquiry: Inquiry, queues_at: Sequence[Neighbour], others_at: Sequence[Neighbour]) -> list[Outcome]:
    """At these ports of every address."""
    relaying = Relaying(inquiry)
    queues = [
        Question(Outcome("E14", place, Stand.UNDECIDED, how=one.what), _Queue(inquiry, one), raw=True)
        for one, place in _places(inquiry, queues_at)
    ]
    others = [
        Question(Outcome("E15", place, Stand.UNDECIDED, how=one.what), _Smtp(inquiry, relaying, one), raw=True)
        for one, place in _places(inquiry, others_at)
    ]
    return [_unreached(outcome) for outcome in await ask_each(inquiry, [*queues, *others])]


def _places(inquiry: Inquiry, neighbours: Sequence[Neighbour]) -> list[tuple[Neighbour, Place]]:
    asked = {(place.address, place.port) for place in inquiry.places}
    hosts = dict.fromkeys((place.host, place.address) for place in inquiry.places)
    return [
        (one, Place(host, address, one.port, Tls.NEVER))
        for one in neighbours
        for host, address in hosts
        if (address, one.port) not in asked
    ]


def _unreached(outcome: Outcome) -> Outcome:
    """Nobody there, or a firewall that says nothing: no transcript, no question."""
    silent = outcome.stand is Stand.UNDECIDED and not outcome.transcript
    return outcome._replace(stand=Stand.HELD, why=f"not reachable: {outcome.why}") if silent else outcome


class _Smtp:
    """Whatever speaks SMTP or LMTP (RFC 2033) is asked to relay."""

    def __init__(self, inquiry: Inquiry, relaying: Relaying, neighbour: Neighbour) -> None:
        self._inquiry = inquiry
        self._relaying = relaying
        self._neighbour = neighbour

    async def __call__(self, talk: Conversation, begun: Outcome) -> Outcome:
        try:
            talk.banner = await talk.reply()
            if not talk.banner.taken:
                return begun._replace(stand=Stand.HELD, why=f"the banner refuses: {talk.banner.text}")
            if not (await talk.greet(self._inquiry.dial.helo)).taken:
                await talk.say(f"LHLO {self._inquiry.dial.helo}")
            outcome = await self._relaying.ask(talk, begun)
        except Ended as end:
            return self._found(begun._replace(stand=Stand.HELD, why=f"it answers: {end}"), str(end))
        return self._found(outcome, talk.banner.text)

    def _found(self, outcome: Outcome, said: str) -> Outcome:
        if not self._neighbour.inner:
            return outcome
        return outcome._replace(finding=_inner_port(self._inquiry, outcome.place, self._neighbour, said))


class _Queue:
    """QMTP and QMQP: one netstring, or three, and one answer that begins with K, Z or D."""

    def __init__(self, inquiry: Inquiry, neighbour: Neighbour) -> None:
        self._inquiry = inquiry
        self._neighbour = neighbour

    async def __call__(self, talk: Conversation, begun: Outcome) -> Outcome:
        names = self._inquiry.names
        talk.transcript.append("   (connected)")
        finding = _inner_port(self._inquiry, begun.place, self._neighbour, "it takes connections")
        begun = begun._replace(finding=finding if self._neighbour.inner else None)
        if self._inquiry.canary is None:
            return begun._replace(why="it takes connections; no message was sent: there is no canary to look for it")
        recipient = f"{names.canary}@{names.canary_domain}".encode()
        token = self._inquiry.token()
        try:
            self._inquiry.manners.message([recipient])
            await talk.send_body(self._packed(self._inquiry.message(token), recipient))
            answer = await talk.unasked(_LISTEN)
        except Ended as end:
            stand = Stand.UNDECIDED if end.why is Why.MANNERS else Stand.HELD
            return begun._replace(stand=stand, why=str(end))
        said = answer.partition(b":")[2]
        if not said.startswith(b"K"):
            return begun._replace(stand=Stand.HELD, why=f"refused: {printable(answer, 200)}" if answer else "no answer")
        why = printable(said, 200)
        return begun._replace(stand=Stand.TAKEN, evidence=Evidence.E3, token=token, foreign=True, why=why)

    def _packed(self, message: bytes, recipient: bytes) -> bytes:
        names = self._inquiry.names
        sender = netstring(f"{names.nobody}@{names.canary_domain}".encode())
        text = message.replace(b"\r\n", b"\n")
        if self._neighbour.what == "QMTP":  # the first octet names the line end
            return netstring(b"\n" + text) + sender + netstring(netstring(recipient))
        return netstring(netstring(text) + sender + netstring(recipient))


def netstring(octets: bytes) -> bytes:
    """A length, a colon, the octets and a comma."""
    return b"%d:%b," % (len(octets), octets)


def _inner_port(inquiry: Inquiry, place: Place, neighbour: Neighbour, said: str) -> Finding:
    return Finding(
        OPEN_PORT,
        Severity.MEDIUM,
        f"Port {place.port} of {place.address} can be reached from here ({neighbour.what}): {said}"[:500],
        "It is meant for programs on the server itself, which trust whoever speaks there.",
        fix(OPEN_PORT, inquiry.server.product),
    )
