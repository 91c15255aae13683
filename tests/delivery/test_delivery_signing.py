"""Our own signatures at delivery: for whom, with what, once a message, and what happens when it cannot be done."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from email import message_from_bytes
from functools import cache, wraps
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from delivery_fakes import (
    MAIL,
    NOW,
    Alerts,
    FakePool,
    FakeSpool,
    FakeWriter,
    MemoryBody,
    StreamBody,
    address,
    claim,
    local,
    message,
    recipient,
    temporary,
)
from hypothesis import given
from hypothesis import strategies as st

from postlatch.delivery.config import DeliveryConfig, parse_route
from postlatch.delivery.contract import Attempt, Body, OutboundMessage, Target
from postlatch.delivery.dispatcher import Dispatcher
from postlatch.delivery.signing import GRACE, DomainKeys, KeysLost, Signed, Signing, signing_domain
from postlatch.model.address import Address
from postlatch.model.envelope import Destination, GrantReason, Role
from postlatch.model.events import Event
from postlatch.policy.sending import Delegation
from postlatch.policy.snapshot import Account, Listener, LocalDomain, RelayDomain, Right, Snapshot
from postlatch.senderauth.dkim.sign import SigningKey, generate, load_private_key, public_record
from postlatch.senderauth.dkim.verify import Verifier
from postlatch.senderauth.results import DkimResult, Result
from postlatch.spool.contract import Claim, SpoolError
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver

ALICE = "alice@example.com"
VALID = 10 * 86_400.0


def on_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test that awaits."""

    @wraps(test)
    def run(*args: object, **named: object) -> None:
        async def whole() -> None:
            await test(*args, **named)

        asyncio.run(whole())

    return run


def right(name: str, *senders: str, suspended: bool = False) -> Right:
    return Right(name, (), frozenset({"relay"}), senders, owner="o@example.com", expires=NOW + 1e6, suspended=suspended)


SNAPSHOT = Snapshot(
    1,
    "mx.example.com",
    {"relay": Listener("relay", Role.RELAY)},
    {"example.com": LocalDomain("example.com", None), "example.org": LocalDomain("example.org", None)},
    {"branch.example": RelayDomain("branch.example", None, "o@example.com", NOW + 1e6)},
    (
        right("printer", "scanner@example.com", "@partner.example"),
        right("anybody"),
        right("gone", "@example.com", suspended=True),
    ),
    {
        ALICE: Account(ALICE, frozenset({ALICE, "@example.org", "alice@partner.example"})),
        "thief": Account("thief", frozenset({"@example.com"}), suspended=True),
    },
)


@cache
def keys(domain: str = "example.com") -> tuple[SigningKey, ...]:
    made = ((algorithm, load_private_key(generate(algorithm))) for algorithm in ("ed25519", "rsa"))
    return tuple(SigningKey(domain, f"pl1{algorithm[0]}", algorithm, private) for algorithm, private in made)


def authors(block: bytes) -> Sequence[Address] | None:
    """One From with one address: all that these tests write. The application's own reading is `server.headers`."""
    found = message_from_bytes(block + b"\r\n").get_all("From", [])
    return (address(found[0].strip("<>")),) if len(found) == 1 else None


@dataclass
class Bench:
    """Signing with everything around it."""

    snapshot: Snapshot = SNAPSHOT
    clock: FakeClock = field(default_factory=FakeClock)
    events: list[Event] = field(default_factory=list)
    alerts: Alerts = field(default_factory=Alerts)
    counted: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.signing = Signing(
            snapshot=lambda: self.snapshot,
            authors=authors,
            clock=self.clock,
            record=self.events.append,
            alert=self.alerts,
            count=lambda name, labels: self.counted.append((name, labels)),
        )

    def using(self, *usable: SigningKey, lost: str = "", domain: str = "example.com") -> Bench:
        self.signing.use({domain: DomainKeys(usable, lost)}, VALID)
        return self

    async def sign(self, body: Body, **to: Any) -> Signed:
        return await self.signing.sign(claim(recipient(**to), message=message(), body=None), body)


async def whole(body: Body) -> bytes:
    found = b"".join([piece async for piece in body.chunks()])
    assert body.size == len(found)
    assert body.data in {None, found}
    return found


