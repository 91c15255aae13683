"""One signature of others, many recipients: a signed message that is sent again and again shows by what it cannot change.

Counted is each recipient by signing domain, body hash and signature, for an hour or the time of the limit, from the first on.
A list of your own members looks the same, so nothing is deferred unless the configuration says from where on.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from postlatch.limits.limit import Limit
from postlatch.model.events import Event, JsonValue
from postlatch.model.reply import Reply
from postlatch.model.verdict import Defer
from postlatch.policy.replies import rfc3339
from postlatch.senderauth.results import DkimResult, Result

if TYPE_CHECKING:
    from postlatch.server.services import Services
    from postlatch.server.transaction import Transaction

TOLD: Final = Limit(200, 3600, "200/hour")  # from where on it is told, if no limit is set
MAX_SIGNATURES: Final = 50_000
_COUNTED: Final = 8  # signatures of one message

Key = tuple[str, str, str]


@dataclass(slots=True)
class _Seen:
    begin: float
    recipients: int = 0
    messages: int = 0
    told: bool = False


class Replay(NamedTuple):
    """A signature that has come too often. ``late``: when it may come again; None: it is only told. ``first``: tell it now."""

    domain: str
    body_hash: str
    recipients: int
    messages: int
    late: float | None
    first: bool


class Replays:
    """Counts in bounded memory. ``limit`` may be replaced; None: only tell."""

    def __init__(self, limit: Limit | None = None) -> None:
        self.limit = limit
        self._seen: OrderedDict[Key, _Seen] = OrderedDict()  # the least recently used first

    def __len__(self) -> int:
        return len(self._seen)

    def note(self, signatures: Iterable[DkimResult], recipients: int, now: float) -> Replay | None:
        """Count a message; what is wrong with the worst of its signatures. One that is too late is not counted."""
        limit = self.limit or TOLD
        keys = {(one.domain, one.body_hash, one.signature) for one in signatures if one.result is Result.PASS}
        seen = [(key, self._entry(key, now, limit.seconds)) for key in sorted(keys)[:_COUNTED]]
        over = [pair for pair in seen if pair[1].messages and pair[1].recipients + recipients > limit.amount]
        late = bool(over) and self.limit is not None
        if not late:
            for _, entry in seen:
                entry.recipients += recipients
                entry.messages += 1
        if not over:
            return None
        (domain, body_hash, _), worst = max(over, key=lambda pair: pair[1].recipients)
        first, worst.told = not worst.told, True
        again = worst.begin + limit.seconds if late else None
        return Replay(domain, body_hash, worst.recipients, worst.messages, again, first)

    def _entry(self, key: Key, now: float, seconds: float) -> _Seen:
        entry = self._seen.get(key)
        if entry is None or not 0 <= now - entry.begin < seconds:
            entry = self._seen[key] = _Seen(now)
            while len(self._seen) > MAX_SIGNATURES:
                self._seen.popitem(last=False)
        self._seen.move_to_end(key)
        return entry


def judge(services: Services, transaction: Transaction) -> Defer | None:
    """Count a stranger's checked message; a deferral if the limit says so."""
    if services.replays is None or transaction.found is None:
        return None
    found = services.replays.note(transaction.found.dkim, len(transaction.recipients), services.clock.now())
    if found is None:
        return None
    services.count.inc("postlatch_dkim_replays_total", ("told" if found.late is None else "deferred",))
    if found.first:
        services.replayed(found)
    if found.late is None:
        return None
    reply = Reply(450, "4.7.1", f"this signed message has come too often; try again after {rfc3339(found.late + 1)}")
    why = f"the signature of {found.domain} has brought {found.messages} messages to {found.recipients} recipients"
    return Defer(reply, "dkim replay", why)


def event(found: Replay, now: float) -> Event:
    """For the journal, once for each signature and time."""
    fields: dict[str, JsonValue] = {
        "domain": found.domain,
        "body_hash": found.body_hash,
        "recipients": found.recipients,
        "messages": found.messages,
        "verdict": "" if found.late is None else "defer",
    }
    return Event("dkim.replayed", now, fields)
