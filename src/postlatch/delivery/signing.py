"""Our own DKIM signatures (RFC 6376), made when mail leaves: which domain signs, and the work, once for each message.

Mail leaves signed only by a domain of ours that its sender is entitled to, under the policy of this moment: what its From says
is not enough. A stranger's mail is never signed. Without a signature mail goes out all the same, except for an hour after keys
that should sign have become unreadable: the other side may take unsigned mail of such a domain for a forgery.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf
from typing import Final, NamedTuple

from postlatch.delivery.contract import Body
from postlatch.delivery.headers import read_header
from postlatch.delivery.ports import Alert
from postlatch.model.address import Address
from postlatch.model.clock import Clock
from postlatch.model.envelope import Destination, GrantReason
from postlatch.model.events import Event, JsonValue
from postlatch.model.ids import format_id
from postlatch.policy.match import lists
from postlatch.policy.snapshot import Snapshot
from postlatch.policy.ties import may_send_as
from postlatch.senderauth.dkim.sign import Signer, SignError, SigningKey
from postlatch.spool.bodies import PrefixedBody
from postlatch.spool.contract import Claim, QueuedRecipient, SpoolError

MAX_REMEMBERED: Final = 1000  # messages whose signatures are kept in memory, for their other next hops: about a megabyte
MAX_HEADER: Final = 1024 * 1024  # octets: more than is ever accepted (`server.headers`), with what was put in front of it
GRACE: Final = 3600.0  # seconds for which mail waits for keys that cannot be read; then it goes out unsigned
RETRY_SECONDS: Final = 60.0
_ALERT_SECONDS: Final = 3600.0
_THREADS: Final = 2
_EMPTY_LINE: Final = b"\r\n\r\n"

Authors = Callable[[bytes], Sequence[Address] | None]
"""The addresses in From of a header block; None if it has not exactly one From that can be read."""


class DomainKeys(NamedTuple):
    """The keys with which a domain signs now. ``lost`` says why those that should sign cannot be used; then none is here."""

    usable: tuple[SigningKey, ...]
    lost: str = ""


class Signed(NamedTuple):
    """A body as it leaves. ``selectors``: of the keys that signed it."""

    body: Body
    selectors: tuple[str, ...] = ()


class KeysLost(Exception):
    """The mail of this domain waits until its keys can be read again, or until an hour has passed."""


class _Made(NamedTuple):
    """The signatures of one message by one domain, finished or under way."""

    domain: str
    fields: asyncio.Future[bytes]


def signing_domain(
    snapshot: Snapshot, recipients: Iterable[QueuedRecipient], authors: Sequence[Address] | None, sent_at: float = inf
) -> str | None:
    """The domain of ours that vouches for a message from ``authors``; None if none may.

    ``sent_at``: when it was accepted, seconds since 1970 UTC. A delegation that has ended since held then; one that was
    revoked does not.

    What let the message in must cover each author by name: an account's or a right's senders, or that we wrote it ourselves. A
    right for any sender names nobody, so nothing is signed for it.
    """
    if not authors or snapshot.classify(authors[0].domain) is not Destination.LOCAL:
        return None
    grants = {(recipient.grant_reason, recipient.grant_ref) for recipient in recipients}
    covered = (_covers(snapshot, reason, ref, author, sent_at) for reason, ref in grants for author in authors)
    return authors[0].domain if grants and all(covered) else None


def _covers(snapshot: Snapshot, reason: GrantReason | None, ref: str, author: Address, sent_at: float) -> bool:
    match reason:
        case GrantReason.ACCOUNT:
            account = snapshot.accounts.get(ref)
            return account is not None and not account.suspended and may_send_as(snapshot, account, author, sent_at)
        case GrantReason.NETWORK:
            right = snapshot.right(ref)
            if right is None or right.suspended:
                return False
            return lists(right.sender_keys, author) or author.key == right.rewrite_from
        case GrantReason.NOTIFICATION:
            return snapshot.classify(author.domain) is Destination.LOCAL
        case _:  # a stranger, or what anybody may send to a domain that we relay to
            return False


def leaves(claim: Claim) -> bool:
    """True if somebody vouches for this message and one of its recipients is not ours."""
    reason = claim.recipients[0].grant_reason
    if reason is None or reason is GrantReason.RELAY_DOMAIN:
        return False
    return any(recipient.destination is not Destination.LOCAL for recipient in claim.recipients)


class Signing:
    """Signs what leaves. It belongs to the loop's thread; the work is done in threads of its own.

    ``snapshot`` is the policy in force. ``count`` counts signatures by their algorithm.
    """

    def __init__(
        self,
        *,
        snapshot: Callable[[], Snapshot],
        authors: Authors,
        clock: Clock,
        record: Callable[[Event], None],
        alert: Alert,
        count: Callable[[str, tuple[str, ...]], None],
    ) -> None:
        self._snapshot = snapshot
        self._authors = authors
        self._clock = clock
        self._record = record
        self._alert = alert
        self._count = count
        self._keys: Mapping[str, DomainKeys] = {}
        self._valid = 0.0
        self._made: OrderedDict[int, _Made] = OrderedDict()
        self._lost_since: dict[str, float] = {}
        self._alerted = -_ALERT_SECONDS
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="postlatch-sign")

    def use(self, keys: Mapping[str, DomainKeys], valid: float) -> None:
        """Sign with these keys by domain from now on, or with none. A signature holds for ``valid`` seconds."""
        self._keys = dict(keys)
        self._valid = valid
        self._made.clear()
        self._lost_since = {name: since for name, since in self._lost_since.items() if name in keys and keys[name].lost}

    def close(self) -> None:
        """Wait for the threads."""
        self._threads.shutdown()

    async def sign(self, claim: Claim, body: Body) -> Signed:
        """``body`` as it leaves for the recipients of ``claim``; SpoolError if it is damaged, KeysLost if it has to wait."""
        if not self._keys or not leaves(claim):
            return Signed(body)
        domain = self._domain_of(claim, self._authors(await read_header(body)))
        keys = self._keys.get(domain) if domain is not None else None
        if domain is None or keys is None:
            return Signed(body)
        if not keys.usable:
            self._wait_for(domain, keys.lost)
            self._unsigned(claim, domain, keys.lost)
            return Signed(body)
        try:
            fields = await self._fields(claim, domain, keys.usable, body)
        except SpoolError:
            raise
        except Exception as error:  # noqa: BLE001 - mail is not lost for a signature, whatever is wrong with it
            self._made.pop(claim.message.message_id, None)
            self._unsigned(claim, domain, str(error) if isinstance(error, SignError) else type(error).__name__)
            return Signed(body)
        return Signed(PrefixedBody(fields, body), tuple(key.selector for key in keys.usable))

    def _domain_of(self, claim: Claim, authors: Sequence[Address] | None) -> str | None:
        return signing_domain(self._snapshot(), claim.recipients, authors, claim.message.received_at)

    async def _fields(self, claim: Claim, domain: str, keys: tuple[SigningKey, ...], body: Body) -> bytes:
        """The signatures: made once, however many next hops ask, and whoever of these is cancelled."""
        number = claim.message.message_id
        made = self._made.get(number)
        if made is None or made.domain != domain:
            made = _Made(domain, self._begin(keys, body, self._since(claim)))
            made.fields.add_done_callback(partial(self._counted, keys))
            self._made[number] = made
            if len(self._made) > MAX_REMEMBERED:
                self._made.popitem(last=False)
        return await asyncio.shield(made.fields)

    def _since(self, claim: Claim) -> float:
        """From when a signature holds: from acceptance on, so that a later attempt does not prolong it."""
        return min(claim.message.received_at, self._clock.now())

    def _begin(self, keys: tuple[SigningKey, ...], body: Body, since: float) -> asyncio.Future[bytes]:
        data = body.data
        if data is None:
            return asyncio.ensure_future(self._stream(keys, body, since))
        # One turn of a thread for all of it: RSA, which takes most of the time, leaves the interpreter to others.
        return asyncio.get_running_loop().run_in_executor(self._threads, sign_whole, keys, data, since, self._valid)

    def _counted(self, keys: tuple[SigningKey, ...], made: asyncio.Future[bytes]) -> None:
        if not made.cancelled() and made.exception() is None:
            for key in keys:
                self._count("postlatch_dkim_signed_total", (key.algorithm,))

    async def _stream(self, keys: tuple[SigningKey, ...], body: Body, since: float) -> bytes:
        """The signatures of a body that comes in pieces: one piece, and the header, is in memory at a time."""
        run = partial(asyncio.get_running_loop().run_in_executor, self._threads)
        signer: Signer | None = None
        head = b""
        async for piece in body.chunks():
            rest = piece
            if signer is None:
                head += piece
                if (end := _end_of_header(head)) < 0:
                    continue
                signer = Signer(keys, head[: end - 2], now=since, valid=self._valid)
                rest, head = head[end:], b""
            await run(signer.feed, rest)
        signer = signer or Signer(keys, head, now=since, valid=self._valid)
        return await run(signer.finish)

    def _wait_for(self, domain: str, why: str) -> None:
        """KeysLost during the first hour. The clock of it starts with the first message that meets the loss."""
        now = self._clock.monotonic()
        since = self._lost_since.get(domain)
        if since is not None and now - since >= GRACE:
            return
        if since is None:
            self._lost_since[domain] = now
            self._alert(
                "the signing keys of a domain cannot be used: its mail waits for an hour", {"domain": domain, "why": why}
            )
        raise KeysLost(domain)

    def _unsigned(self, claim: Claim, domain: str, why: str) -> None:
        fields: dict[str, JsonValue] = {"message": format_id(claim.message.message_id), "domain": domain, "why": why[:500]}
        self._record(Event("dkim.unsigned", self._clock.now(), fields))
        now = self._clock.monotonic()
        if now - self._alerted >= _ALERT_SECONDS:
            self._alerted = now
            self._alert("mail leaves without our signature", fields)


def sign_whole(keys: Sequence[SigningKey], data: bytes, since: float, valid: float) -> bytes:
    """The signatures of a message in memory. SignError if it has no From."""
    end = _end_of_header(data)
    block, rest = (data, b"") if end < 0 else (data[: end - 2], data[end:])
    signer = Signer(keys, block, now=since, valid=valid)
    signer.feed(rest)
    return signer.finish()


def _end_of_header(data: bytes) -> int:
    """Where the body begins, behind the empty line; -1 if that has not come yet. SignError if the header is too long."""
    if data.startswith(b"\r\n"):
        return 2
    end = data.find(_EMPTY_LINE, 0, MAX_HEADER)
    if end < 0 and len(data) >= MAX_HEADER:
        raise SignError("the header is too long to be signed")
    return end + len(_EMPTY_LINE) if end >= 0 else -1
