"""Does the server see who connects? (I05.) Behind a proxy or a NAT every stranger can look like a trusted neighbour.

One message goes to a mailbox of the server that its owner lets us read, and what stands in its Received field is compared with
the address that we connected from. This finds servers that refuse us today and would trust anybody tomorrow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from postlatch.audit.canary.values import Arrival, CanaryError
from postlatch.audit.probes.asking import Question, ask_each
from postlatch.audit.probes.conversation import Conversation
from postlatch.audit.probes.ended import Ended
from postlatch.audit.probes.fixes import fix
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.place import Place
from postlatch.audit.probes.received import client, plain
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import Evidence, Finding, Severity

VECTOR: Final = "I05"
FINDING: Final = "audit.masked-source"
_PATIENCE: Final = 5.0  # seconds for the delivery
_POLL: Final = 0.1
_TRUSTED: Final = (
    "All strangers arrive from this address, and the server took a recipient that is not its own from it: everybody can relay,"
    " and no limit, ban, SPF check or DNS list can tell one client from another."
)

Address = IPv4Address | IPv6Address


async def ask(inquiry: Inquiry) -> list[Outcome]:
    """One message at the first place of each address family: often it is IPv6 alone that a container's network hides."""
    places = list(_one_each(inquiry.places))
    if inquiry.mailbox_reader is None or not inquiry.names.mailbox:
        why = "name a mailbox that exists there (--local) and how to read it (--local-maildir, --local-imap)"
        return [Outcome(VECTOR, places[0], Stand.ABSENT, why=why)]
    begun = [Outcome(VECTOR, place, Stand.UNDECIDED, how=f"a message to {inquiry.names.known_mailbox}") for place in places]

    async def talk(talk: Conversation, outcome: Outcome) -> Outcome:
        return await _look(inquiry, talk, outcome)

    return await ask_each(inquiry, [Question(outcome, talk) for outcome in begun])


def _one_each(places: Iterable[Place]) -> Iterable[Place]:
    families: dict[bool, Place] = {}
    for place in places:
        families.setdefault(":" in place.address, place)
    return families.values()


async def _look(inquiry: Inquiry, talk: Conversation, begun: Outcome) -> Outcome:
    names = inquiry.names
    reply = await talk.say(f"MAIL FROM:<{names.canary}@{names.canary_domain}>")
    if reply.taken:
        reply = await talk.say(f"RCPT TO:<{names.known_mailbox}>")
    if not reply.taken:
        return begun._replace(why=f"its own mailbox was not taken: {reply.text}")
    token = inquiry.token()
    evidence, reply = await inquiry.deliver(talk, inquiry.message(token, to=names.known_mailbox))
    if evidence is not Evidence.E3:
        return begun._replace(why=f"the message was not taken: {reply.text}")
    try:
        arrival = await _wait(inquiry, token)
    except CanaryError as error:
        return begun._replace(why=f"the mailbox cannot be read: {error}")
    if arrival is None:
        return begun._replace(why=f"the message was taken ({reply.text}) and is not in the mailbox yet")
    outcome = _compare(inquiry, begun, talk.local_address, arrival.received)
    if outcome.finding is not None and await _is_trusted(inquiry, talk):
        return outcome._replace(finding=outcome.finding._replace(severity=Severity.CRITICAL, why=_TRUSTED))
    return outcome


async def _is_trusted(inquiry: Inquiry, talk: Conversation) -> bool:
    """Does the address that it saw give a right? A recipient of ours is asked for, and nothing is sent."""
    names = inquiry.names
    try:
        await talk.say(f"MAIL FROM:<{names.canary}@{names.canary_domain}>")
        return (await talk.say(f"RCPT TO:<{names.canary}@{names.canary_domain}>")).taken
    except Ended:
        return False


async def _wait(inquiry: Inquiry, token: str) -> Arrival | None:
    """The message as it was delivered, if it comes in time."""
    assert inquiry.mailbox_reader is not None
    ends = min(inquiry.clock.monotonic() + _PATIENCE, inquiry.deadline)
    for _ in range(int(_PATIENCE / _POLL)):
        arrived = [one for one in await inquiry.mailbox_reader.arrivals() if one.token == token and not one.bounce]
        if arrived:
            return arrived[0]
        if inquiry.clock.monotonic() >= ends:
            break
        await asyncio.sleep(_POLL)
    return None


def _compare(inquiry: Inquiry, begun: Outcome, ours: str, received: tuple[str, ...]) -> Outcome:
    """We wrote no Received field, so the oldest one is by the server that we spoke with; on top are those of later hops."""
    if not received:
        return begun._replace(why="the delivered message has no Received field: the server does not write whom it saw")
    seen, own = client(received[-1]), plain(ip_address(ours.partition("%")[0]))
    if seen is None:
        return begun._replace(why=f"its Received field names no address: {received[-1]}"[:500])
    if seen == own:
        return begun._replace(stand=Stand.HELD, why=f"it saw us as {seen}, which we are")
    if seen.is_global and seen != ip_address(begun.place.address):
        text = "an address of the internet that is not this machine's: a NAT between us, most likely at our side"
        return begun._replace(stand=Stand.HELD if not own.is_global else Stand.UNDECIDED, why=f"it saw us as {seen}, {text}")
    if own.is_loopback and not seen.is_loopback:
        why = f"it saw us as {seen}; from its own machine containers always do: ask from another one"
        return begun._replace(why=why)
    finding = _finding(begun.place, own, seen, received[-1], inquiry.server.product)
    return begun._replace(stand=Stand.BROKE, why=f"it saw us, who are {own}, as {seen}", finding=finding)


def _finding(place: Place, own: Address, seen: Address, field: str, product: str) -> Finding:
    what = "its own machine" if seen.is_loopback or str(seen) == place.address else "an address of a private network"
    doubt = "" if own.is_global else " (Unless this machine is itself behind a NAT to the server: then ask from another one.)"
    return Finding(
        FINDING,
        Severity.HIGH,
        f"The server does not see who connects: at {place} we came from {own}, and it saw {seen}, {what}.{doubt}",
        "A proxy, a container's network or a NAT stands before it, and all strangers look like that one address. If it is ever"
        " trusted (mynetworks, a local network), everybody can relay; and no limit, ban, SPF check or DNS list can tell one"
        " client from another.",
        fix(FINDING, product),
        transcript=(f"Received: {field}",),
    )
