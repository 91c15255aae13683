"""Which mail is claimed first when more is due than can be delivered at once.

It never decides whether mail is delivered, and fresh mail hardly feels it: it matters after an outage, when a hundred thousand
newsletters and somebody's login code are due together.

Three classes. *Urgent*: a person waits for it in front of a screen, or something is on fire: our own alerts and reports to
senders, and one small message to one recipient that a program wrote: either it says so itself (``Auto-Submitted:
auto-generated``, RFC 3834 section 5), or it comes by a network right, where only programs and printers send. *Bulk*: nobody
waits for it: it names a mailing list (RFC 2369, RFC 2919, RFC 8058), a bulk ``Precedence``, or more than 50 recipients; or a
program sends it to more than a few. Everything else, and every letter of a person, is *normal*.

What a header says is believed only where it costs its sender something. Everyone may call mail bulk. Calling it urgent takes an
account or a right, which has limits: a stranger's mail is never urgent, whatever it says. ``X-Priority``, ``Importance`` and
MT-PRIORITY (RFC 6710) are ignored from everyone: mail programs set the first two at their user's whim, and the last is not
offered.

No class starves another: each has a share of every batch, and what a class leaves over the others get.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from postlatch.model.envelope import EnvelopeRecipient, GrantReason
from postlatch.model.headers import Header

URGENT: Final = 0
NORMAL: Final = 1
BULK: Final = 2
NAMES: Final = ("urgent", "normal", "bulk")

SHARES: Final[tuple[float, ...]] = (0.6, 0.3, 0.1)  # of each batch, for each class that has so much due
SMALL: Final = 64 * 1024  # octets; a login code or an alert is never more
FEW: Final = 10  # recipients of a program's message that is still normal
MANY: Final = 50  # recipients; no letter of a person has more

_OWN: Final = {"alert": URGENT, "test": URGENT, "dsn": URGENT, "delay": URGENT, "bulletin": BULK, "learning": BULK}
_LIST_FIELDS: Final = frozenset({b"list-id", b"list-unsubscribe", b"list-post", b"list-help", b"list-unsubscribe-post"})
_MARKS: Final = _LIST_FIELDS | {b"precedence", b"auto-submitted"}
_BULK_WORDS: Final = frozenset({b"bulk", b"list", b"junk"})


@dataclass(frozen=True, slots=True)
class HeaderMarks:
    """What a header says about how its mail came to be. ``automatic`` is the keyword of Auto-Submitted, unless it is "no"."""

    bulk: bool = False
    automatic: str = ""


NO_MARKS: Final = HeaderMarks()


def read_marks(fields: Iterable[Header], names: set[bytes]) -> HeaderMarks:
    """The marks in a header; ``names`` are the names of its ``fields``. Most mail has none, and is done with at a glance."""
    if names.isdisjoint(_MARKS):
        return NO_MARKS
    bulk = not names.isdisjoint(_LIST_FIELDS)
    automatic = ""
    for field in fields:
        if field.name == b"precedence":
            bulk = bulk or field.value.lower() in _BULK_WORDS
        elif field.name == b"auto-submitted" and not automatic:
            word = field.value.partition(b";")[0].strip().lower()
            automatic = "" if word == b"no" else word[:32].decode("ascii", "replace")
    return HeaderMarks(bulk, automatic)


def decide(kind: str, marks: HeaderMarks, recipients: Sequence[EnvelopeRecipient], size: int) -> int:
    """The class of a new message. ``kind`` is that of a notification of our own, else empty; ``size`` in octets."""
    if kind:
        return _OWN.get(kind, NORMAL)
    if marks.bulk or len(recipients) > MANY:
        return BULK
    named = 1 if len(recipients) == 1 else len({(r.original or r.address).text for r in recipients})
    reason = recipients[0].grant_reason
    program = marks.automatic == "auto-generated" or (reason is GrantReason.NETWORK and not marks.automatic)
    if program and named == 1 and size < SMALL and reason is not None:
        return URGENT
    return BULK if marks.automatic and named > FEW else NORMAL


class Shares:
    """Divides batches among the classes. It remembers what it owes, so that also batches of one message keep the shares."""

    __slots__ = ("_owed",)

    def __init__(self) -> None:
        self._owed = [0.0, 0.0, 0.0]

    def split(self, limit: int, waiting: Sequence[int]) -> list[int]:
        """How many of each class to take, of ``waiting`` in each: as many in all as there are, up to ``limit``."""
        owed = [self._owed[c] + limit * SHARES[c] for c in range(3)]
        taken = [0, 0, 0]
        left = limit
        for c in range(3):
            taken[c] = max(0, min(waiting[c], int(owed[c]), left))
            left -= taken[c]
        for c in sorted(range(3), key=lambda c: taken[c] - owed[c]):  # whom most of one message is owed
            if left and owed[c] > taken[c] and waiting[c] > taken[c]:
                taken[c] += 1
                left -= 1
        for c in range(3):  # what a class leaves over
            more = min(left, waiting[c] - taken[c])
            taken[c] += more
            left -= more
        self._owed = [min(1.0, max(-1.0, owed[c] - taken[c])) if waiting[c] > taken[c] else 0.0 for c in range(3)]
        return taken
