"""At the limit, and not one beside it: random events against a model that keeps everything, over restarts and clock jumps."""

from __future__ import annotations

import random

import pytest
from limit_model import ModelBucket

from postlatch.limits.limit import Limit, parse_limit
from postlatch.limits.limiter import Charge, Limiter

START = 1_767_225_600.0
KINDS: dict[str, tuple[Limit, ...]] = {
    "messages": (parse_limit("7/second"), parse_limit("30/minute"), parse_limit("200/hour"), parse_limit("500/day")),
    "recipients": (parse_limit("300/hour"), parse_limit("1000/day")),
    "new_recipients": (parse_limit("40/day"),),
    "bytes": (parse_limit("5 MiB/hour"), parse_limit("20 MiB/day")),
    "domains": (parse_limit("15/hour"), parse_limit("40/day")),
}
SCOPES = ("account", "credential", "right", "sender_domain", "client", "network", "relay")
WORLD = [f"{n}.example" for n in range(60)]


class Rig:
    """The limiter and the model, asked the same."""

    def __init__(self, seed: int, *, jumps: bool) -> None:
        self.jumps = jumps
        self.dice = random.Random(seed)
        self.limiter = Limiter()
        self.store: dict[str, str] = {}
        self.model: dict[tuple[str, str, str], list[ModelBucket]] = {}
        self.now = START
        self.admitted = self.refused = 0
        self.last: list[Charge] = []  # for whoever looks at a failure

    def buckets(self, charge: Charge) -> list[ModelBucket]:
        """Those of a charge."""
        fresh = [ModelBucket(limit.amount, limit.seconds) for limit in charge.limits]
        return self.model.setdefault((charge.scope, charge.key, charge.kind), fresh)

    def event(self) -> None:
        """One message of somebody, with all that it costs, and what the clock does before."""
        dice = self.dice
        self.now += dice.choice([0.0, 0.05, 1, 20, 300]) * dice.random()
        # Not both in one run: that a clock went back is stored with the next charge, and not when it is seen.
        if self.jumps and dice.random() < 0.0005:
            self.now += dice.choice([-90_000, -4000, -30, 4000, 90_000]) * dice.random()
        if not self.jumps and dice.random() < 0.002:
            self.restart()
        if dice.random() < 0.01:
            self.prune()
        charges = self.last = self.charges()
        answers = [self.fits(charge) for charge in charges]  # all of them: each look at a clock that went back counts
        expected = all(answers)
        assert (self.limiter.check(charges, self.now) is None) == expected
        if expected:
            self.limiter.charge(charges, self.now)
            for charge in charges:
                self.add(charge)
        self.admitted += expected
        self.refused += not expected

    def charges(self) -> list[Charge]:
        """A message: a few scopes, and of each some kinds."""
        dice = self.dice
        key = dice.choice(["a", "b"])
        found = []
        for scope in dice.sample(SCOPES, dice.randint(1, 3)):
            for kind in dice.sample(sorted(KINDS), dice.randint(1, 3)):
                items = frozenset(dice.sample(WORLD, dice.randint(1, 3)))
                cost = {"recipients": dice.randint(1, 9), "bytes": dice.randint(1, 400_000), "domains": len(items)}.get(kind, 1)
                found.append(Charge(scope, key, kind, KINDS[kind], cost, items if kind == "domains" else frozenset()))
        return found

    def fits(self, charge: Charge) -> bool:
        """By the model."""
        if charge.items:
            answers = [bucket.fits_different(self.now, charge.items) for bucket in self.buckets(charge)]
        else:
            answers = [bucket.fits(self.now, charge.cost) for bucket in self.buckets(charge)]
        return all(answers)

    def add(self, charge: Charge) -> None:
        """To the model."""
        for bucket in self.buckets(charge):
            if charge.items:
                bucket.add_different(self.now, charge.items)
            else:
                bucket.add(self.now, charge.cost)

    def prune(self) -> None:
        """What is idle is forgotten, and stays so when the clock goes back."""
        for key in self.limiter.prune(self.now):
            self.store.pop(key, None)
        for buckets in self.model.values():
            if all(bucket.idle(self.now) for bucket in buckets):
                for bucket in buckets:
                    bucket.set_clock(self.now)

    def restart(self) -> None:
        """A clean stop: everything is written, and read again."""
        self.store.update(self.limiter.dirty())
        self.prune()
        self.limiter = Limiter()
        assert self.limiter.load(self.store.items(), self.now) == []
        for buckets in self.model.values():
            for bucket in buckets:
                bucket.set_clock(self.now)


def run(seed: int, events: int, *, jumps: bool) -> Rig:
    rig = Rig(seed, jumps=jumps)
    for _ in range(events):
        rig.event()
    assert min(rig.admitted, rig.refused) > events // 20, "the run must meet its limits, and not stick to them"
    return rig


@pytest.mark.parametrize("jumps", [False, True], ids=["restarts", "clock-jumps"])
def test_random_mail_is_admitted_exactly_up_to_every_limit(jumps: bool) -> None:
    run(1, 2_000, jumps=jumps)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("jumps", [False, True], ids=["restarts", "clock-jumps"])
def test_a_hundred_thousand_random_messages_are_admitted_exactly_up_to_every_limit(jumps: bool) -> None:
    run(2, 100_000, jumps=jumps)


@pytest.mark.parametrize("amount", [1, 2, 64, 65, 500, 1000])
def test_the_last_one_that_fits_is_admitted_and_the_next_is_not(amount: int) -> None:
    limits = (parse_limit(f"{amount}/day"),)
    limiter = Limiter()
    for i in range(amount):
        assert limiter.spend([Charge("account", "a", "messages", limits)], START + i * 20) is None
    last = START + (amount - 1) * 20
    assert limiter.check([Charge("account", "a", "messages", limits)], last) is not None
    # The first leaves at its second, not before, and makes room for one.
    assert limiter.check([Charge("account", "a", "messages", limits)], START + 86_400 - 0.001) is not None
    assert limiter.spend([Charge("account", "a", "messages", limits)], START + 86_400) is None
    assert limiter.check([Charge("account", "a", "messages", limits)], START + 86_400) is not None
