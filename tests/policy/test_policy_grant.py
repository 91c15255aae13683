"""The grant cannot be made, copied, changed or used twice; mail of our own goes only where its kind may go."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from policy_samples import SNAPSHOT, addr, recipient_facts, snapshot

import postlatch
from postlatch.model.address import Address
from postlatch.model.envelope import GrantReason
from postlatch.policy import grant as grants
from postlatch.policy.decide import AcceptRecipient, decide_recipient
from postlatch.policy.grant import GrantError, NotificationKind, RelayGrant, notify_alert, notify_delay, notify_dsn

SOURCE = Path(postlatch.__file__).parent


def fresh() -> RelayGrant:
    facts = recipient_facts("submission", "x@elsewhere.example", account="alice@example.com", sender="alice@example.com")
    verdict = decide_recipient(facts)
    assert isinstance(verdict, AcceptRecipient)
    assert verdict.grant is not None
    return verdict.grant


def test_the_class_cannot_be_called() -> None:
    with pytest.raises(TypeError, match="no public constructor"):
        RelayGrant()
    with pytest.raises(TypeError):
        type(fresh())(GrantReason.ACCOUNT, "me", object(), addr("x@y.example"), 1)  # type: ignore[call-arg]


def test_the_class_cannot_be_subclassed() -> None:
    with pytest.raises(TypeError, match="subclassed"):

        class Forged(RelayGrant):
            pass


def test_a_grant_cannot_be_copied_or_pickled() -> None:
    grant = fresh()
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            duplicate(grant)
    with pytest.raises(TypeError):
        copy.deepcopy([grant])
    assert not hasattr(grant, "_replace")
    assert not hasattr(grant, "__replace__")


@pytest.mark.parametrize(
    "name", ["reason", "ref", "recipient", "transaction", "snapshot_version", "_unused", "extra", "__class__"]
)
def test_a_grant_cannot_be_changed(name: str) -> None:
    grant = fresh()
    with pytest.raises(AttributeError):
        setattr(grant, name, "other")
    with pytest.raises(AttributeError):
        delattr(grant, name)


def test_a_grant_is_redeemed_once() -> None:
    grant = fresh()
    grant.redeem(grant.transaction, grant.recipient)
    with pytest.raises(GrantError, match="redeemed"):
        grant.redeem(grant.transaction, grant.recipient)


def test_a_grant_is_good_for_its_own_transaction_and_recipient_only() -> None:
    grant = fresh()
    twin = Address(grant.recipient.local, grant.recipient.domain, grant.recipient.text)
    for transaction, recipient in (
        (object(), grant.recipient),
        (grant.transaction, twin),
        (grant.transaction, addr("y@z.example")),
    ):
        with pytest.raises(GrantError, match="another"):
            grant.redeem(transaction, recipient)
    grant.redeem(grant.transaction, grant.recipient)


def test_of_many_threads_one_redeems_a_grant() -> None:
    def attempt(grant: RelayGrant) -> bool:
        try:
            grant.redeem(grant.transaction, grant.recipient)
        except GrantError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for grant in [fresh() for _ in range(50)]:
            assert sum(pool.map(attempt, [grant] * 8)) == 1


def test_grants_compare_by_identity() -> None:
    one, other = fresh(), fresh()
    assert one != other
    assert len({one, other, one}) == 2


def test_a_grant_shows_what_it_is_without_line_breaks() -> None:
    assert repr(fresh()) == "<RelayGrant ACCOUNT 'alice@example.com' for 'x@elsewhere.example'>"


def test_the_minting_function_is_named_in_two_files_only() -> None:
    naming = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if "mint_grant" in path.read_text("utf-8")}
    assert naming == {"policy/grant.py", "policy/decide.py"}


def test_nothing_else_makes_a_grant_behind_its_constructor() -> None:
    for path in SOURCE.rglob("*.py"):
        text = path.read_text("utf-8")
        if "object.__new__" in text and "RelayGrant" in text:
            assert path.relative_to(SOURCE).as_posix() == "policy/grant.py"


def test_a_grant_without_a_reference_cannot_be_minted() -> None:
    with pytest.raises(GrantError):
        getattr(grants, "mint" + "_grant")(GrantReason.ACCOUNT, "", object(), addr("x@y.example"), 1)


def test_the_kinds_of_mail_of_our_own_are_a_closed_list() -> None:
    assert [kind.value for kind in NotificationKind] == [
        "dsn",
        "delay",
        "alert",
        "report_receipt",
        "dmarc_report",
        "tls_report",
        "abuse_report",
        "bulletin",
        "learning",
        "test",
    ]


@pytest.mark.parametrize("reason", [GrantReason.ACCOUNT, GrantReason.NETWORK])
def test_a_report_goes_from_the_null_sender_to_who_sent_the_mail(reason: GrantReason) -> None:
    transaction, sender = object(), addr("alice@example.com")
    for make, kind in ((notify_dsn, NotificationKind.DSN), (notify_delay, NotificationKind.DELAY)):
        note = make(SNAPSHOT, transaction, reason, sender)
        assert (note.kind, note.sender, note.recipient) == (kind, None, sender)
        assert (note.grant.reason, note.grant.ref) == (GrantReason.NOTIFICATION, kind.value)
        note.grant.redeem(transaction, sender)


@pytest.mark.parametrize("reason", [None, GrantReason.RELAY_DOMAIN, GrantReason.NOTIFICATION])
def test_no_report_goes_to_a_sender_that_may_be_forged(reason: GrantReason | None) -> None:
    for make in (notify_dsn, notify_delay):
        with pytest.raises(GrantError):
            make(SNAPSHOT, object(), reason, addr("victim@elsewhere.example"))


@pytest.mark.parametrize("reason", [None, GrantReason.RELAY_DOMAIN])
def test_a_failure_report_goes_to_a_stranger_whose_domain_vouched_for_the_sender(reason: GrantReason | None) -> None:
    transaction, sender = object(), addr("bob@good.example")
    note = notify_dsn(SNAPSHOT, transaction, reason, sender, verified=True)
    assert (note.kind, note.sender, note.recipient) == (NotificationKind.DSN, None, sender)
    note.grant.redeem(transaction, sender)


@pytest.mark.parametrize("reason", [None, GrantReason.RELAY_DOMAIN, GrantReason.NOTIFICATION])
def test_to_be_verified_opens_nothing_for_the_null_sender_or_for_mail_of_our_own(reason: GrantReason | None) -> None:
    with pytest.raises(GrantError):
        notify_dsn(SNAPSHOT, object(), reason, None, verified=True)
    with pytest.raises(GrantError):
        notify_dsn(SNAPSHOT, object(), GrantReason.NOTIFICATION, addr("bob@good.example"), verified=True)


def test_no_report_goes_to_the_null_sender() -> None:
    for make in (notify_dsn, notify_delay):
        with pytest.raises(GrantError):
            make(SNAPSHOT, object(), GrantReason.ACCOUNT, None)


def test_an_alert_goes_from_a_fixed_sender_to_configured_recipients_only() -> None:
    ops = addr("Ops@elsewhere.example")
    note = notify_alert(SNAPSHOT, object(), ops, [addr("ops@elsewhere.example")])
    assert note.sender == addr("postmaster@example.com")
    assert note.recipient is ops
    for make in (notify_alert, grants.notify_test):
        with pytest.raises(GrantError):
            make(SNAPSHOT, object(), addr("victim@elsewhere.example"), [ops])
        with pytest.raises(GrantError):
            make(SNAPSHOT, object(), ops, [])


def test_without_a_domain_of_ours_the_host_name_stands_in_the_sender() -> None:
    ops = addr("ops@elsewhere.example")
    note = grants.notify_test(snapshot(locals_=[]), object(), ops, [ops])
    assert note.sender == addr("postmaster@mx.example.com")
    assert note.kind is NotificationKind.TEST


def report_to(
    recipient: Address, *, asked: tuple[Address, ...], permitted: frozenset[str] = frozenset()
) -> grants.Notification:
    return grants.notify_dmarc_report(SNAPSHOT, object(), recipient, "elsewhere.example", asked, permitted)


def test_an_aggregate_report_goes_from_postmaster_to_an_address_that_the_domain_asked_for() -> None:
    box = addr("dmarc@elsewhere.example")
    note = report_to(box, asked=(addr("other@elsewhere.example"), box))
    assert (note.kind, note.sender, note.recipient) == (NotificationKind.DMARC_REPORT, addr("postmaster@example.com"), box)
    assert (note.grant.reason, note.grant.ref) == (GrantReason.NOTIFICATION, "dmarc_report")
    with pytest.raises(GrantError, match="does not ask"):
        report_to(addr("victim@elsewhere.example"), asked=(box,))
    with pytest.raises(GrantError, match="does not ask"):
        report_to(box, asked=())


def test_an_aggregate_report_goes_abroad_only_to_a_domain_that_has_confirmed_it() -> None:
    box = addr("in@service.test")
    for permitted in (frozenset(), frozenset({"other.test", "test", "sub.service.test"})):
        with pytest.raises(GrantError, match="has not confirmed"):
            report_to(box, asked=(box,), permitted=permitted)
    assert report_to(box, asked=(box,), permitted=frozenset({"service.test"})).recipient is box
    literal = addr("in@[192.0.2.1]")
    with pytest.raises(GrantError, match="has not confirmed"):
        report_to(literal, asked=(literal,), permitted=frozenset({"[192.0.2.1]"}))


def tls_report_to(recipient: Address, *, domain: str = "elsewhere.example", asked: tuple[Address, ...]) -> grants.Notification:
    return grants.notify_tls_report(SNAPSHOT, object(), recipient, domain, asked)


def test_a_tls_report_goes_from_postmaster_to_an_address_that_the_domain_asked_for() -> None:
    for text in ("tls@elsewhere.example", "in@service.test"):  # nobody elsewhere confirms anything: RFC 8460 has no way to
        box = addr(text)
        note = tls_report_to(box, asked=(addr("other@elsewhere.example"), box))
        assert (note.kind, note.sender, note.recipient) == (NotificationKind.TLS_REPORT, addr("postmaster@example.com"), box)
        assert (note.grant.reason, note.grant.ref) == (GrantReason.NOTIFICATION, "tls_report")
    box = addr("tls@elsewhere.example")
    for asked in ((), (box,)):
        with pytest.raises(GrantError, match="does not ask"):
            tls_report_to(addr("victim@elsewhere.example"), asked=asked)


def test_no_tls_report_goes_to_an_address_literal_or_is_about_a_domain_of_ours() -> None:
    literal, box = addr("in@[192.0.2.1]"), addr("tls@elsewhere.example")
    with pytest.raises(GrantError, match="literal"):
        tls_report_to(literal, asked=(literal,))
    for ours in sorted({*SNAPSHOT.local_domains, *SNAPSHOT.relay_domains}):
        with pytest.raises(GrantError, match="one of ours"):
            tls_report_to(box, domain=ours, asked=(box,))
