"""Ways out of their own: which sender's mail goes where, from which address, and that nothing falls back in silence."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import pytest
from delivery_fakes import address, local, message, recipient
from test_delivery_routes import BRANCH, CONFIG, MAILDIR, PARTNER, SMARTHOST, classify, good

from postlatch.delivery.config import DeliveryConfig, Route, Way, parse_route
from postlatch.delivery.contract import Target
from postlatch.delivery.mx import RoutingFailed
from postlatch.delivery.routes import Hold, Hop, UseMx, choose
from postlatch.delivery.targets import NO_SOURCE, Targets
from postlatch.model.envelope import Destination, GrantReason
from postlatch.testing.clock import FakeClock
from postlatch.testing.dns import FakeResolver, Zone

OTHER = parse_route("smtp://other.isp.example:587")
BOTH = ("11.22.33.7", "2a99::7")
ZONE: Zone = {
    "both.example": {"MX": ["10 mx.both.example."]},
    "mx.both.example": {"A": ["11.22.33.44"], "AAAA": ["2a99::44"]},
    "six.example": {"MX": ["10 mx.six.example."]},
    "mx.six.example": {"AAAA": ["2a99::44"]},
    "other.isp.example": {"A": ["10.0.0.5"]},
}
WAYS = replace(
    CONFIG,
    smarthost=None,
    by_account={"printer": Way(("11.22.33.8",))},
    by_sender={"@shop.example": Way(BOTH), "news@shop.example": Way(("11.22.33.9",), OTHER), "@via.example": Way((), OTHER)},
)


def hop(to: str, sender: str | None, account: str = "", config: DeliveryConfig = WAYS) -> Hop | Hold:
    sent = message(sender=sender)
    sent.account = account
    return choose(config, classify, good, sent, recipient(to))


def targets(where: Hop, config: DeliveryConfig = WAYS) -> tuple[Target, ...]:
    found = Targets(FakeResolver(ZONE), FakeClock(), Random(1))
    return asyncio.run(found.of(config, where))


def test_the_account_goes_before_the_address_and_the_address_before_the_domain() -> None:
    assert hop("x@both.example", "any@shop.example") == UseMx("both.example", BOTH)
    assert hop("x@both.example", "News@SHOP.example") == replace(OTHER, source=("11.22.33.9",))
    assert hop("x@both.example", "news@shop.example", "printer") == UseMx("both.example", ("11.22.33.8",))
    assert hop("x@both.example", "any@via.example") == OTHER


def test_others_and_bounces_have_no_way_of_their_own() -> None:
    for sender in ("any@sub.shop.example", "shop.example@elsewhere.example", None):
        assert hop("x@both.example", sender) == UseMx("both.example")


def test_the_route_of_the_recipients_domain_stays_and_leaves_from_the_senders_address() -> None:
    assert hop("x@partner.example", "news@shop.example") == replace(PARTNER, source=("11.22.33.9",))
    assert hop("x@partner.example", "any@via.example") == PARTNER


def test_a_way_with_an_address_alone_goes_by_the_smarthost_of_all() -> None:
    config = replace(WAYS, smarthost=SMARTHOST)
    assert hop("x@both.example", "any@shop.example", config=config) == replace(SMARTHOST, source=BOTH)


def test_what_is_ours_and_what_is_relayed_is_not_touched() -> None:
    sent = message(sender="news@shop.example")
    assert choose(WAYS, classify, good, sent, local("alice@example.com")) == MAILDIR
    branch = recipient("x@branch.example", destination=Destination.RELAY, reason=GrantReason.RELAY_DOMAIN)
    assert choose(WAYS, classify, good, sent, branch) == BRANCH


def test_each_family_is_bound_to_its_own_address() -> None:
    assert {(t.address, t.source) for t in targets(UseMx("both.example", BOTH))} == {
        ("11.22.33.44", "11.22.33.7"),
        ("2a99::44", "2a99::7"),
    }
    assert [t.source for t in targets(UseMx("both.example"))] == ["", ""]
    assert [(t.address, t.source) for t in targets(replace(OTHER, source=BOTH))] == [("10.0.0.5", "11.22.33.7")]


def test_a_family_without_an_address_of_ours_is_not_used_even_if_nothing_is_left() -> None:
    assert [t.address for t in targets(UseMx("both.example", ("11.22.33.7",)))] == ["11.22.33.44"]
    with pytest.raises(RoutingFailed) as caught:
        targets(UseMx("six.example", ("11.22.33.7",)))
    assert caught.value.reply == NO_SOURCE
    assert not NO_SOURCE.permanent


def test_a_maildir_is_no_way_out() -> None:
    with pytest.raises(ValueError, match="Maildir"):
        replace(CONFIG, by_sender={"@shop.example": Way((), parse_route("maildir:data"))})
    assert isinstance(OTHER, Route)
    assert address("a@b.example").key == "a@b.example"