async def verified(mail: bytes, *by: SigningKey, now: float = NOW) -> tuple[DkimResult, ...]:
    """What our own verifier says of every signature."""
    zone = {f"{key.selector}._domainkey.{key.domain}": {"TXT": [public_record(key)]} for key in by or keys()}
    block, _, rest = mail.partition(b"\r\n\r\n")
    verifier = Verifier(block + b"\r\n", now=now)
    verifier.feed(rest)
    return await verifier.finish(FakeResolver(zone))


# Who may be signed for


def domain_of(author: str, reason: GrantReason | None, ref: str = ALICE, *more: str) -> str | None:
    to = replace(recipient(reason=reason), grant_ref=ref)
    return signing_domain(SNAPSHOT, [to], [address(text) for text in (author, *more)])


@pytest.mark.parametrize(
    ("author", "reason", "ref"),
    [
        (ALICE, GrantReason.ACCOUNT, ALICE),
        ("anybody@example.org", GrantReason.ACCOUNT, ALICE),
        ("scanner@example.com", GrantReason.NETWORK, "printer"),
        ("postmaster@example.com", GrantReason.NOTIFICATION, "dsn"),
    ],
)
def test_a_domain_of_ours_signs_for_whoever_is_entitled_to_the_address_in_from(
    author: str, reason: GrantReason, ref: str
) -> None:
    assert domain_of(author, reason, ref) == author.partition("@")[2]


@pytest.mark.parametrize(
    ("author", "reason", "ref"),
    [
        (ALICE, None, ""),  # a stranger who writes our address into From
        (ALICE, GrantReason.RELAY_DOMAIN, "branch.example"),
        ("bob@example.com", GrantReason.ACCOUNT, ALICE),  # ours, but not hers
        (ALICE, GrantReason.ACCOUNT, "nobody"),
        (ALICE, GrantReason.ACCOUNT, "thief"),  # suspended
        ("alice@partner.example", GrantReason.ACCOUNT, ALICE),  # hers, but not ours
        ("alice@mail.example.com", GrantReason.ACCOUNT, ALICE),  # a subdomain is another domain
        (ALICE, GrantReason.NETWORK, "printer"),
        ("x@partner.example", GrantReason.NETWORK, "printer"),  # a right's foreign From
        (ALICE, GrantReason.NETWORK, "anybody"),  # a right for any sender names nobody
        (ALICE, GrantReason.NETWORK, "gone"),
        (ALICE, GrantReason.NETWORK, "revoked"),
        ("postmaster@branch.example", GrantReason.NOTIFICATION, "dsn"),
    ],
)
def test_what_is_not_ours_or_not_the_senders_is_never_signed(author: str, reason: GrantReason | None, ref: str) -> None:
    assert domain_of(author, reason, ref) is None


def test_each_of_several_authors_must_be_covered() -> None:
    assert domain_of(ALICE, GrantReason.ACCOUNT, ALICE, "me@example.org") == "example.com"
    assert domain_of(ALICE, GrantReason.ACCOUNT, ALICE, "bob@example.com") is None
    assert domain_of(ALICE, GrantReason.ACCOUNT, ALICE, "x@elsewhere.example") is None


def test_a_delegated_address_and_the_address_that_a_right_writes_are_signed_for() -> None:
    lent = Delegation(ALICE, "office@example.com", "ops@example.com", NOW)
    rewriting = tuple(replace(right, rewrite_from="device@example.com") for right in SNAPSHOT.rights)
    snapshot = replace(SNAPSHOT, delegations=(lent,), rights=rewriting)
    office, device = [address("office@example.com")], [address("device@example.com")]
    assert signing_domain(snapshot, [recipient()], office, NOW - 1) == "example.com"
    assert signing_domain(snapshot, [recipient()], office, NOW) is None
    assert signing_domain(SNAPSHOT, [recipient()], office, NOW - 1) is None
    by_right = [replace(recipient(reason=GrantReason.NETWORK), grant_ref="anybody")]
    assert signing_domain(snapshot, by_right, device, NOW) == "example.com"
    assert signing_domain(snapshot, by_right, office, NOW) is None


def test_one_recipient_without_that_right_is_enough_against_it() -> None:
    mixed = [recipient(), recipient(number=1, reason=None)]
    assert signing_domain(SNAPSHOT, mixed, [address(ALICE)]) is None
    assert signing_domain(SNAPSHOT, [], [address(ALICE)]) is None
    assert signing_domain(SNAPSHOT, [recipient()], None) is None


