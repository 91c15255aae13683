"""``postlatch decide``: one envelope through the four decisions, without a connection, a limit or a trace."""

from __future__ import annotations

from typing import NamedTuple

from postlatch.model.address import POSTMASTER, Address, AddressError, parse_address
from postlatch.model.envelope import Client, Destination, IPAddress
from postlatch.model.reply import Reply
from postlatch.model.verdict import Accept, Defer, Refuse
from postlatch.policy.credentials import LOCAL
from postlatch.policy.decide import (
    AcceptRecipient,
    decide_connection,
    decide_message,
    decide_recipient,
    decide_sender,
    expand,
    locate,
)
from postlatch.policy.facts import ConnectionFacts, MessageFacts, RecipientFacts, SenderFacts
from postlatch.policy.grant import RelayGrant
from postlatch.policy.networks import unmapped
from postlatch.policy.snapshot import Snapshot

_OK = Reply(250, "2.1.5", "recipient ok")


class Envelope(NamedTuple):
    """What is asked. Addresses are without angle brackets; ``mail_from`` empty or ``<>`` is the null sender.

    ``known`` is the call-out's answer where one is needed, None if it could not be had; ``spf`` an RFC 7208 result.
    """

    listener: str
    client: IPAddress
    mail_from: str
    rcpt: str
    account: str | None = None
    helo: str = ""
    header_from: str | None = None
    spf: str | None = None
    known: bool | None = None
    smtputf8: bool = False


def explain(snapshot: Snapshot, now: float, envelope: Envelope) -> dict[str, object]:
    """The fields of DESIGN section 9, ``decide``. ``now`` in seconds since 1970, UTC. TLS is assumed.

    LookupError, with a sentence, if the listener or the account does not exist.
    """
    if envelope.listener not in snapshot.listeners:
        raise LookupError(f"there is no listener {envelope.listener!a}; there are: {', '.join(snapshot.listeners)}")
    if envelope.account is not None and envelope.account not in snapshot.accounts:
        raise LookupError(f"there is no account {envelope.account!a}")
    sender, recipient = _sender(envelope), _recipient(envelope)
    # What cannot be read is certainly not ours.
    place = Destination.FOREIGN if isinstance(recipient, Refuse) else locate(snapshot, recipient)
    if isinstance(sender, Refuse):
        return _answer(sender, place)
    if isinstance(recipient, Refuse):
        return _answer(recipient, place)
    verdict = _decide(snapshot, now, envelope, sender.address, recipient)
    return _accepted(verdict, snapshot, recipient) if isinstance(verdict, AcceptRecipient) else _answer(verdict, place)


class _Parsed(NamedTuple):
    address: Address | None


def _sender(envelope: Envelope) -> _Parsed | Refuse:
    if envelope.mail_from in {"", "<>"}:
        return _Parsed(None)
    try:
        return _Parsed(parse_address(envelope.mail_from, smtputf8=envelope.smtputf8))
    except AddressError as error:
        return _syntax(error, Reply(501, "5.1.7", "bad sender address"))


def _recipient(envelope: Envelope) -> Address | Refuse:
    if envelope.rcpt.lower() == POSTMASTER.local:
        return POSTMASTER
    try:
        return parse_address(envelope.rcpt, smtputf8=envelope.smtputf8)
    except AddressError as error:
        return _syntax(error, Reply(501, "5.1.3", "bad recipient address"))


def _syntax(error: AddressError, reply: Reply) -> Refuse:
    needs = Reply(553, "5.6.7", "a non-ASCII address needs SMTPUTF8")
    return Refuse(needs if error.non_ascii else reply, "syntax", str(error))


def _decide(
    snapshot: Snapshot, now: float, asked: Envelope, sender: Address | None, recipient: Address
) -> Refuse | Defer | AcceptRecipient:
    client = Client(unmapped(asked.client), 0)
    name, account = asked.listener, asked.account
    shown = LOCAL if snapshot.listeners[name].local else None
    connection = decide_connection(ConnectionFacts(snapshot, name, client, now, None, None))
    if not isinstance(connection, Accept):
        return connection
    mail = decide_sender(
        SenderFacts(snapshot, name, client, now, True, account, sender, asked.helo, asked.spf, credential=shown)
    )
    if not isinstance(mail, Accept):
        return mail
    facts = RecipientFacts(
        snapshot, name, client, now, True, account, sender, recipient, object(), asked.known, credential=shown
    )
    rcpt = decide_recipient(facts)
    if not isinstance(rcpt, AcceptRecipient) or asked.header_from is None:
        return rcpt
    header = _header(facts, asked.header_from, rcpt.grant)
    return rcpt if isinstance(header, Accept) else header


def _header(facts: RecipientFacts, text: str, grant: RelayGrant | None) -> Refuse | Defer | Accept:
    try:
        addresses: tuple[Address, ...] | None = (parse_address(text, smtputf8=True),)
    except AddressError:
        addresses = None
    message = MessageFacts(
        facts.snapshot,
        facts.listener,
        facts.client,
        facts.now,
        facts.account,
        facts.sender,
        addresses,
        1,
        0,
        0,
        credential=facts.credential,
    )
    return decide_message(message, [grant])


def _accepted(verdict: AcceptRecipient, snapshot: Snapshot, recipient: Address) -> dict[str, object]:
    mailboxes = expand(snapshot, recipient)
    why = verdict.why
    if mailboxes != (recipient,):
        why += f"; it is delivered to {', '.join(mailbox.text for mailbox in mailboxes)}"
    return {
        "verdict": "accept",
        "reply": str(_OK),
        "rule": verdict.rule,
        "grant": None if verdict.grant is None else verdict.grant.reason.value,
        "destination": verdict.destination.value,
        "why": why,
    }


def _answer(verdict: Refuse | Defer, place: Destination) -> dict[str, object]:
    return {
        "verdict": "refuse" if isinstance(verdict, Refuse) else "defer",
        "reply": str(verdict.reply),
        "rule": verdict.rule,
        "grant": None,
        "destination": place.value,
        "why": verdict.why,
    }
