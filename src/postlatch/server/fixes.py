"""What is mended in a header on its way in, for programs and devices that cannot do better. The body is never touched.

Judged is what comes out: the policy sees the mended header, so nothing here lets anybody send as what is not theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from email.utils import formataddr, getaddresses
from typing import TYPE_CHECKING, Final, NamedTuple

from postlatch.model.address import Address
from postlatch.model.envelope import GrantReason
from postlatch.model.ids import format_id
from postlatch.policy.match import permits
from postlatch.policy.ties import may_send_as
from postlatch.server.headers import MAX_FROM, HeaderFacts, read_facts
from postlatch.server.local_rules import LocalNames
from postlatch.server.trace import missing_fields

if TYPE_CHECKING:
    from postlatch.server.services import Services
    from postlatch.server.transaction import Transaction

DATE: Final = "date"
MESSAGE_ID: Final = "message-id"
FROM: Final = "from"
SENDER: Final = "sender"
NAMES: Final = "names"  # addresses without a domain, from a program of this machine
_SENDERS: Final = frozenset({b"from", b"sender", b"resent-from", b"resent-sender"})
_ADDRESSES: Final = _SENDERS | {b"to", b"cc", b"bcc", b"reply-to", b"resent-to", b"resent-cc", b"resent-bcc"}


class Fixes(NamedTuple):
    """What may be mended for one transaction. ``rewrite`` replaces a From that ``owns`` does not permit."""

    adds: frozenset[str] = frozenset()
    rewrite: str = ""
    owns: Callable[[Address], bool] = lambda _: True
    names: LocalNames | None = None


class Mended(NamedTuple):
    """The header as it goes into the queue. ``added`` goes in front; ``done`` says what was mended, ``was`` what From said."""

    block: bytes
    header: HeaderFacts
    added: bytes = b""
    done: tuple[str, ...] = ()
    was: str = ""


NOTHING: Final = Fixes()


def fixes_of(services: Services, transaction: Transaction, names: LocalNames | None) -> Fixes:
    """Those of the account, or of the first right that pays. A stranger's mail stays as it is."""
    origin, snapshot = transaction.origin, services.snapshot
    now = services.clock.now()
    if origin.account is not None:
        account, rules = snapshot.accounts.get(origin.account), snapshot.submission
        if account is None:
            return NOTHING
        rewrite = rules.rewrite_from.get(account.login, "")
        return Fixes(rules.fix, rewrite, lambda address: may_send_as(snapshot, account, address, now), names)
    ref = next((ref for reason, ref in transaction.payers if reason is GrantReason.NETWORK), None)
    right = snapshot.right(ref) if ref is not None else None
    if right is None or not right.fix:
        return NOTHING
    keys = right.sender_keys or frozenset({right.rewrite_from})
    rewrite = right.rewrite_from if FROM in right.fix else ""
    return Fixes(right.fix, rewrite, lambda address: permits(keys, address))


def apply(services: Services, transaction: Transaction, block: bytes, message_id: int, names: LocalNames | None) -> Mended:
    """Mend the header of a transaction, and count what was mended."""
    wanted = fixes_of(services, transaction, names)
    if wanted is NOTHING:
        return Mended(block, read_facts(block))
    snapshot = services.snapshot
    mended = mend(block, wanted, hostname=snapshot.hostname, message_id=message_id, now=transaction.received_at)
    for name in mended.done:
        services.count.inc("postlatch_header_fixes_total", (transaction.origin.listener, name))
    transaction.fixed, transaction.was_from = mended.done, mended.was
    return mended


def mend(block: bytes, fixes: Fixes, *, hostname: str, message_id: int, now: float) -> Mended:
    """Mend a header block (each line with its CRLF). What needs nothing comes back as the same octets."""
    header, done, was = read_facts(block), [], ""
    if fixes.names is not None:
        completed = _complete(block, fixes.names)
        if completed != block:
            block, header, done = completed, read_facts(completed), [NAMES]
    if fixes.rewrite:
        replaced = _rewrite(block, header, fixes)
        if replaced.done:
            block, header, was = replaced.block, read_facts(replaced.block), replaced.was
            done += replaced.done
    missing = [name for name in (DATE, MESSAGE_ID) if name in fixes.adds and name.encode() not in header.names]
    present = header.names | {name.encode() for name in (DATE, MESSAGE_ID) if name not in missing}
    added = missing_fields(present, hostname=hostname, queue_id=format_id(message_id), now=now) if missing else b""
    return Mended(block, header, added, (*done, *missing), was)


