from __future__ import annotations

from dataclasses import replace

import pytest
from delivery_fakes import MAIL, claim, local, message, recipient

from postlatch.delivery.config import DeliveryConfig, parse_route
from postlatch.delivery.pauses import Pause, Pauses
from postlatch.delivery.routes import Hold, Hop, UseMx, choose, route_for
from postlatch.delivery.sorting import MAX_RECIPIENTS, sort
from postlatch.model.envelope import Destination, GrantReason
from postlatch.spool.contract import QueuedRecipient, StoredMessage

MAILDIR = parse_route("maildir:data/mail")
BRANCH = parse_route("smtp://10.1.0.5:25")
PARTNER = parse_route("smtp://mail.partner.example:25")
SMARTHOST = parse_route("smtp://relay.isp.example:587")
CONFIG = DeliveryConfig(
    "mx.example.com",
    local={"example.com": MAILDIR},
    relay={"branch.example": BRANCH},
    outbound={"partner.example": PARTNER},
)
KINDS = {"example.com": Destination.LOCAL, "branch.example": Destination.RELAY, "orphan.example": Destination.LOCAL}


def classify(domain: str) -> Destination:
    return KINDS.get(domain, Destination.FOREIGN)


def good(_recipient: QueuedRecipient, _message: StoredMessage) -> str | None:
    return None


def where(recipient: QueuedRecipient, config: DeliveryConfig = CONFIG) -> Hop | Hold:
    return choose(config, classify, good, message(), recipient)


def via_smarthost() -> DeliveryConfig:
    return DeliveryConfig("mx.example.com", outbound=CONFIG.outbound, local=CONFIG.local, smarthost=SMARTHOST)


def test_each_domain_goes_its_own_way() -> None:
    assert where(local("alice@example.com")) == MAILDIR
    assert where(recipient("x@branch.example", destination=Destination.RELAY, reason=GrantReason.RELAY_DOMAIN)) == BRANCH
    assert where(recipient("x@partner.example")) == PARTNER
    assert where(recipient("x@elsewhere.example")) == UseMx("elsewhere.example")
    assert where(recipient("x@[192.0.2.1]")) == UseMx("[192.0.2.1]")


def test_a_route_goes_before_the_smarthost_and_the_smarthost_before_mx() -> None:
    assert where(recipient("x@partner.example"), via_smarthost()) == PARTNER
    assert where(recipient("x@elsewhere.example"), via_smarthost()) == SMARTHOST
    assert where(local("alice@example.com"), via_smarthost()) == MAILDIR


def test_a_suffix_never_matches() -> None:
    assert where(recipient("x@sub.partner.example")) == UseMx("sub.partner.example")
    assert where(recipient("x@notpartner.example")) == UseMx("notpartner.example")


def test_mail_for_a_domain_that_is_no_longer_ours_is_held_and_never_sent_on() -> None:
    held = where(local("alice@gone.example"))
    assert isinstance(held, Hold)
    assert "no longer is" in held.reason
    assert isinstance(where(local("alice@branch.example")), Hold)
    # not even with a grant that would let it leave: it was accepted for a mailbox of ours
    assert isinstance(where(recipient("alice@gone.example", destination=Destination.LOCAL)), Hold)


def test_mail_for_a_relay_domain_never_falls_back_to_mx() -> None:
    stored = recipient("x@gone.example", destination=Destination.RELAY, reason=GrantReason.RELAY_DOMAIN)
    assert isinstance(where(stored), Hold)
    assert isinstance(where(stored, via_smarthost()), Hold)


def test_mail_of_an_account_for_a_former_relay_domain_may_leave_as_foreign() -> None:
    assert where(recipient("x@gone.example", destination=Destination.RELAY)) == UseMx("gone.example")


def test_a_foreign_domain_that_became_ours_is_delivered_here() -> None:
    assert where(recipient("alice@example.com")) == MAILDIR


