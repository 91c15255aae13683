"""The queue's own door: it believes nothing that the policy has decided (DESIGN section 4, RelayGrant)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from spool_tools import BODY, SNAPSHOT, Parcel, Relay, accepted, in_loop, row

from postlatch.model.address import POSTMASTER, Address, parse_address
from postlatch.model.envelope import Destination, EnvelopeRecipient, GrantReason
from postlatch.policy.grant import RelayGrant, notify_test
from postlatch.spool.contract import SpoolError
from postlatch.spool.gate import admit

FOREIGN = parse_address("x@elsewhere.example")
BOB = parse_address("bob@example.com")
DAVE = parse_address("dave@branch.example")


def admitted(rows: list[EnvelopeRecipient], grants: list[RelayGrant | None], originals: list[Address], what: object) -> None:
    admit(rows, grants, originals, what, SNAPSHOT.classify)


def test_foreign_mail_passes_with_its_grant_which_is_used_up() -> None:
    transaction = object()
    verdict = accepted(FOREIGN, transaction)
    rows: list[EnvelopeRecipient] = [row(FOREIGN, verdict)]
    admitted(rows, [verdict.grant], [FOREIGN], transaction)
    with pytest.raises(SpoolError, match="redeemed"):
        admitted(rows, [verdict.grant], [FOREIGN], transaction)


def test_local_mail_of_a_stranger_passes_without_one() -> None:
    verdict = accepted(BOB, object(), account=None)
    assert verdict.grant is None
    admitted([row(BOB, verdict)], [None], [BOB], object())


def test_mail_for_a_relay_domain_passes_with_that_domains_grant() -> None:
    transaction = object()
    verdict = accepted(DAVE, transaction, account=None)
    assert verdict.grant is not None
    assert verdict.grant.reason is GrantReason.RELAY_DOMAIN
    admitted([row(DAVE, verdict)], [verdict.grant], [DAVE], transaction)


@pytest.mark.parametrize("spelling", ["postmaster", "Postmaster"])
def test_the_bare_postmaster_is_ours(spelling: str) -> None:
    address = replace(POSTMASTER, local=spelling, text=spelling)
    admitted([EnvelopeRecipient(address, Destination.LOCAL, None, "")], [None], [address], object())


def test_no_other_address_without_a_domain_is() -> None:
    address = Address("root", "", "root")
    with pytest.raises(SpoolError, match="accepted as local and is foreign now"):
        admitted([EnvelopeRecipient(address, Destination.LOCAL, None, "")], [None], [address], object())


def test_several_that_an_alias_stands_for_share_one_grant() -> None:
    transaction = object()
    info = parse_address("alice@example.com")
    verdict = accepted(info, transaction)
    targets = [parse_address(f"{name}@example.com") for name in ("bob", "carol")]
    admitted([row(target, verdict) for target in targets], [verdict.grant] * 2, [info] * 2, transaction)


Change = Callable[[EnvelopeRecipient, RelayGrant | None], tuple[EnvelopeRecipient, RelayGrant | None]]
OTHER = accepted(parse_address("y@elsewhere.example"), object())
BRANCH = accepted(DAVE, object(), account=None)
TEST = notify_test(SNAPSHOT, object(), FOREIGN, [FOREIGN]).grant


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r, _: (r, None), "a foreign recipient has no grant"),
        (lambda r, g: (replace(r, destination=Destination.LOCAL), g), "accepted as local and is foreign now"),
        (lambda r, _: (replace(r, destination=Destination.LOCAL, grant_reason=None, grant_ref=""), None), "is foreign now"),
        (lambda r, g: (replace(r, destination=Destination.RELAY), g), "accepted as relay and is foreign now"),
        (lambda r, g: (replace(r, grant_ref="bob@example.com"), g), "names another grant"),
        (lambda r, g: (replace(r, grant_reason=GrantReason.NETWORK), g), "names another grant"),
        (lambda r, g: (replace(r, grant_reason=None, grant_ref=""), g), "names another grant"),
        (lambda r, _: (r, OTHER.grant), "a grant is for another recipient"),
        (lambda r, g: (replace(r, address=parse_address("z@elsewhere.example")), g), "a grant is for another recipient"),
        (lambda r, _: (replace(r, grant_reason=TEST.reason, grant_ref=TEST.ref), TEST), "another transaction"),
        (
            lambda r, _: (
                replace(r, grant_reason=GrantReason.RELAY_DOMAIN, grant_ref="branch.example"),
                BRANCH.grant,
            ),
            "a grant is for another recipient",
        ),
    ],
)
def test_foreign_mail_is_refused_unless_everything_fits(change: Change, says: str) -> None:
    transaction = object()
    verdict = accepted(FOREIGN, transaction)
    changed, grant = change(row(FOREIGN, verdict), verdict.grant)
    with pytest.raises(SpoolError, match=says):
        admitted([changed], [grant], [FOREIGN], transaction)


def test_a_local_recipient_cannot_name_a_grant_that_it_does_not_have() -> None:
    named = EnvelopeRecipient(BOB, Destination.LOCAL, GrantReason.ACCOUNT, "alice@example.com")
    with pytest.raises(SpoolError, match="a grant that it does not have"):
        admitted([named], [None], [BOB], object())


def test_a_grant_of_a_relay_domain_does_not_serve_when_that_domain_has_become_foreign() -> None:
    transaction = object()
    verdict = accepted(DAVE, transaction, account=None)
    foreign = replace(row(DAVE, verdict), destination=Destination.FOREIGN)
    with pytest.raises(SpoolError, match="for that domain only"):
        admit([foreign], [verdict.grant], [DAVE], transaction, lambda _: Destination.FOREIGN)


def test_a_grant_serves_its_own_transaction_and_the_very_address_of_its_rcpt() -> None:
    verdict = accepted(FOREIGN, object())
    with pytest.raises(SpoolError, match="another transaction or recipient"):
        admitted([row(FOREIGN, verdict)], [verdict.grant], [FOREIGN], object())
    transaction = object()
    verdict = accepted(FOREIGN, transaction)
    with pytest.raises(SpoolError, match="another transaction or recipient"):
        admitted([row(FOREIGN, verdict)], [verdict.grant], [parse_address(FOREIGN.text)], transaction)


def test_one_bad_recipient_uses_up_nobodys_grant() -> None:
    transaction = object()
    good = accepted(FOREIGN, transaction)
    bad = EnvelopeRecipient(parse_address("y@elsewhere.example"), Destination.FOREIGN, None, "")
    with pytest.raises(SpoolError, match="has no grant"):
        admitted([row(FOREIGN, good), bad], [good.grant, None], [FOREIGN, bad.address], transaction)
    admitted([row(FOREIGN, good)], [good.grant], [FOREIGN], transaction)


def test_recipients_grants_and_originals_must_match_in_number() -> None:
    local = EnvelopeRecipient(BOB, Destination.LOCAL, None, "")
    for rows, grants, originals in (([], [], []), ([local], [], [BOB]), ([local], [None], []), ([local], [None, None], [BOB])):
        with pytest.raises(SpoolError, match="a message has recipients"):
            admitted(list(rows), list(grants), list(originals), object())


def test_what_the_door_refuses_leaves_no_trace_in_the_database(tmp_path: Path) -> None:
    @in_loop
    async def scenario() -> None:
        async with Relay(tmp_path / "data") as relay:
            parcel = Parcel(["x@elsewhere.example"], relay.clock.now())
            parcel.grants = [None]
            draft = relay.spool.open(relay.clock.now())
            draft.write(BODY)
            with pytest.raises(SpoolError, match="has no grant"):
                parcel.commit(draft)
            draft.abort()
            assert relay.sql("SELECT count(*) FROM messages") == [(0,)]
            assert relay.spool.pending() == 0

    scenario()
