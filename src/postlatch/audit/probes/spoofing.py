"""Asks whether a stranger may write to the target's users in the name of its own domain (group H of the catalogue).

All goes to the mailbox that the owner named. Whether taking it is a fault depends on what the domain publishes.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from postlatch.audit.probes.arriving import arrived
from postlatch.audit.probes.asking import Question, ask_each
from postlatch.audit.probes.conversation import Conversation
from postlatch.audit.probes.ended import Ended, Why
from postlatch.audit.probes.fixes import fix
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.publishing import Promise, promise
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.values import Evidence, Finding, Severity

SPOOFABLE: Final = "audit.spoofable"
UNPROTECTED: Final = "audit.own-domain-unprotected"
AMBIGUOUS: Final = "audit.ambiguous-author"

_WAIT: Final = 2.0  # seconds for a message to be put into the mailbox
_WAIT_DEEP: Final = 5.0


class Forgery(NamedTuple):
    """One message. ``{R}`` is the named mailbox, ``{X}`` the auditor's own, ``{H}`` the target's name.

    ``head`` stands where From would. ``clear`` is False where it is not sure whom it pretends to be from.
    """

    vector: str
    how: str
    sender: str
    head: tuple[str, ...] = ("From: <{R}>",)
    deep: bool = True
    clear: bool = True


FORGERIES: Final = (
    Forgery("H01", "envelope and From of its own domain", "{R}", deep=False),
    Forgery("H02", "a stranger's envelope, From of its own domain", "{X}"),
    Forgery("H03", "two From fields", "{X}", ("From: <{X}>", "From: <{R}>"), clear=False),
    Forgery("H03", "two authors", "{X}", ("From: <{R}>, <{X}>", "Sender: <{X}>"), clear=False),
    Forgery("H03", "From with a route", "{X}", ("From: <@{T}:{R}>",), clear=False),
    Forgery("H03", "its own address as a display name", "{X}", ('From: "{R}" <{X}>',), clear=False),
    Forgery("H03", "results in its own name", "{X}", ("From: <{X}>", "Authentication-Results: {H}; dkim=pass header.d={L}")),
    Forgery("H04", "the null sender, From of its own domain", ""),
)
_RESULTS: Final = "Authentication-Results"
_DISPLAY: Final = '"{R}"'


async def ask(inquiry: Inquiry) -> list[Outcome]:
    """Where strangers hand in their mail. It needs a mailbox that the owner named."""
    place = inquiry.places[0]
    wanted = [forgery for forgery in FORGERIES if inquiry.deep or not forgery.deep]
    if not (inquiry.names.mailbox and inquiry.names.local_domain):
        why = "no mailbox is known that it could be sent to: name one with --local"
        return [Outcome(forgery.vector, place, Stand.ABSENT, how=forgery.how, why=why) for forgery in wanted]
    sent = [_Sent(inquiry, forgery) for forgery in wanted]
    begun = [Outcome(forgery.vector, place, Stand.UNDECIDED, how=forgery.how) for forgery in wanted]
    outcomes = await ask_each(inquiry, [Question(*one) for one in zip(begun, sent, strict=True)])
    if not any(one.token for one in sent):
        return outcomes
    published = await promise(inquiry, place)
    tokens = [one.token for one in sent if one.token]
    seen = await arrived(inquiry, tokens, _WAIT_DEEP if inquiry.deep else _WAIT)
    return [_judged(inquiry, one, outcome, published, seen) for one, outcome in zip(sent, outcomes, strict=True)]


class _Sent:
    """One forgery in one conversation. ``token`` is of the message, once it was taken."""

    def __init__(self, inquiry: Inquiry, forgery: Forgery) -> None:
        self.forgery = forgery
        self.token = ""
        self._inquiry = inquiry

    async def __call__(self, talk: Conversation, begun: Outcome) -> Outcome:
        known = self._inquiry.names.known_mailbox
        reply = await talk.say(f"MAIL FROM:<{self._filled(self.forgery.sender)}>")
        if reply.taken:
            reply = await talk.say(f"RCPT TO:<{known}>")
        if not reply.taken:
            stand = Stand.UNDECIDED if reply.later else Stand.HELD
            return begun._replace(stand=stand, why=reply.text)
        token = self._inquiry.token()
        try:
            evidence, reply = await self._inquiry.deliver(talk, self._message(token))
        except Ended as end:
            if end.why is not Why.MANNERS:
                raise
            return begun._replace(why=str(end))
        if evidence is not Evidence.E3:
            return begun._replace(stand=Stand.UNDECIDED if reply.later else Stand.HELD, evidence=evidence, why=reply.text)
        self.token = token
        return begun._replace(evidence=evidence, why=f"{reply.text} (message {token})")

    def _message(self, token: str) -> bytes:
        _, _, rest = self._inquiry.message(token, to=self._inquiry.names.known_mailbox).partition(b"\r\n")
        head = "\r\n".join(self._filled(line) for line in self.forgery.head)
        return head.encode("ascii", "replace") + b"\r\n" + rest

    def _filled(self, template: str) -> str:
        names = self._inquiry.names
        values = {
            "R": names.known_mailbox,
            "X": f"{names.nobody}@{names.canary_domain}",
            "T": names.canary_domain,
            "L": names.local_domain,
            "H": names.hostname or names.local_domain,
        }
        for name, value in values.items():
            template = template.replace(f"{{{name}}}", value)
        return template


def _judged(inquiry: Inquiry, sent: _Sent, outcome: Outcome, published: Promise, seen: set[str] | None) -> Outcome:
    """What it means that a message was taken; the others were judged in their conversation."""
    if not sent.token:
        return outcome
    if not published.known:
        return outcome._replace(why=f"taken, but {published.why}: {outcome.why}")
    if sent.forgery.vector == "H01":
        return _own_domain(inquiry, sent, outcome, published, seen)
    return _author(inquiry, sent, outcome, published, seen)


def _own_domain(inquiry: Inquiry, sent: _Sent, outcome: Outcome, published: Promise, seen: set[str] | None) -> Outcome:
    if published.forbids:
        if seen is not None and sent.token not in seen:
            return outcome._replace(stand=Stand.HELD, why=f"taken, but not put into the mailbox: {outcome.why}")
        return _broken(inquiry, outcome, published, Severity.HIGH)
    if published.allows:
        return outcome._replace(stand=Stand.HELD, why=f"our address may send for it: {published.why}")
    finding = Finding(
        UNPROTECTED,
        Severity.MEDIUM,
        f"At {outcome.place}, a stranger's mail to {inquiry.names.known_mailbox} in its own name is taken, and the domain"
        f" publishes nothing that forbids it: {published.why}",
        "Anybody can write to its users as one of them; no other server can know better either.",
        fix(UNPROTECTED, inquiry.server.product),
        transcript=outcome.transcript,
    )
    return outcome._replace(stand=Stand.HELD, finding=finding)


def _author(inquiry: Inquiry, sent: _Sent, outcome: Outcome, published: Promise, seen: set[str] | None) -> Outcome:
    head = " ".join(sent.forgery.head)
    if seen is None:
        return outcome._replace(why=f"taken; what became of it only its mailbox tells: {outcome.why}")
    if sent.token not in seen:
        return outcome._replace(stand=Stand.HELD, why=f"taken, but not put into the mailbox: {outcome.why}")
    if _RESULTS in head:
        why = f"in the mailbox; the line {_RESULTS} in it must be gone or renamed (RFC 8601 section 5): {outcome.why}"
        return outcome._replace(why=why)
    if not published.forbids_author or _DISPLAY in head:
        # A display name is free text (RFC 5322 section 3.4): programs that show mail must show the address, no server.
        return outcome._replace(stand=Stand.HELD, why=f"in the mailbox, and nothing forbids it: {published.why}")
    if sent.forgery.clear:
        return _broken(inquiry, outcome, published, Severity.HIGH)
    finding = Finding(
        AMBIGUOUS,
        Severity.MEDIUM,
        f"At {outcome.place}, a stranger's message that may be read as one of {inquiry.names.known_mailbox} is put into the"
        f" mailbox: {sent.forgery.how}",
        "The check of the author looks at one address, and the reader is shown another.",
        fix(AMBIGUOUS, inquiry.server.product),
        transcript=outcome.transcript,
    )
    return outcome._replace(stand=Stand.BROKE, finding=finding)


def _broken(inquiry: Inquiry, outcome: Outcome, published: Promise, severity: Severity) -> Outcome:
    finding = Finding(
        SPOOFABLE,
        severity,
        f"At {outcome.place}, a stranger's mail to {inquiry.names.known_mailbox} in its own name is taken"
        f" ({outcome.how}), which its domain forbids: {published.why}",
        "Anybody can write to its users as one of them: what the domain publishes to prevent it is not looked at.",
        fix(SPOOFABLE, inquiry.server.product),
        transcript=outcome.transcript,
    )
    return outcome._replace(stand=Stand.BROKE, finding=finding)