def test_a_domain_of_ours_without_a_route_is_held() -> None:
    held = where(local("alice@orphan.example"))
    assert held == Hold("the configuration has no route for orphan.example")


def test_nothing_without_a_grant_ever_leaves() -> None:
    assert isinstance(where(recipient("x@elsewhere.example", reason=None)), Hold)


@pytest.mark.parametrize("domain", ["", "EXAMPLE.com", "[127.0.0.1]"])
def test_route_for_an_odd_domain_is_not_a_local_route(domain: str) -> None:
    assert isinstance(route_for(CONFIG, Destination.LOCAL, domain), Hold)


def test_a_grant_that_no_longer_holds_keeps_the_mail_here() -> None:
    def suspended(one: QueuedRecipient, _message: StoredMessage) -> str | None:
        return f"account {one.grant_ref} is suspended"

    assert choose(CONFIG, classify, suspended, message(), recipient()) == Hold("account alice@example.com is suspended")
    assert choose(CONFIG, classify, suspended, message(), local()) == MAILDIR  # a stranger's mail has no grant


def test_a_claim_is_sorted_by_next_hop() -> None:
    people = (
        recipient("a@elsewhere.example", 0),
        local("alice@example.com", 1),
        recipient("b@elsewhere.example", 2),
        local("x@gone.example", 3),
    )
    result = sort(CONFIG, classify, good, Pauses(), claim(*people, message=message()))
    assert [(hop, [one.number for one in part.recipients]) for hop, part in result.going] == [
        (UseMx("elsewhere.example"), [0, 2]),
        (MAILDIR, [1]),
    ]
    assert all(part.body == MAIL for _, part in result.going)
    assert result.held is not None
    assert [one.number for one in result.held.recipients] == [3]
    assert len(result.reasons) == 1


def test_a_claim_for_one_hop_stays_whole() -> None:
    whole = claim(recipient("a@elsewhere.example", 0), recipient("b@elsewhere.example", 1), message=message())
    [(_, part)] = sort(CONFIG, classify, good, Pauses(), whole).going
    assert part is whole


def test_no_transaction_has_more_recipients_than_every_server_takes() -> None:
    people = [recipient(f"u{number}@elsewhere.example", number) for number in range(2 * MAX_RECIPIENTS + 1)]
    parts = sort(CONFIG, classify, good, Pauses(), claim(*people, message=message())).going
    assert [len(part.recipients) for _, part in parts] == [MAX_RECIPIENTS, MAX_RECIPIENTS, 1]
    assert [one.number for _, part in parts for one in part.recipients] == list(range(2 * MAX_RECIPIENTS + 1))


def test_recipients_of_a_paused_destination_are_kept_apart() -> None:
    people = (recipient("a@elsewhere.example", 0), recipient("b@paused.example", 1), recipient("c@Paused.example", 2))
    pause = Pause("paused.example", 0.0)
    found = sort(CONFIG, classify, good, Pauses([pause]), claim(*people, message=message()))
    assert [[r.number for r in part.recipients] for _, part in found.going] == [[0]]
    assert [(p, [r.number for r in part.recipients]) for p, part in found.paused] == [(pause, [1, 2])]


def test_a_next_hop_can_be_paused_by_its_route() -> None:
    config = replace(CONFIG, smarthost=parse_route("smtp://10.9.9.9:587"))
    one = claim(recipient("a@elsewhere.example"), message=message())
    assert sort(config, classify, good, Pauses([Pause("smtp://10.9.9.9:587", 0.0)]), one).going == []
    assert len(sort(config, classify, good, Pauses([Pause("smtp://10.9.9.8:587", 0.0)]), one).going) == 1


def test_what_must_be_held_is_held_also_behind_a_pause() -> None:
    one = claim(local("x@gone.example"), message=message())
    assert sort(CONFIG, classify, good, Pauses([Pause("gone.example", 0.0)]), one).held is one
