"""The controls of an experiment: without them neither a refusal nor a 250 means anything."""

from __future__ import annotations

from typing import NamedTuple

from postlatch.audit.probes.conversation import Reply
from postlatch.audit.probes.ended import Ended
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.place import Place
from postlatch.audit.probes.values import Outcome, Stand

_AUTH_FIRST = 530  # RFC 4954 section 6


class Controls(NamedTuple):
    """What the server does with mail that is none of a relay's business.

    ``takes_known``: it takes mail for a mailbox that exists; ``refuses_unknown``: and refuses one that does not. None: it could
    not be found out. ``login_first``: it takes nothing at all from who is not logged in. ``why`` says what was seen.
    """

    takes_known: bool | None
    refuses_unknown: bool | None
    login_first: bool
    why: str
    outcomes: tuple[Outcome, ...]


async def control(inquiry: Inquiry) -> Controls:
    """Ask for both at the first place."""
    place = inquiry.places[0]
    known, known_reply = await _recipient(inquiry, place, "C+", inquiry.names.known_mailbox)
    unknown, unknown_reply = await _recipient(inquiry, place, "C-", inquiry.names.unknown_mailbox)
    return Controls(
        _is(known_reply, taken=True),
        _is(unknown_reply, taken=False),
        known_reply is not None and known_reply.code == _AUTH_FIRST and "starttls" not in known_reply.text.lower(),
        known.why,
        (known, unknown),
    )


def _is(reply: Reply | None, *, taken: bool) -> bool | None:
    if reply is None or (reply.later and "relay" not in reply.text.lower()):
        return None
    return reply.taken is taken


async def _recipient(inquiry: Inquiry, place: Place, name: str, recipient: str) -> tuple[Outcome, Reply | None]:
    """The first answer that is about the recipient, asked for several senders: some servers refuse this one or that."""
    names = inquiry.names
    begun = Outcome(name, place, Stand.UNDECIDED, how=f"RCPT TO:<{recipient}>")
    if not recipient:
        return begun._replace(stand=Stand.ABSENT, why="no domain of its own is known: name a mailbox with --local"), None
    reply: Reply | None = None
    why = ""
    for sender in (f"{names.canary}@{names.canary_domain}", ""):
        try:
            async with await inquiry.dial.open(place) as talk:
                reply = await talk.say(f"MAIL FROM:<{sender}>")
                if reply.taken:
                    reply = await talk.say(f"RCPT TO:<{recipient}>")
                begun = begun._replace(transcript=tuple(talk.transcript))
        except Ended as end:
            why = str(end)
            continue
        why = reply.text
        if reply.taken:
            break
    return begun._replace(stand=Stand.HELD if reply is not None else Stand.UNDECIDED, why=why), reply
