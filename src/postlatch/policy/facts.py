"""What a decision is made from. Gathered by the server, never by a rule. Times are seconds since 1970, UTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from postlatch.model.address import Address
from postlatch.model.envelope import Client
from postlatch.policy.dmarc import DmarcFacts
from postlatch.policy.reputation import Standing
from postlatch.policy.snapshot import Snapshot


class LimitReached(NamedTuple):
    """A limit that this command would pass. ``name`` is like ``account messages 30/minute``.

    ``hold``: what goes beyond it is accepted and held for an operator. ``unknown``: whether it is spent cannot be said now.
    """

    name: str
    retry_at: float
    day_spent: bool
    hold: bool = False
    unknown: bool = False


@dataclass(init=False, slots=True, unsafe_hash=True)
class ConnectionFacts:
    """Known when a client connects. ``identity`` is False behind a PROXY header of kind LOCAL or UNKNOWN."""

    snapshot: Snapshot
    listener: str
    client: Client
    now: float
    banned_until: float | None
    limit: LimitReached | None
    identity: bool

    def __init__(
        self,
        snapshot: Snapshot,
        listener: str,
        client: Client,
        now: float,
        banned_until: float | None,
        limit: LimitReached | None,
        identity: bool = True,
    ) -> None:
        self.snapshot = snapshot
        self.listener = listener
        self.client = client
        self.now = now
        self.banned_until = banned_until
        self.limit = limit
        self.identity = identity


@dataclass(init=False, slots=True, unsafe_hash=True)
class SenderFacts:
    """Known at MAIL. ``account`` is the authenticated login; ``sender`` None is ``<>``; ``spf`` an RFC 7208 result.

    ``credential`` names the application password that was used; None is the account's own, and ``CERTIFICATE``, ``TOKEN`` and
    ``LOCAL`` of ``policy.credentials`` are what they say.
    """

    snapshot: Snapshot
    listener: str
    client: Client
    now: float
    tls: bool
    account: str | None
    sender: Address | None
    helo: str
    spf: str | None
    limit: LimitReached | None
    identity: bool
    credential: str | None

    def __init__(
        self,
        snapshot: Snapshot,
        listener: str,
        client: Client,
        now: float,
        tls: bool,
        account: str | None,
        sender: Address | None,
        helo: str = "",
        spf: str | None = None,
        limit: LimitReached | None = None,
        identity: bool = True,
        credential: str | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.listener = listener
        self.client = client
        self.now = now
        self.tls = tls
        self.account = account
        self.sender = sender
        self.helo = helo
        self.spf = spf
        self.limit = limit
        self.identity = identity
        self.credential = credential


@dataclass(init=False, slots=True, unsafe_hash=True)
class RecipientFacts:
    """Known at RCPT. ``transaction`` is the object that a grant is bound to, by identity.

    ``known`` is the call-out's answer where ``needs_callout`` is true (None: undecided), and is ignored elsewhere.
    ``standing`` is None where strangers are not judged.
    """

    snapshot: Snapshot
    listener: str
    client: Client
    now: float
    tls: bool
    account: str | None
    sender: Address | None
    recipient: Address
    transaction: Any  # compared by identity alone
    known: bool | None
    limit: LimitReached | None
    identity: bool
    credential: str | None
    standing: Standing | None

    def __init__(
        self,
        snapshot: Snapshot,
        listener: str,
        client: Client,
        now: float,
        tls: bool,
        account: str | None,
        sender: Address | None,
        recipient: Address,
        transaction: object,
        known: bool | None,
        limit: LimitReached | None = None,
        identity: bool = True,
        credential: str | None = None,
        standing: Standing | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.listener = listener
        self.client = client
        self.now = now
        self.tls = tls
        self.account = account
        self.sender = sender
        self.recipient = recipient
        self.transaction = transaction
        self.known = known
        self.limit = limit
        self.identity = identity
        self.credential = credential
        self.standing = standing


class NamedField(NamedTuple):
    """A field of the header that names who sends: ``Sender``, ``Resent-From`` or ``Resent-Sender``; None: it cannot be read."""

    name: str
    addresses: tuple[Address, ...] | None


@dataclass(init=False, slots=True, unsafe_hash=True)
class MessageFacts:
    """Known after the final dot. ``header_from`` is None if From is absent or cannot be read; ``size`` in octets.

    ``named`` are the other fields that say who sends, in their order.

    ``dmarc`` is None where the author is not checked: on every listener but ``mx``.
    """

    snapshot: Snapshot
    listener: str
    client: Client
    now: float
    account: str | None
    sender: Address | None
    header_from: tuple[Address, ...] | None
    from_count: int
    received_count: int
    size: int
    dmarc: DmarcFacts | None
    credential: str | None
    named: tuple[NamedField, ...]

    def __init__(
        self,
        snapshot: Snapshot,
        listener: str,
        client: Client,
        now: float,
        account: str | None,
        sender: Address | None,
        header_from: tuple[Address, ...] | None,
        from_count: int,
        received_count: int,
        size: int,
        dmarc: DmarcFacts | None = None,
        credential: str | None = None,
        named: tuple[NamedField, ...] = (),
    ) -> None:
        self.snapshot = snapshot
        self.listener = listener
        self.client = client
        self.now = now
        self.account = account
        self.sender = sender
        self.header_from = header_from
        self.from_count = from_count
        self.received_count = received_count
        self.size = size
        self.dmarc = dmarc
        self.credential = credential
        self.named = named


class AnyFacts(Protocol):
    """What every kind of facts has."""

    @property
    def snapshot(self) -> Snapshot:
        """The policy in force."""
        ...

    @property
    def listener(self) -> str:
        """The listener's name."""
        ...

    @property
    def client(self) -> Client:
        """The peer."""
        ...

    @property
    def now(self) -> float:
        """Seconds since 1970, UTC."""
        ...


class EnvelopeFacts(AnyFacts, Protocol):
    """What MAIL and RCPT have in common, so that one rule serves both."""

    @property
    def tls(self) -> bool:
        """The connection is encrypted."""
        ...

    @property
    def account(self) -> str | None:
        """The authenticated login."""
        ...

    @property
    def sender(self) -> Address | None:
        """The reverse-path."""
        ...

    @property
    def limit(self) -> LimitReached | None:
        """A limit that is reached."""
        ...

    @property
    def identity(self) -> bool:
        """The client's address is its own."""
        ...

    @property
    def credential(self) -> str | None:
        """What the account has shown, as in ``SenderFacts``."""
        ...
