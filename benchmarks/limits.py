"""What the limits cost the loop, in processor time: a bucket that is asked or charged, and all of a message's by default.

A bucket is one limit of one key, like the 500 messages a day of one account. A message with one recipient asks its buckets
three times (at MAIL, at RCPT, at its end) and charges them once; what is measured is what the server does for that, from
gathering who pays to the last count, with the defaults of the settings and ten thousand accounts that have sent before.

    python benchmarks/limits.py [--messages 20000] [--rounds 9] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from ipaddress import ip_address

from postlatch.app.limit_tables import limit_table
from postlatch.limits.charge import Charge
from postlatch.limits.limit import Limit, parse_limit
from postlatch.limits.limiter import Limiter
from postlatch.model.envelope import GrantReason
from postlatch.server.charges import Costs, Sending, payer_charges, shared_charges
from postlatch.server.limit_rules import LimitRules
from postlatch.settings.limits import LimitSettings

BUCKET_AIM = 0.5  # µs
MESSAGE_AIM = 25.0
ACCOUNTS = 10_000
START = 1_767_225_600.0
_UNITS = ("minute", "hour", "day")


def measure(messages: int, rounds: int) -> dict[str, float]:
    """Medians in µs."""
    found: dict[str, list[float]] = {"asking a bucket": [], "charging a bucket": [], "the default set of a message": []}
    for _ in range(rounds):
        asking, charging = _buckets(messages)
        found["asking a bucket"].append(asking)
        found["charging a bucket"].append(charging)
        found["the default set of a message"].append(_message(messages))
    return {name: statistics.median(values) for name, values in found.items()}


def _timed(work: Callable[[int], None], count: int) -> float:
    before = time.process_time()
    for i in range(count):
        work(i)
    return (time.process_time() - before) / count * 1e6


def _buckets(count: int) -> tuple[float, float]:
    """Of several scopes and windows at once, so that what a call costs by itself is shared as it is in a relay."""
    limits: tuple[Limit, ...] = tuple(parse_limit(f"1000000/{unit}") for unit in _UNITS)
    scopes = ("account", "credential", "sender_domain", "relay")
    each = [
        [Charge(scope, f"user{n}@example.com", kind, limits) for scope in scopes for kind in ("messages", "recipients")]
        for n in range(100)
    ]
    buckets = len(each[0]) * len(limits)
    limiter = Limiter()
    for charges in each:
        limiter.charge(charges, START)
    asking = _timed(lambda i: _ask(limiter, each[i % 100], i), count // 10)
    charging = _timed(lambda i: _count(limiter, each[i % 100], i), count // 10)
    return asking / buckets, charging / buckets


def _ask(limiter: Limiter, charges: list[Charge], i: int) -> None:
    if limiter.check(charges, START + 1 + i / 100) is not None:
        raise RuntimeError("a limit was reached")


def _count(limiter: Limiter, charges: list[Charge], i: int) -> None:
    limiter.charge(charges, START + 1000 + i / 100)


def _message(count: int) -> float:
    settings = LimitSettings()
    rules = LimitRules(account=limit_table(settings.account), client=limit_table(settings.client))
    limiter = Limiter()
    senders = [Sending(ip_address(f"198.51.{n % 100}.7"), "example.com", f"user{n}@example.com") for n in range(ACCOUNTS)]

    def message(i: int) -> None:
        sending, now = senders[i % ACCOUNTS], START + i
        payer = GrantReason.ACCOUNT, sending.account or ""
        due: list[Charge] = []
        for costs in (Costs(messages=1, octets=9000), Costs(0, 1, 1), Costs(1, 1, 1, 9000, frozenset({"example.org"}))):
            due = payer_charges(rules, payer, costs, sending, now) + shared_charges(rules, costs, sending, paid=costs)
            if limiter.check(due, now) is not None:
                raise RuntimeError("a limit was reached")
        limiter.charge(due, now)

    for i in range(ACCOUNTS):
        message(i)
    return _timed(lambda i: message(ACCOUNTS + i), count)


def main() -> None:
    """Print the figures; status 1 if one misses its aim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.messages, options.rounds)
    if options.json:
        print(json.dumps({name: round(value, 3) for name, value in found.items()}))
    else:
        for name, value in found.items():
            aim = MESSAGE_AIM if "message" in name else BUCKET_AIM
            print(f"{name:<30} {value:7.3f} µs   aim {aim:g} µs")
    missed = [name for name, value in found.items() if value > (MESSAGE_AIM if "message" in name else BUCKET_AIM)]
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()