class _Rewritten(NamedTuple):
    block: bytes
    done: tuple[str, ...]
    was: str


def _rewrite(block: bytes, header: HeaderFacts, fixes: Fixes) -> _Rewritten:
    """Put the right's address into From, and keep what was there where nobody takes it for the author."""
    wrong = header.from_count != 1 or not header.header_from or not all(map(fixes.owns, header.header_from))
    senders = [field.addresses for field in header.named if field.name == "Sender"]
    sent = len(senders) > 1 or any(not found or len(found) > 1 or not all(map(fixes.owns, found)) for found in senders)
    if not wrong and not sent:
        return _Rewritten(block, (), "")
    names = ({b"from"} if wrong else set()) | ({b"sender"} if sent else set())
    kept: list[bytes] = []
    was = ""
    for name, raw in _fields(block):
        if name in names:
            if name == b"from" and not was:
                was = _shown(raw)
            raw = b"X-Original-" + raw.lstrip(b" \t")  # noqa: PLW2901 - the field that goes on is the field that came
        kept.append(raw)
    if wrong:
        kept.append(f"From: <{fixes.rewrite}>\r\n".encode())  # last: a folded line may stand first, and would belong to it
    done = tuple(what for what, found in ((FROM, wrong), (SENDER, sent)) if found)
    return _Rewritten(b"".join(kept), done, was)


def _fields(block: bytes) -> Iterable[tuple[bytes, bytes]]:
    """(name in lower case, the field with its folded lines and CRLF). What is no field has an empty name."""
    lines = block.removesuffix(b"\r\n").split(b"\r\n") if block else []
    field: list[bytes] = []
    for line in lines:
        if field and line[:1] not in {b" ", b"\t"}:
            yield _named(b"".join(field))
            field = []
        field.append(line + b"\r\n")
    if field:
        yield _named(b"".join(field))


def _named(raw: bytes) -> tuple[bytes, bytes]:
    name, colon, _ = raw.partition(b":")
    return (name.rstrip(b" \t").lower() if colon else b""), raw


def _shown(raw: bytes) -> str:
    value = raw.partition(b":")[2].strip()[:500].decode("ascii", "backslashreplace")
    return "".join(c if c.isprintable() else "?" for c in value)[:500]


def _complete(block: bytes, names: LocalNames) -> bytes:
    """Every address without a domain gets one; a field without such stays as it is. A missing From is the account's."""
    kept: list[bytes] = []
    authors = False
    for name, raw in _fields(block):
        authors = authors or name == b"from"
        kept.append(_completed(name, raw, names) if name in _ADDRESSES else raw)
    own = names.own()
    if not authors and own is not None:
        kept.append(f"From: <{own.text}>\r\n".encode())
    return b"".join(kept)


def _completed(name: bytes, raw: bytes, names: LocalNames) -> bytes:
    label, _, value = raw.partition(b":")
    if len(value) > MAX_FROM:
        return raw
    try:
        pairs = getaddresses([value.decode("utf-8").replace("\r\n", "").strip()])
    except (UnicodeDecodeError, RecursionError):
        return raw
    change = names.sender if name in _SENDERS else names.complete
    wanted = [(shown, change(address)) for shown, address in pairs]
    if wanted == pairs or any(not address for _, address in pairs):
        return raw
    text = ",\r\n ".join(_mailbox(shown, address) for shown, address in wanted)
    return label + b": " + text.encode() + b"\r\n"


def _mailbox(shown: str, address: str) -> str:
    """One mailbox. A name that is not ASCII stays in UTF-8, as it came: the header was so before."""
    if shown.isascii() and not shown.startswith("=?"):
        return formataddr((shown, address))
    return f"{shown} <{address}>" if shown.startswith("=?") else f'"{shown}" <{address}>'.replace("\\", "")
