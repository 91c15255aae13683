"""Events of the journal: one catalogue of stable names. A test fails if docs/events.md misses one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

JsonValue = str | int | float | bool | None | list[str] | list[int] | dict[str, str]

EVENTS: Final[Mapping[str, str]] = {
    "relay.started": "The relay process started; `clean` says whether the last stop was.",
    "relay.stopped": "The relay drained and stopped.",
    "relay.probed": "The self-probe of a listener at start, as a stranger; `result` is `closed`, `open` or `failed`.",
    "audit.finished": "The relay audited its own listeners from another process; `verdict` is the worst of them.",
    "policy.installed": "A policy snapshot was proved closed and installed.",
    "policy.refused": "A policy snapshot was not installed; `why` holds the first counterexample or error.",
    "connection.refused": "A connection was refused before its greeting.",
    "session.ended": "A session was cut off for breaking the protocol or a session limit.",
    "auth.succeeded": "A login succeeded.",
    "auth.failed": "A login failed; the password is never recorded.",
    "sender.refused": "MAIL was refused or deferred.",
    "recipient.refused": "RCPT was refused or deferred.",
    "message.refused": "A message was refused or deferred at its end.",
    "refusals.aggregated": "Refusals of one prefix that came too fast to be told one by one; `count` is exact.",
    "message.accepted": "A message was committed to the queue and answered 250.",
    "message.generated": "A message of our own (a notification) was put into the queue.",
    "delivery.delivered": "A recipient's next hop took the message.",
    "delivery.deferred": "A delivery attempt failed for now.",
    "delivery.bounced": "A recipient failed for good.",
    "delivery.held": "A recipient was held: it needs an operator.",
    "dkim.key_made": "A signing key was made; its record is to be published.",
    "dkim.key_seen": "The record of a signing key was seen on all name servers of its zone.",
    "dkim.key_active": "A signing key signs from now on.",
    "dkim.key_retired": "A signing key signs no more; its record must stay for a while.",
    "dkim.key_removed": "No signature of a retired key holds any more: its private half was removed.",
    "dkim.unsigned": "Mail of a domain that signs left without a signature; `why` not.",
    "queue.held": "An operator held a recipient.",
    "queue.released": "An operator released a held recipient.",
    "queue.retried": "An operator asked for an attempt now.",
    "queue.bounced": "An operator bounced a recipient.",
    "queue.deleted": "An operator deleted a recipient.",
    "destination.paused": "An operator paused a destination: its mail waits.",
    "destination.resumed": "An operator let a paused destination go on.",
    "account.added": "An account was added.",
    "account.changed": "An account's password or addresses changed.",
    "account.suspended": "An account was suspended.",
    "account.restored": "A suspended account was restored.",
    "account.deleted": "An account was deleted.",
    "app_password.added": "An application password was made.",
    "app_password.revoked": "An application password was revoked.",
    "directory.failed": "A directory gave no usable answer; `why`. Logins of its domains are answered 454 meanwhile.",
    "directory.lied": "A directory answered for somebody else than was asked for; the login was answered 454.",
    "directory.recovered": "A directory answers again.",
    "delegation.added": "An account may send as somebody else's address until a day.",
    "delegation.revoked": "An account may no longer send as somebody else's address.",
    "right.added": "A relay right was added by command.",
    "right.renewed": "A relay right got a new expiry date.",
    "right.revoked": "A relay right was revoked.",
    "masking.found": "Clients of a listener do not arrive with their own addresses; network rights there were suspended.",
    "masking.lifted": "An operator believes the addresses of a listener again; `rights` hold again.",
    "ban.added": "An address or network was banned.",
    "ban.removed": "A ban was removed.",
    "ban.imported": "Bans were imported from a list; `count` of them.",
    "ban.refused": "A ban by itself was not made: it would have hit somebody who is never banned.",
    "limit.reached": "A limit was met; `limit` names it.",
    "limit.warned": "Somebody is near a limit, or beyond where it warns: once for each key and window.",
    "limit.reset": "An operator let everything that was counted of a key be forgotten.",
    "dkim.replayed": "A signature of others has come to more recipients than `dkim.replays` allows, or than 200 in an hour.",
    "list.disabled": "A DNS list of `reputation.lists` cannot be used: it is not asked until it can.",
    "list.enabled": "A DNS list can be used again.",
    "greylist.forgotten": "An operator let the greylist forget a network or a domain.",
    "report.received": "A report about one of our domains (DMARC or TLS) came by mail and was read.",
    "report.refused": "Mail to a report address was delivered but not read as a report; `why` says what is wrong with it.",
    "alert.raised": "Something needs a person; also mailed to `alerts.to`.",
    "store.failed": "The database failed to write; accepting stopped.",
    "store.recovered": "The database writes again.",
    "store.salvaged": "This database was made from what could be read of a damaged one.",
    "overload.began": "The relay came under stress: idle strangers make room, and have less time.",
    "overload.ended": "The stress is over.",
    "clock.jumped": "The system clock moved by more than a minute against the monotonic clock.",
    "tls.reloaded": "A renewed certificate was taken up.",
    "journal.pruned": "Segments older than the retention were dropped; their heads are kept.",
    "journal.keyed": "A key that signs the journal's heads was made; `key` is its name.",
}


@dataclass(init=False, slots=True, unsafe_hash=True)
class Event:
    """One event. ``at`` is seconds since 1970 UTC; ``fields`` hold JSON values only, attacker text already escaped by JSON.

    Common fields, always under these names: ``message`` (id as text), ``account``, ``client`` (IP), ``listener``, ``sender``,
    ``recipient``, ``rule``, ``reply``, ``why``, ``verdict`` (``refuse``, ``defer``), ``operator``.
    """

    name: str
    at: float
    fields: Mapping[str, JsonValue]

    def __init__(self, name: str, at: float, fields: Mapping[str, JsonValue]) -> None:
        self.name = name
        self.at = at
        self.fields = fields
