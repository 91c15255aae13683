from __future__ import annotations

from random import Random

import pytest
from delivery_fakes import HEADER, NOW, claim, delivered, local, message, permanent, recipient, temporary
from hypothesis import given
from hypothesis import strategies as st

from postlatch.delivery.config import DeliveryConfig
from postlatch.delivery.contract import Attempt, AttemptStatus
from postlatch.delivery.notice import Notice
from postlatch.delivery.outcomes import Ending, event, judge
from postlatch.delivery.reports import notices, operator_notices
from postlatch.delivery.schedule import DAY, HOUR, RetryPolicy
from postlatch.model.envelope import Destination, GrantReason
from postlatch.spool.contract import OutcomeKind, QueuedRecipient, StoredMessage

CONFIG = DeliveryConfig("mx.example.com")
OLD = NOW + 6 * DAY
LATE = NOW + 5 * HOUR


def end(one: QueuedRecipient, attempt: Attempt, of: StoredMessage | None = None, now: float = NOW) -> Ending:
    return judge(RetryPolicy(), of or message(), one, attempt, now, Random(1))


def news(
    one: QueuedRecipient, attempt: Attempt, of: StoredMessage | None = None, now: float = NOW, *, final: bool = False
) -> list[Notice]:
    said = of or message()
    return notices(CONFIG, said, [end(one, attempt, said, now)], HEADER, now, final=final)


def test_what_was_taken_is_delivered() -> None:
    outcome = end(recipient(number=4), delivered(4)).outcome
    assert (outcome.number, outcome.kind, outcome.reply) == (4, OutcomeKind.DELIVERED, "250 2.0.0 taken")


STRANGERS = [local(), recipient("x@branch.example", destination=Destination.RELAY, reason=GrantReason.RELAY_DOMAIN)]


@pytest.mark.parametrize("one", STRANGERS)
def test_a_stranger_whose_domain_vouched_for_the_sender_is_told_of_a_failure_and_of_nothing_else(one: QueuedRecipient) -> None:
    said = message()
    said.verified = True
    assert end(one, permanent(), said).outcome.kind is OutcomeKind.BOUNCED
    [notice] = news(one, permanent(), said)
    assert (notice.kind, notice.verified) == ("dsn", True)
    assert news(one, temporary(), said, LATE) == []
    said.sender = None
    assert end(one, permanent(), said).outcome.kind is OutcomeKind.HELD
    assert news(one, permanent(), said) == []


def test_what_fails_for_now_is_tried_again() -> None:
    outcome = end(recipient(), temporary()).outcome
    assert outcome.kind is OutcomeKind.DEFERRED
    assert outcome.next_attempt is not None
    assert outcome.next_attempt > NOW


@pytest.mark.parametrize("reason", [GrantReason.ACCOUNT, GrantReason.NETWORK])
@pytest.mark.parametrize("destination", list(Destination))
def test_a_failure_bounces_to_a_sender_whom_we_know(reason: GrantReason, destination: Destination) -> None:
    one = recipient(reason=reason, destination=destination)
    assert end(one, permanent()).outcome.kind is OutcomeKind.BOUNCED
    [notice] = news(one, permanent())
    assert (notice.kind, str(notice.recipient), notice.grant_reason) == ("dsn", "alice@example.com", reason)
    assert notice.numbers == (0,)


@pytest.mark.parametrize(
    "one", [local(), recipient("x@branch.example", destination=Destination.RELAY, reason=GrantReason.RELAY_DOMAIN)]
)
@pytest.mark.parametrize(("attempt", "now"), [(permanent(), NOW), (temporary(), OLD)])
def test_a_strangers_mail_that_fails_is_held_and_no_report_leaves(one: QueuedRecipient, attempt: Attempt, now: float) -> None:
    ending = end(one, attempt, now=now)
    assert ending.outcome.kind is OutcomeKind.HELD
    assert "no sender" in ending.why
    assert news(one, attempt, now=now) == []


def test_our_own_notification_that_fails_is_held_and_starts_no_second() -> None:
    ours = message(sender=None, kind="dsn")
    one = recipient(reason=GrantReason.NOTIFICATION)
    assert end(one, permanent(), ours).outcome.kind is OutcomeKind.HELD
    assert news(one, permanent(), ours) == []
    # not even if it claimed to be an account's mail with a sender
    assert news(recipient(), permanent(), message(kind="alert")) == []


@pytest.mark.parametrize(
    ("sender", "notify"), [(None, ()), ("alice@example.com", ("NEVER",)), ("alice@example.com", ("SUCCESS", "DELAY"))]
)
def test_a_known_sender_who_wants_no_report_gets_none_and_the_mail_bounces(sender: str | None, notify: tuple[str, ...]) -> None:
    said = message(sender=sender)
    one = recipient(notify=notify)
    assert end(one, permanent(), said).outcome.kind is OutcomeKind.BOUNCED
    assert news(one, permanent(), said) == []


def test_a_temporary_failure_at_the_end_of_its_life_is_final() -> None:
    ending = end(recipient(), temporary(), now=OLD)
    assert (ending.outcome.kind, ending.expired) == (OutcomeKind.BOUNCED, True)
    [notice] = news(recipient(), temporary(), now=OLD)
    assert b"We tried for" in notice.content


