"""Where a target answers, and what it says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from postlatch.audit.probes.conversation import Dialer
from postlatch.audit.probes.ended import Ended, Why
from postlatch.audit.probes.place import Place, Tls
from postlatch.audit.probes.proxy_header import header_v1

PORTS: Final = (25, 587, 465, 2525)
_TLS_FIRST: Final = 465  # RFC 8314 section 3.3
_HEADER: Final = (
    "it speaks only after a PROXY header, and believed one of ours: who reaches this port chooses the address that it sees;"
    " let the proxy alone reach it, and audit the proxy"
)


class Reached(NamedTuple):
    """One place that answers. ``banner`` and ``offers`` (EHLO's lines, with their words) are printable."""

    place: Place
    banner: str
    offers: dict[str, str]


class Unreached(NamedTuple):
    """One that does not, and why."""

    place: Place
    why: Why
    text: str


async def reach(dial: Dialer, candidates: Iterable[Place]) -> tuple[list[Reached], list[Unreached]]:
    """Try all at once. Where STARTTLS is offered, the encrypted conversation is a place of its own.

    What answers in the clear comes first, in the order of the candidates: that is where strangers hand in their mail.
    """
    answers = await asyncio.gather(*(_look(dial, place) for place in candidates))
    reached = [one for found, _ in answers for one in found]
    order = {Tls.NEVER: 0, Tls.STARTTLS: 1, Tls.FIRST: 1}
    ports = list(dict.fromkeys(one.place.port for one in reached))
    reached.sort(key=lambda one: (ports.index(one.place.port) if one.place.port != _TLS_FIRST else 99, order[one.place.tls]))
    return reached, [failed for _, failures in answers for failed in failures]


async def _look(dial: Dialer, place: Place) -> tuple[list[Reached], list[Unreached]]:
    tls_first = place._replace(tls=Tls.FIRST)
    if place.port == _TLS_FIRST:
        return await _try(dial, tls_first)
    found, failed = await _try(dial, place)
    if failed and failed[0].why in {Why.SILENT, Why.GARBAGE, Why.CLOSED}:
        # A server that waits for the client's TLS says nothing: a port of any number can be one.
        (encrypted, _), header = await asyncio.gather(_try(dial, tls_first), _waits_for_header(dial, place, failed[0].why))
        if not encrypted and header:
            failed = [failed[0]._replace(text=_HEADER)]
        return (encrypted, []) if encrypted else (found, failed)
    if found and "STARTTLS" in found[0].offers:
        encrypted, refused = await _try(dial, place._replace(tls=Tls.STARTTLS))
        return found + encrypted, refused
    return found, failed


async def _waits_for_header(dial: Dialer, place: Place, why: Why) -> bool:
    """Does it greet who sends a PROXY header first? The one that is sent names a client that nobody trusts (RFC 5737)."""
    if why is not Why.SILENT:
        return False
    try:
        talk = await dial.connect(place)
    except Ended:
        return False
    try:
        await talk.send(header_v1("2001:db8::1" if ":" in place.address else "192.0.2.1", place))
        return (await talk.reply()).taken
    except Ended:
        return False
    finally:
        await talk.close()


async def _try(dial: Dialer, place: Place) -> tuple[list[Reached], list[Unreached]]:
    try:
        async with await dial.open(place) as talk:
            return [Reached(place, talk.banner.text, talk.features)], []
    except Ended as end:
        return [], [Unreached(place, end.why, str(end))]


def candidates(host: str, addresses: Sequence[str], port: int | None) -> list[Place]:
    """The places to try: every address, the port that was named or those of mail."""
    ports = (port,) if port is not None else PORTS
    return [Place(host, address, one) for one in ports for address in addresses]
