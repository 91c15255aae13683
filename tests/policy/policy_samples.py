"""One office's policy, with a valid and an invalid member of everything, for the tests of the policy room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import TypedDict, Unpack

from postlatch.model.address import POSTMASTER, Address, parse_address
from postlatch.model.envelope import Client, Role
from postlatch.policy.decide import AcceptRecipient, decide_recipient, decide_sender
from postlatch.policy.facts import LimitReached, RecipientFacts, SenderFacts
from postlatch.policy.snapshot import Account, Listener, LocalDomain, RelayDomain, Right, Snapshot

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z
LATER = NOW + 86_400 * 365
BEFORE = NOW - 86_400
STRANGER = "198.51.100.7"
STRANGER6 = "2a0e:1234::7"
PRINTER = "10.0.3.5"
APP = "192.0.2.10"
OWNER = "ops@example.com"
LISTENERS = ("mx", "submission", "submissions", "relay")


def addr(text: str) -> Address:
    """An address; ``postmaster`` alone is the bare one."""
    return POSTMASTER if text == "postmaster" else parse_address(text, smtputf8=True)


def right(name: str, networks: Iterable[str], senders: Iterable[str] = (), **rest: object) -> Right:
    """A right on the listener ``relay``, owned and unexpired unless told otherwise."""
    base = Right(name, tuple(map(ip_network, networks)), frozenset({"relay"}), tuple(senders), owner=OWNER, expires=LATER)
    return replace(base, **rest)  # type: ignore[arg-type]


def local(name: str = "example.com", recipients: Iterable[str] | None = ("alice", "bob"), **aliases: str) -> LocalDomain:
    """A domain of ours; each alias leads to the addresses named, separated by spaces; ``any`` is the catch-all."""
    targets = {alias: tuple(map(addr, text.split())) for alias, text in aliases.items()}
    catch_all = targets.pop("any", ())
    return LocalDomain(name, None if recipients is None else frozenset(recipients), targets, catch_all)


def relayed(name: str, recipients: Iterable[str] | None, expires: float = LATER, owner: str = OWNER) -> RelayDomain:
    """A relay domain."""
    return RelayDomain(name, None if recipients is None else frozenset(recipients), owner, expires)


LOCAL = (
    local(info="alice@example.com bob@example.com", loop="loop2@example.com", loop2="loop@example.com"),
    local("callout.example", None, help="alice@example.com"),
    local("catch.example", ("carol",), any="alice@example.com"),
)
RELAYED = (
    relayed("branch.example", None),
    relayed("listed.example", ("dave",)),
    relayed("old.example", ("dave",), BEFORE),
)
RIGHTS = (
    right("printers", ["10.0.3.0/28"], ["@example.com"]),
    right("apps", [f"{APP}/32", "2001:db8:1::/120"]),
    right("noc", ["192.0.2.20/32"], ["noc@example.com", "<>"], recipients=("@partner.example",)),
    right("gone", ["192.0.2.30/32"], expires=BEFORE),
    right("stopped", ["192.0.2.40/32"], suspended=True),
    right("local", ["127.0.0.1/32"], masked="the test"),
    right("mapped", ["::ffff:192.0.2.48/124"]),
)
ACCOUNTS = (
    Account("alice@example.com", frozenset({"alice@example.com"})),
    Account("bob@example.com", frozenset({"bob@example.com"}), suspended=True),
    Account("team", frozenset({"@example.com"})),
    Account("robot", frozenset({"robot@example.com", "<>"})),
)


def snapshot(
    *,
    locals_: Iterable[LocalDomain] = LOCAL,
    relayed_: Iterable[RelayDomain] = RELAYED,
    rights: Iterable[Right] = RIGHTS,
    accounts: Iterable[Account] = ACCOUNTS,
    hostname: str = "mx.example.com",
    roles: Iterable[str] = LISTENERS,
) -> Snapshot:
    """The sample policy with parts of it exchanged. Listeners are named after their role."""
    return Snapshot(
        version=7,
        hostname=hostname,
        listeners={name: Listener(name, Role(name), name != "relay") for name in roles},
        local_domains={domain.name: domain for domain in locals_},
        relay_domains={domain.name: domain for domain in relayed_},
        rights=tuple(rights),
        accounts={account.login: account for account in accounts},
        own_addresses=frozenset({"[192.0.2.1]"}),
    )


class Case(TypedDict, total=False):
    """Facts as text. ``sender`` empty is ``<>``."""

    client: str
    account: str | None
    sender: str
    tls: bool
    identity: bool
    spf: str | None
    known: bool | None
    limit: LimitReached | None
    snap: Snapshot
    now: float
    credential: str | None


SNAPSHOT = snapshot()


def sender_facts(listener: str, **case: Unpack[Case]) -> SenderFacts:
    """Facts of MAIL: by default a stranger over TLS, from a foreign sender."""
    sender = case.get("sender", "x@elsewhere.example")
    return SenderFacts(
        case.get("snap", SNAPSHOT),
        listener,
        Client(ip_address(case.get("client", STRANGER)), 40000),
        case.get("now", NOW),
        case.get("tls", True),
        case.get("account"),
        addr(sender) if sender else None,
        "client.example",
        case.get("spf"),
        case.get("limit"),
        case.get("identity", True),
        case.get("credential"),
    )


def recipient_facts(listener: str, recipient: str | Address, **case: Unpack[Case]) -> RecipientFacts:
    """Facts of RCPT, with the defaults of ``sender_facts``."""
    mail = sender_facts(listener, **case)
    to = recipient if isinstance(recipient, Address) else addr(recipient)
    return RecipientFacts(
        mail.snapshot,
        listener,
        mail.client,
        mail.now,
        mail.tls,
        mail.account,
        mail.sender,
        to,
        object(),
        case.get("known"),
        mail.limit,
        mail.identity,
        mail.credential,
    )


def mail(listener: str, **case: Unpack[Case]) -> str:
    """The verdict of MAIL in short: ``ok``, or the reply's codes and the rule."""
    verdict = decide_sender(sender_facts(listener, **case))
    reply = getattr(verdict, "reply", None)
    return "ok" if reply is None else f"{reply.code} {reply.enhanced} {verdict.rule}"


def rcpt(listener: str, recipient: str, **case: Unpack[Case]) -> str:
    """The verdict of RCPT in short: destination and grant, or the reply's codes and the rule."""
    verdict = decide_recipient(recipient_facts(listener, recipient, **case))
    if isinstance(verdict, AcceptRecipient):
        return f"{verdict.destination} {verdict.grant.reason if verdict.grant else '-'} {verdict.ref or '-'}"
    return f"{verdict.reply.code} {verdict.reply.enhanced} {verdict.rule}"
