"""Does the server take mail that it cannot deliver, and bounce it to whoever was named as the sender? (J03, J06.)"""

from __future__ import annotations

import asyncio
from typing import Final

from postlatch.audit.canary.values import CanaryError
from postlatch.audit.probes.asking import Question, ask_each, left
from postlatch.audit.probes.conversation import Conversation, Reply
from postlatch.audit.probes.fixes import fix
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.judge import judge
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.probes.vectors import Whose
from postlatch.audit.values import Evidence, Finding, Severity

UNKNOWN: Final = "J03"
OVERSIZE: Final = "J06"
REFLECTED: Final = "J06"
REPORTS: Final = "audit.success-reports"
FINDING: Final = "audit.oversize-taken"
_PATIENCE: Final = 5.0  # seconds for a report
_POLL: Final = 0.05
_BIGGEST: Final = 10**15  # octets: whoever announces more announces no limit


async def ask(inquiry: Inquiry) -> list[Outcome]:
    """A message for a mailbox that nobody has, from a sender of ours, to whom a bounce would come.

    Deep, also one that is announced as too big, and one that asks for a report of its delivery.
    """
    place = inquiry.places[0]
    recipient = inquiry.names.unknown_mailbox
    unknown = Outcome(UNKNOWN, place, Stand.UNDECIDED, how=f"a message to {recipient}, which nobody has")
    if not recipient:
        return [unknown._replace(stand=Stand.ABSENT, why="no domain of its own is known: name a mailbox with --local")]
    if inquiry.canary is None:
        return [unknown._replace(stand=Stand.ABSENT, why="there is no canary (--canary) to which a bounce could come")]

    async def send(talk: Conversation, begun: Outcome) -> Outcome:
        return await _send(inquiry, talk, begun, recipient)

    async def announce(talk: Conversation, begun: Outcome) -> Outcome:
        return await _announce(inquiry, talk, begun)

    async def report(talk: Conversation, begun: Outcome) -> Outcome:
        return await _report(inquiry, talk, begun)

    questions = [Question(unknown, send)]
    if inquiry.deep:
        questions.append(Question(unknown._replace(vector=OVERSIZE, how="a message that is announced as too big"), announce))
        questions.append(Question(unknown._replace(vector=REFLECTED, how="a report of success is asked for"), report))
    return await ask_each(inquiry, questions)


def _mail(inquiry: Inquiry) -> str:
    return f"MAIL FROM:<{inquiry.names.canary}@{inquiry.names.canary_domain}>"


async def _send(inquiry: Inquiry, talk: Conversation, begun: Outcome, recipient: str) -> Outcome:
    reply = await talk.say(_mail(inquiry))
    if reply.taken:
        reply = await talk.say(f"RCPT TO:<{recipient}>")
    stand, why = judge(reply, Whose.LOCAL)
    outcome = begun._replace(stand=stand, why=why)
    if stand is not Stand.TAKEN:
        return outcome
    token = inquiry.token()
    evidence, reply = await inquiry.deliver(talk, inquiry.message(token, to=recipient))
    if evidence is not Evidence.E3:
        # Refused after the recipient, in the conversation: nobody gets a bounce.
        return outcome._replace(stand=Stand.HELD, evidence=Evidence.E1, why=f"the recipient was taken, then {reply.text}")
    return outcome._replace(evidence=evidence, token=token, why=f"{why}; then {reply.text}")


async def _announce(inquiry: Inquiry, talk: Conversation, begun: Outcome) -> Outcome:
    """A size above what it offers must be refused at MAIL or RCPT (RFC 1870 section 6.1): later, it is a bounce."""
    offered = talk.features.get("SIZE", "").strip()
    limit = int(offered) if offered.isascii() and offered.isdigit() and len(offered) < 20 else 0
    if not 0 < limit < _BIGGEST:
        return begun._replace(stand=Stand.ABSENT, why="it offers no largest size")
    reply = await talk.say(f"{_mail(inquiry)} SIZE={limit + 1}")
    if reply.taken:
        reply = await talk.say(f"RCPT TO:<{inquiry.names.known_mailbox}>")
    if not reply.taken:
        return begun._replace(stand=Stand.HELD, why=reply.text)
    return begun._replace(stand=Stand.BROKE, why=reply.text, finding=_finding(inquiry, begun, limit, reply))


def _finding(inquiry: Inquiry, begun: Outcome, limit: int, reply: Reply) -> Finding:
    return Finding(
        FINDING,
        Severity.LOW,
        f"It takes a message that is announced as bigger than it allows, at {begun.place}: SIZE={limit + 1} of {limit}:"
        f" {reply.text}"[:500],
        "What is refused only after it was taken is refused with a bounce, to whoever was named as the sender.",
        fix(FINDING, inquiry.server.product) or "Refuse it at MAIL (RFC 1870 section 6.1), as soon as the size is announced.",
    )


async def _report(inquiry: Inquiry, talk: Conversation, begun: Outcome) -> Outcome:
    """NOTIFY=SUCCESS (RFC 3461 section 4.1): that it is obeyed is no fault, and worth knowing: the sender may be forged."""
    if not inquiry.names.mailbox:
        return begun._replace(stand=Stand.ABSENT, why="no mailbox that exists is known (--local)")
    if "DSN" not in talk.features:
        return begun._replace(stand=Stand.ABSENT, why="it does not offer DSN")
    recipient = inquiry.names.known_mailbox
    reply = await talk.say(_mail(inquiry))
    if reply.taken:
        reply = await talk.say(f"RCPT TO:<{recipient}> NOTIFY=SUCCESS")
    if not reply.taken:
        return begun._replace(stand=Stand.HELD, why=reply.text)
    token = inquiry.token()
    evidence, reply = await inquiry.deliver(talk, inquiry.message(token, to=recipient))
    if evidence is not Evidence.E3:
        return begun._replace(stand=Stand.HELD, evidence=Evidence.E1, why=f"the recipient was taken, then {reply.text}")
    outcome = begun._replace(stand=Stand.HELD, evidence=evidence)
    if not await _bounced(inquiry, token):
        return outcome._replace(why=f"it took the message ({reply.text}), and no report came in {_PATIENCE:.0f} s")
    return outcome._replace(why=f"it took the message ({reply.text}), and a report came", finding=_reports(inquiry, begun))


async def _bounced(inquiry: Inquiry, token: str) -> bool:
    assert inquiry.canary is not None
    ends = inquiry.clock.monotonic() + min(_PATIENCE, left(inquiry) / 2)  # what is late is undecided
    for _ in range(int(_PATIENCE / _POLL)):  # a clock of a test may stand still
        try:
            arrivals = await inquiry.canary.arrivals()
        except CanaryError:
            return False
        if any(arrival.token == token for arrival in arrivals):
            return True
        if inquiry.clock.monotonic() >= ends:
            return False
        await asyncio.sleep(_POLL)
    return False


def _reports(inquiry: Inquiry, begun: Outcome) -> Finding:
    return Finding(
        REPORTS,
        Severity.INFO,
        f"It sends a report of each delivery to whoever is named as the sender and asks for one, at {begun.place}.",
        "That is the standard (RFC 3461). Strangers can forge the sender, who then gets a report for each of their messages.",
        fix(REPORTS, inquiry.server.product) or "Offer DSN to logged-in clients and your own networks alone.",
    )