# What leaves


@on_a_loop
async def test_what_leaves_carries_a_signature_of_each_key_that_our_verifier_passes() -> None:
    bench = Bench().using(*keys())
    signed = await bench.sign(MemoryBody(MAIL))
    mail = await whole(signed.body)
    assert mail.endswith(MAIL)
    assert signed.selectors == ("pl1e", "pl1r")
    results = await verified(mail)
    assert [(r.result, r.domain, r.algorithm) for r in results] == [
        (Result.PASS, "example.com", "ed25519-sha256"),
        (Result.PASS, "example.com", "rsa-sha256"),
    ]
    assert bench.counted == [("postlatch_dkim_signed_total", ("ed25519",)), ("postlatch_dkim_signed_total", ("rsa",))]
    assert not bench.events
    assert not bench.alerts.told


@pytest.mark.parametrize("added", [b"From: x@evil.example", b"To: victim@a.example", b"Subject: buy", b"Date: now"])
@on_a_loop
async def test_a_replay_with_another_field_added_does_not_verify(added: bytes) -> None:
    """RELIABILITY case 38: who sends one signed message on to many cannot dress it up, also where we wrote no such field."""
    bare = b"From: alice@example.com\r\n\r\nText.\r\n"
    mail = await whole((await Bench().using(*keys()).sign(MemoryBody(bare))).body)
    assert {r.result for r in await verified(mail)} == {Result.PASS}
    assert Result.PASS not in {r.result for r in await verified(added + b"\r\n" + mail)}


@on_a_loop
async def test_a_replay_ends_with_the_signature_counted_from_acceptance() -> None:
    bench = Bench().using(*keys())
    bench.clock.advance(4 * 86_400)  # an attempt days later
    mail = await whole((await bench.sign(MemoryBody(MAIL))).body)
    assert {r.result for r in await verified(mail, now=NOW + VALID - 60)} == {Result.PASS}
    assert Result.PASS not in {r.result for r in await verified(mail, now=NOW + VALID + 86_400)}


@on_a_loop
async def test_a_message_from_the_future_is_not_signed_in_the_future() -> None:
    bench = Bench().using(*keys())
    bench.clock.jump(-7200)
    mail = await whole((await bench.sign(MemoryBody(MAIL))).body)
    assert {r.result for r in await verified(mail, now=NOW - 7200)} == {Result.PASS}


@given(st.lists(st.integers(0, len(MAIL)), max_size=6))
def test_a_body_in_pieces_gets_the_signatures_of_the_whole(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(MAIL)]
    pieces = [MAIL[start:end] for start, end in pairwise(places)]

    async def both() -> tuple[bytes, bytes]:
        streamed, at_once = Bench().using(*keys()), Bench().using(*keys())
        found = [await streamed.sign(StreamBody(pieces)), await at_once.sign(MemoryBody(MAIL))]
        return await whole(found[0].body), await whole(found[1].body)

    streamed, at_once = asyncio.run(both())
    assert streamed == at_once


@pytest.mark.parametrize("mail", [b"From: alice@example.com\r\n", b"From: alice@example.com\r\n\r\n"])
@on_a_loop
async def test_a_message_without_a_body_is_signed_too(mail: bytes) -> None:
    for body in (MemoryBody(mail), StreamBody([mail])):
        signed = await Bench().using(*keys()).sign(body)
        assert signed.selectors
        assert {r.result for r in await verified(await whole(signed.body))} == {Result.PASS}


class Large:
    """A body of 50 MB that is never in memory."""

    size = len(MAIL) + 200 * 262_144
    data = None

    async def chunks(self) -> AsyncIterator[bytes]:
        yield MAIL
        for number in range(200):
            yield (b"%077d\r\n" % number * 3400)[:262_142] + b"\r\n"


@on_a_loop
async def test_a_large_message_is_signed_in_bounded_memory() -> None:
    bench = Bench().using(*keys())
    tracemalloc.start()
    signed = await bench.sign(Large())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert signed.selectors == ("pl1e", "pl1r")
    assert signed.body.data is None
    assert peak < 8 * 1024 * 1024


# Once


