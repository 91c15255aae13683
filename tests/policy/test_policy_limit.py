"""What a limit may do to a decision: tighten it, and nothing else."""

from __future__ import annotations

from itertools import product

import pytest
from policy_samples import Case, mail, rcpt

from postlatch.policy.facts import LimitReached

HOLD = LimitReached("account messages 500/day", 1_767_312_000.0, day_spent=True, hold=True)
UNKNOWN = LimitReached("account messages", 1_767_225_660.0, day_spent=False, unknown=True)
LISTENERS = ("mx", "submission", "relay")
RECIPIENTS = ("alice@example.com", "nobody@example.com", "x@elsewhere.example", "x@partner.example")
WHO: list[Case] = [
    {},
    {"account": "alice@example.com", "sender": "alice@example.com"},
    {"account": "alice@example.com", "sender": "alice@example.com", "tls": False},
    {"account": "alice@example.com", "sender": "ceo@example.com"},
    {"client": "10.0.3.4", "sender": "scan@example.com"},
]


@pytest.mark.parametrize(("listener", "recipient", "who"), list(product(LISTENERS, RECIPIENTS, range(len(WHO)))))
def test_a_limit_that_holds_changes_no_decision(listener: str, recipient: str, who: int) -> None:
    """To hold is to accept: it must not accept anything that would not be accepted without a limit."""
    case = WHO[who]
    limited: Case = {**case, "limit": HOLD}
    assert mail(listener, **limited) == mail(listener, **case)
    assert rcpt(listener, recipient, **limited) == rcpt(listener, recipient, **case)


@pytest.mark.parametrize(("listener", "recipient", "who"), list(product(LISTENERS, RECIPIENTS, range(len(WHO)))))
def test_an_unknown_count_defers_what_would_be_accepted_and_hides_no_refusal(listener: str, recipient: str, who: int) -> None:
    case = WHO[who]
    without = rcpt(listener, recipient, **case)
    limited: Case = {**case, "limit": UNKNOWN}
    found = rcpt(listener, recipient, **limited)
    assert found == (without if without[0] in "45" else "451 4.3.0 limit")


def test_an_unknown_count_never_holds() -> None:
    both: Case = {**WHO[1], "limit": UNKNOWN._replace(hold=True)}
    assert mail("submission", **both) == "451 4.3.0 limit"