@pytest.mark.parametrize(
    ("notify", "warned", "now", "told"),
    [
        ((), False, LATE, True),
        (("DELAY",), False, LATE, True),
        (("FAILURE",), False, LATE, False),
        (("NEVER",), False, LATE, False),
        ((), True, LATE, False),
        ((), False, NOW + HOUR, False),
    ],
)
def test_a_delay_is_reported_once_and_if_it_is_wanted(notify: tuple[str, ...], warned: bool, now: float, told: bool) -> None:
    one = recipient(notify=notify, warned=warned)
    assert [notice.kind for notice in news(one, temporary(), now=now)] == (["delay"] if told else [])
    assert end(one, temporary(), now=now).outcome.warned is (told or warned)


def test_a_strangers_delay_is_nobodys_business() -> None:
    assert news(local(), temporary(), now=LATE) == []
    assert end(local(), temporary(), now=LATE).outcome.warned is False


@pytest.mark.parametrize(
    ("notify", "passed", "final", "action"),
    [
        (("SUCCESS",), False, False, b"Action: relayed"),
        (("SUCCESS", "FAILURE"), False, True, b"Action: delivered"),
        (("SUCCESS",), True, False, None),
        (("FAILURE",), False, False, None),
        ((), False, False, None),
    ],
)
def test_a_success_is_reported_if_asked_for_and_nobody_else_will(
    notify: tuple[str, ...], passed: bool, final: bool, action: bytes | None
) -> None:
    found = news(recipient(notify=notify), delivered(dsn_passed=passed), final=final)
    assert len(found) == (action is not None)
    assert all(action in notice.content for notice in found if action)


def test_a_strangers_success_is_not_reported() -> None:
    assert news(local(notify=("SUCCESS",)), delivered(), final=True) == []


def test_one_report_tells_of_all_that_failed() -> None:
    said = message()
    endings = [end(recipient(f"u{n}@elsewhere.example", n), permanent(n) if n % 2 else delivered(n), said) for n in range(10)]
    [notice] = notices(CONFIG, said, endings, HEADER, NOW, final=False)
    assert notice.numbers == (1, 3, 5, 7, 9)
    assert notice.content.count(b"Final-Recipient:") == 5


def test_what_an_operator_gives_up_on_is_reported_to_the_senders_who_may_be_told() -> None:
    people = claim(recipient(), recipient("b@elsewhere.example", 1), local("c@example.com", 2), message=message())
    [notice] = operator_notices(CONFIG, people, "554 5.0.0 given up by the operator", HEADER, NOW)
    assert notice.numbers == (0, 1)
    assert b"Diagnostic-Code: x-postlatch; 554 5.0.0 given up by the operator" in notice.content
    assert operator_notices(CONFIG, claim(local(), message=message()), "554 5.0.0 no", HEADER, NOW) == []


ATTEMPTS = st.builds(Attempt, st.just(0), st.sampled_from(AttemptStatus), st.just("450 x"), st.just("4.0.0"), st.just("r"))


@given(
    attempt=ATTEMPTS,
    reason=st.one_of(st.none(), st.sampled_from(GrantReason)),
    sender=st.sampled_from([None, "alice@example.com"]),
    kind=st.sampled_from(["", "dsn", "alert"]),
    notify=st.sampled_from([(), ("NEVER",), ("FAILURE",), ("DELAY",), ("SUCCESS",)]),
    age=st.floats(min_value=0, max_value=8 * DAY),
)
def test_nothing_ends_without_somebody_knowing(
    attempt: Attempt, reason: GrantReason | None, sender: str | None, kind: str, notify: tuple[str, ...], age: float
) -> None:
    """DESIGN 1.4: delivered, in the queue, bounced with a report (unless its known sender wants none), or held."""
    said = message(sender=sender, kind=kind)
    one = recipient(reason=reason, notify=notify)
    outcome = end(one, attempt, said, NOW + age).outcome
    told = news(one, attempt, said, NOW + age)
    known = reason in {GrantReason.ACCOUNT, GrantReason.NETWORK} and not kind
    if told:
        assert known
        assert sender is not None
        assert "NEVER" not in notify
    if outcome.kind is OutcomeKind.BOUNCED:
        assert known
        assert told or sender is None or (notify and "FAILURE" not in notify)
    assert (outcome.next_attempt is not None) == (outcome.kind is OutcomeKind.DEFERRED)


def test_an_event_says_what_happened() -> None:
    one = recipient(number=2, attempts=3, possible_duplicate=True)
    record = event(message(), end(one, temporary(2)), NOW + 12.3456)
    assert record.name == "delivery.deferred"
    assert record.fields == {
        "message": "000000000002D",
        "recipient": "bob@elsewhere.example",
        "sender": "alice@example.com",
        "account": "alice@example.com",
        "reply": "451 4.2.0 busy",
        "remote": "mx.elsewhere.example",
        "attempts": 4,
        "seconds": 12.346,
        "possible_duplicate": True,
    }
    held = event(message(sender=None), end(local(), permanent()), NOW)
    assert held.fields["sender"] == "<>"
    assert "why" in held.fields