@on_a_loop
async def test_a_message_is_signed_once_for_all_its_next_hops_whoever_is_cancelled() -> None:
    bench = Bench().using(*keys())
    first = asyncio.create_task(bench.sign(MemoryBody(MAIL), to="a@one.example"))
    others = [asyncio.create_task(bench.sign(MemoryBody(MAIL), to=f"a@{name}.example")) for name in ("two", "three")]
    await asyncio.sleep(0)
    first.cancel()
    bodies = {await whole((await task).body) for task in others}
    assert len(bodies) == 1
    assert len(bench.counted) == 2, "one of each key"
    with pytest.raises(asyncio.CancelledError):
        await first


@on_a_loop
async def test_new_keys_are_used_from_the_next_message_part_on() -> None:
    bench = Bench().using(keys()[0])
    assert (await bench.sign(MemoryBody(MAIL))).selectors == ("pl1e",)
    bench.using(keys()[1])
    signed = await bench.sign(MemoryBody(MAIL))
    assert signed.selectors == ("pl1r",)
    assert [r.algorithm for r in await verified(await whole(signed.body))] == ["rsa-sha256"]


@on_a_loop
async def test_entitlement_is_asked_for_at_each_attempt() -> None:
    bench = Bench().using(*keys())
    assert (await bench.sign(MemoryBody(MAIL))).selectors
    bench.snapshot = replace(SNAPSHOT, accounts={ALICE: Account(ALICE, frozenset({"alice@example.org"}))})
    assert not (await bench.sign(MemoryBody(MAIL))).selectors


# Without


@pytest.mark.parametrize(
    "to",
    [
        {"reason": None},
        {"reason": GrantReason.RELAY_DOMAIN, "destination": Destination.RELAY},
        {"to": "bob@example.com", "destination": Destination.LOCAL},
    ],
    ids=["a stranger's", "of a relay domain", "for a mailbox of ours"],
)
@on_a_loop
async def test_mail_that_is_not_for_us_to_sign_is_not_even_read(to: dict[str, Any]) -> None:
    reading = asyncio.Event()
    body = StreamBody([MAIL], reading=reading)
    assert await Bench().using(*keys()).sign(body, **to) == Signed(body)
    assert not reading.is_set()


@on_a_loop
async def test_without_keys_nothing_is_done() -> None:
    reading = asyncio.Event()
    body = StreamBody([MAIL], reading=reading)
    assert await Bench().sign(body) == Signed(body)
    assert not reading.is_set()
    bench = Bench().using(*keys("example.org"), domain="example.org")
    mine = MemoryBody(MAIL)
    assert (await bench.sign(mine)).body is mine
    assert not bench.events


@on_a_loop
async def test_mail_that_cannot_be_signed_leaves_without_and_is_told_with_one_alert_an_hour() -> None:
    """300 fields that would have to be signed: the signature is given up, the mail is not."""
    bench = Bench().using(*keys())
    body = MemoryBody(b"From: alice@example.com\r\n" + b"List-Help: x\r\n" * 300 + b"\r\n")
    for _ in range(2):
        assert (await bench.sign(body)).body is body
    [event, _] = bench.events
    assert event.name == "dkim.unsigned"
    assert event.fields["domain"] == "example.com"
    assert "fields to sign" in str(event.fields["why"])
    assert [told for told, _ in bench.alerts.told] == ["mail leaves without our signature"]
    bench.clock.advance(3600)
    await bench.sign(body)
    assert len(bench.alerts.told) == 2


@on_a_loop
async def test_a_damaged_body_is_damage_and_no_matter_of_signatures() -> None:
    class Damaged(StreamBody):
        async def chunks(self) -> AsyncIterator[bytes]:
            yield MAIL
            raise SpoolError("cut short")

    with pytest.raises(SpoolError):
        await Bench().using(*keys()).sign(Damaged([]))


@on_a_loop
async def test_lost_keys_hold_mail_up_for_an_hour_and_then_it_leaves_unsigned() -> None:
    bench = Bench().using(lost="the file is missing")
    for _ in range(3):
        with pytest.raises(KeysLost):
            await bench.sign(MemoryBody(MAIL))
    assert bench.alerts.told == [
        (
            "the signing keys of a domain cannot be used: its mail waits for an hour",
            {"domain": "example.com", "why": "the file is missing"},
        )
    ]
    bench.clock.advance(GRACE - 1)
    with pytest.raises(KeysLost):
        await bench.sign(MemoryBody(MAIL))
    bench.clock.advance(1)
    assert not (await bench.sign(MemoryBody(MAIL))).selectors
    assert [event.fields["why"] for event in bench.events] == ["the file is missing"]


