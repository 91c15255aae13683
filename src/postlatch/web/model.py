"""What the pages ask, and in which shape it is answered. The relay's answers arrive as JSON, so these are plain objects."""

from __future__ import annotations

from typing import NamedTuple, NotRequired, Protocol, TypedDict

from postlatch.journal.counters import Sample


class Check(NamedTuple):
    """One thing that was looked at. ``why`` says what is wrong, in a sentence; empty if nothing is."""

    name: str
    ok: bool
    why: str = ""


class ListenerStatus(TypedDict):
    """One listener. ``accepted`` counts messages, ``refused`` senders, recipients and messages, since the relay's start."""

    name: str
    role: str
    addresses: list[str]
    bound: bool
    accepted: int
    refused: int


class RuleStatus(TypedDict):
    """How often a rule refused since the relay's start, and the last time it did. ``at`` in seconds since 1970."""

    rule: str
    count: int
    at: NotRequired[float]
    listener: NotRequired[str]
    client: NotRequired[str]
    why: NotRequired[str]


class AddressStatus(TypedDict):
    """How one address of a listener came out; ``source`` is where it was asked from."""

    listener: str
    address: str
    source: str
    verdict: str
    grade: str
    summary: str


class SelfAuditStatus(TypedDict):
    """The latest audit of the relay by itself. ``at`` is in seconds since 1970; ``why`` it could not be made, or empty."""

    at: float
    verdict: str
    why: str
    addresses: list[AddressStatus]


class Status(TypedDict):
    """The truth at ``at`` (seconds since 1970). What is not known is None or left out, and shown as not known.

    ``closed``: the installed policy was proved closed at ``proved_at``. ``queue`` counts recipients by state.
    """

    hostname: str
    at: float
    closed: bool | None
    proved_at: float | None
    policy_version: int | None
    store_healthy: bool | None
    listeners: list[ListenerStatus]
    queue: dict[str, int] | None
    oldest_seconds: NotRequired[float | None]
    refusals: list[RuleStatus]
    self_audit: NotRequired[SelfAuditStatus | None]


class StatusUnknown(Exception):
    """The relay did not answer. The message is a sentence for the operator. Temporary."""


class StatusModel(Protocol):
    """Answers the pages. Any method may raise StatusUnknown; one that takes more than two seconds is given up."""

    async def health(self) -> list[Check]:
        """This process: that it answers, that it can read the database."""
        ...

    async def ready(self) -> list[Check]:
        """The relay: that it answers, its store, its policy, its listeners."""
        ...

    async def status(self) -> Status:
        """For the page."""
        ...

    async def metrics(self) -> list[Sample]:
        """What the relay and this process counted, under the names of ``METRICS``."""
        ...
