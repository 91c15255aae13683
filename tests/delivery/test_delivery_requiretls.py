"""REQUIRETLS and ``TLS-Required: No`` (RFC 8689): which hosts may carry a message, and what is bounced."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random

import pytest
from delivery_fakes import FakePool, FakeSpool, claim, message, permanent, recipient, take_all

from postlatch.delivery.carrier import Carried, Carrier
from postlatch.delivery.config import DeliveryConfig, parse_route
from postlatch.delivery.contract import Attempt, AttemptStatus, ConnectFailed, OutboundMessage, Target, TlsPolicy
from postlatch.delivery.maildir_store import MaildirStore
from postlatch.delivery.mta_sts import StsMode, StsPolicy
from postlatch.delivery.routes import Hop, UseMx
from postlatch.delivery.targets import Targets
from postlatch.delivery.tls_policies import StsFound, TlsPolicies
from postlatch.model.address import parse_address
from postlatch.model.envelope import NOT_REQUIRED, REQUIRED, SenderParams
from postlatch.server.headers import read_facts
from postlatch.server.tls_wish import wished
from postlatch.smtp.client_capabilities import Capabilities, parse_capabilities
from postlatch.smtp.client_commands import NO_REQUIRETLS, Unsendable, mail_line
from postlatch.smtp.client_transaction import Transaction
from postlatch.smtp.commands import CommandError, parse_mail
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver, Zone

ZONE: Zone = {
    "site.example": {"MX": ["10 mx1.site.example.", "20 mx2.site.example."]},
    "mx1.site.example": {"A": ["11.22.33.1"]},
    "mx2.site.example": {"A": ["11.22.33.2"]},
    "hop.example": {"A": ["11.22.33.9"]},
}
MX = UseMx("site.example")
ENFORCED = StsFound(StsPolicy(StsMode.ENFORCE, ("*.site.example",), 86_400))


class OnePolicy:
    """The same for every domain."""

    def __init__(self, found: StsFound) -> None:
        self._found = found

    async def policy(self, domain: str) -> StsFound:
        del domain
        return self._found


def carried(wish: str, found: StsFound, pool: FakePool, hop: Hop = MX, sender: str | None = "alice@example.com") -> Carried:
    async def run() -> Carried:
        clock = FakeClock()
        policies = TlsPolicies(clock, secure=None, sts=OnePolicy(found), tell=None)
        targets = Targets(FakeResolver(ZONE), clock, Random(1), policies=policies)
        carrier = Carrier(FakeSpool(), pool, targets, MaildirStore("relay.example.com"))
        sent = message(sender=sender, params=SenderParams(require_tls=wish))
        return await carrier.carry(DeliveryConfig("relay.example.com"), hop, claim(recipient("bob@site.example"), message=sent))

    return asyncio.run(run())


async def not_offering(_target: Target, sent: OutboundMessage) -> list[Attempt]:
    found = NO_REQUIRETLS
    return [Attempt(r.number, AttemptStatus.PERMANENT, found.text, found.enhanced, "") for r in sent.recipients]


async def broken(_target: Target, _sent: OutboundMessage) -> list[Attempt]:
    raise ConnectFailed("TLS handshake failed", tls=True)


def test_a_path_that_is_proved_carries_it_with_verified_tls_alone() -> None:
    pool = FakePool()
    found = carried(REQUIRED, ENFORCED, pool)
    assert found.attempts[0].status is AttemptStatus.DELIVERED
    assert [target.tls for target, _ in pool.taken] == [TlsPolicy.VERIFY]
    assert pool.taken[0][1].params.require_tls == REQUIRED


def test_a_policy_that_is_only_tested_is_enforced_for_it() -> None:
    pool = FakePool()
    tested = StsFound(StsPolicy(StsMode.TESTING, ("*.site.example",), 86_400))
    assert carried(REQUIRED, tested, pool).attempts[0].status is AttemptStatus.DELIVERED
    [(target, _)] = pool.taken
    assert target.tls is TlsPolicy.VERIFY
    assert target.demand is not None
    assert not target.demand.tested


@pytest.mark.parametrize("found", [StsFound(), StsFound(StsPolicy(StsMode.TESTING, ("other.example",), 86_400))])
def test_a_path_that_nothing_proves_is_a_bounce_and_nothing_is_connected_to(found: StsFound) -> None:
    pool = FakePool()
    [attempt] = carried(REQUIRED, found, pool).attempts
    assert (attempt.status, attempt.enhanced) == (AttemptStatus.PERMANENT, "5.7.10")
    assert pool.taken == []


def test_a_policy_that_cannot_be_had_now_is_no_reason_to_bounce() -> None:
    [attempt] = carried(REQUIRED, StsFound(sure=False), FakePool()).attempts
    assert (attempt.status, attempt.enhanced) == (AttemptStatus.TEMPORARY, "4.7.10")


def test_a_host_that_does_not_pass_it_on_is_left_for_the_next_and_none_is_a_bounce() -> None:
    pool = FakePool({"11.22.33.1": not_offering}, take_all)
    assert carried(REQUIRED, ENFORCED, pool).attempts[0].status is AttemptStatus.DELIVERED
    assert pool.addresses == ["11.22.33.1", "11.22.33.2"]
    [attempt] = carried(REQUIRED, ENFORCED, FakePool({}, not_offering)).attempts
    assert (attempt.status, attempt.enhanced) == (AttemptStatus.PERMANENT, "5.7.30")


def test_a_host_that_cannot_be_reached_may_be_the_one_so_it_waits() -> None:
    [attempt] = carried(REQUIRED, ENFORCED, FakePool({"11.22.33.2": broken}, not_offering)).attempts
    assert attempt.status is AttemptStatus.TEMPORARY


def test_a_refusal_by_the_host_itself_is_final() -> None:
    async def refusing(_target: Target, _sent: OutboundMessage) -> list[Attempt]:
        return [permanent()]

    pool = FakePool({}, refusing)
    assert carried(REQUIRED, ENFORCED, pool).attempts[0].status is AttemptStatus.PERMANENT
    assert len(pool.taken) == 1


@pytest.mark.parametrize(("level", "state"), [("verify", AttemptStatus.DELIVERED), ("required", AttemptStatus.PERMANENT)])
def test_a_route_must_verify(level: str, state: AttemptStatus) -> None:
    route = parse_route("smtp://hop.example:25", tls=TlsPolicy(level))
    assert carried(REQUIRED, StsFound(), FakePool(), route).attempts[0].status is state


def test_final_delivery_over_lmtp_knows_nothing_of_it() -> None:
    pool = FakePool()
    assert carried(REQUIRED, StsFound(), pool, parse_route("lmtp://127.0.0.1:24")).attempts[0].status is AttemptStatus.DELIVERED
    assert pool.taken[0][1].params.require_tls == ""


def test_a_bounce_goes_on_all_the_same() -> None:
    pool = FakePool()
    assert carried(REQUIRED, StsFound(), pool, sender=None).attempts[0].status is AttemptStatus.DELIVERED


def test_a_message_that_waives_it_is_not_held_up_by_a_policy() -> None:
    other = StsFound(StsPolicy(StsMode.ENFORCE, ("other.example",), 86_400))
    pool = FakePool()
    assert carried("", other, FakePool()).attempts[0].enhanced == "4.7.5"
    assert carried(NOT_REQUIRED, other, pool).attempts[0].status is AttemptStatus.DELIVERED
    assert [(target.tls, target.demand) for target, _ in pool.taken] == [(TlsPolicy.OPPORTUNISTIC, None)]


# The engines


def test_the_parameter_is_known_under_tls_alone_and_takes_no_value() -> None:
    _, params = parse_mail("FROM:<a@b.example> requiretls", esmtp=True, tls=True)
    assert params.require_tls == REQUIRED
    for argument, tls in (("FROM:<a@b.example> REQUIRETLS", False), ("FROM:<a@b.example> REQUIRETLS=1", True)):
        with pytest.raises(CommandError) as caught:
            parse_mail(argument, esmtp=True, tls=tls)
        assert caught.value.reply.code in {501, 555}


def line(sender: str | None, offered: Capabilities, **params: str) -> bytes:
    address = parse_address(sender) if sender is not None else None
    return mail_line(Transaction(address, SenderParams(**params), [recipient()]), offered)  # type: ignore[arg-type]


def test_it_is_passed_on_where_it_is_offered_and_only_the_header_is_asked_back() -> None:
    offered = parse_capabilities([b"hop.example", b"REQUIRETLS", b"DSN"])
    assert offered.requiretls
    assert line("a@b.example", offered, require_tls=REQUIRED, ret="FULL") == b"MAIL FROM:<a@b.example> REQUIRETLS RET=HDRS\r\n"
    assert b"REQUIRETLS" not in line("a@b.example", offered)
    with pytest.raises(Unsendable, match="REQUIRETLS"):
        line("a@b.example", Capabilities(), require_tls=REQUIRED)
    assert line(None, Capabilities(), require_tls=REQUIRED) == b"MAIL FROM:<>\r\n"


@pytest.mark.parametrize(
    ("field", "wish"),
    [
        (b"TLS-Required: No\r\n", NOT_REQUIRED),
        (b"tls-required:\r\n  no \r\n", NOT_REQUIRED),
        (b"TLS-Required: Yes\r\n", ""),
        (b"TLS-Required: No\r\nTLS-Required: No\r\n", ""),
        (b"X-TLS-Required: No\r\n", ""),
        (b"", ""),
    ],
)
def test_the_field_is_read_if_it_is_there_once_and_says_no(field: bytes, wish: str) -> None:
    block = b"From: a@b.example\r\n" + field
    given: Mapping[str, str] = {"envid": "x", "ret": "FULL"}
    found = wished(SenderParams(**given), read_facts(block), block)  # type: ignore[arg-type]
    assert (found.require_tls, found.envid, found.ret) == (wish, "x", "FULL")
    assert wished(SenderParams(require_tls=REQUIRED), read_facts(block), block).require_tls == REQUIRED