@on_a_loop
async def test_keys_that_are_back_sign_and_a_new_loss_has_its_own_hour() -> None:
    bench = Bench().using(lost="gone")
    with pytest.raises(KeysLost):
        await bench.sign(MemoryBody(MAIL))
    bench.clock.advance(GRACE)
    bench.using(*keys())
    assert (await bench.sign(MemoryBody(MAIL))).selectors
    bench.using(lost="gone again")
    with pytest.raises(KeysLost):
        await bench.sign(MemoryBody(MAIL))


# In the dispatcher


CONFIG = DeliveryConfig(
    "mx.example.com",
    local={"example.com": parse_route("lmtp://127.0.0.1:24")},
    smarthost=parse_route("smtp://8.8.9.9:25"),
)


class Delivery:
    """A dispatcher that signs, with next hops in memory."""

    def __init__(self, bench: Bench, *claims: Claim) -> None:
        self.bench = bench
        self.spool, self.writer, self.pool = FakeSpool(*claims), FakeWriter(), FakePool()
        self.dispatcher = Dispatcher(
            CONFIG,
            spool=self.spool,
            pool=self.pool,
            resolver=FakeResolver({}),
            clock=bench.clock,
            random=Random(1),
            submit=self.writer.submit,
            notify=self._notify,
            alert=bench.alerts,
            classify=SNAPSHOT.classify,
            recheck=lambda _recipient, _message: None,
            returns=self.spool.returns,
            signing=bench.signing,
        )

    async def _notify(self, _notice: object) -> None:
        return None

    async def run(self) -> None:
        running = asyncio.create_task(self.dispatcher.run())
        for _ in range(400):
            await asyncio.sleep(0.005)
            if self.spool.finished or self.spool.returned:
                break
        await self.dispatcher.stop(5)
        await running

    async def mails(self) -> dict[str, bytes]:
        return {target.address: await whole(sent.body) for target, sent in self.pool.taken}


@on_a_loop
async def test_what_goes_out_is_signed_and_what_stays_is_not_and_the_journal_says_so() -> None:
    mine = replace(local("bob@example.com", 1), grant_reason=GrantReason.ACCOUNT, grant_ref=ALICE)
    both = claim(recipient(), mine, message=message())
    delivery = Delivery(Bench().using(*keys()), both)
    await delivery.run()
    mails = await delivery.mails()
    assert mails["127.0.0.1"] == MAIL
    assert {r.result for r in await verified(mails["8.8.9.9"])} == {Result.PASS}
    events = {str(event.fields["recipient"]): event for event in delivery.writer.events if event.name == "delivery.delivered"}
    assert events["bob@elsewhere.example"].fields["signed"] == ["pl1e", "pl1r"]
    assert "signed" not in events["bob@example.com"].fields


@on_a_loop
async def test_a_next_hop_that_defers_is_on_record_with_the_signatures_too() -> None:
    delivery = Delivery(Bench().using(*keys()), claim(recipient(), message=message()))

    async def defer(_target: Target, sent: OutboundMessage) -> list[Attempt]:
        return [temporary(one.number) for one in sent.recipients]

    delivery.pool.default = defer
    await delivery.run()
    [event] = [event for event in delivery.writer.events if event.name == "delivery.deferred"]
    assert event.fields["signed"] == ["pl1e", "pl1r"]


@on_a_loop
async def test_mail_that_waits_for_its_keys_goes_back_into_the_queue_uncounted() -> None:
    delivery = Delivery(Bench().using(lost="the file is missing"), claim(recipient(), message=message()))
    await delivery.run()
    assert not delivery.pool.taken
    [(_, [outcome])] = delivery.spool.returned
    assert outcome.reply.startswith("451 4.7.5")
    assert outcome.next_attempt is not None
    assert 60 <= outcome.next_attempt - NOW <= 121
    assert not delivery.spool.finished
    gauges = {(name, labels): value for name, labels, value in delivery.dispatcher.gauges()}
    assert gauges["postlatch_delivery_put_back_total", ("signing",)] == 1
