"""The process of the self-audit: reads where to ask on standard input, asks as a stranger, writes results, and ends.

It is started by the relay and knows nothing of it: neither its configuration nor its database, and it has no control socket.
No message is sent: its allowance is none. A recipient that is taken is told as taken.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from typing import Any, Final

from postlatch.app.audit_options import CANARY_DOMAIN, OTHER_DOMAIN
from postlatch.app.clock import SystemClock
from postlatch.app.self_audit_targets import Listening
from postlatch.audit.probes.families import ask_all
from postlatch.audit.probes.names import Names
from postlatch.audit.probes.place import Place, Tls
from postlatch.audit.result import as_data
from postlatch.audit.run import Means, Request, audit
from postlatch.model.clock import Clock

TIME_LIMIT: Final = 45.0  # seconds for one address
RATE: Final = 10.0  # connections a second: the mail of others comes first
_NICE: Final = 10


async def ask(
    targets: list[Listening], run: str, clock: Clock, dice: random.Random, rate: float = RATE
) -> list[dict[str, Any]]:
    """One after the other; a result as `audit.result.as_data` for each."""
    means = Means(clock, dice, ask_all, run)
    return [as_data(await audit(_request(one, run, dice, rate), means)) for one in targets]


def _request(one: Listening, run: str, dice: random.Random, rate: float) -> Request:
    place = Place(one.hostname, one.address, one.port, Tls.FIRST if one.tls_first else Tls.NEVER)
    names = Names(
        canary="canary",
        canary_domain=CANARY_DOMAIN,
        other_domain=OTHER_DOMAIN,
        helo=helo(run),
        address=one.address,
        local_domain=one.domain,
        mailbox="postmaster" if one.domain else "",  # RFC 5321 section 4.5.1: it must be taken
        unknown=f"nobody-{dice.getrandbits(32):08x}",
    )
    return Request(place.socket, [place], names, TIME_LIMIT, 0.0, source=one.source, rate=rate, messages=0)


def helo(run: str) -> str:
    """Marks the sessions of an audit in the journal. It gives no right: a stranger may say the same (RFC 2606: .invalid)."""
    return f"self-audit-{run}.invalid"


def main() -> int:
    """The child's entry point."""
    os.nice(_NICE)
    asked = json.load(sys.stdin)
    targets = [Listening(**one) for one in asked["targets"]]
    results = asyncio.run(ask(targets, str(asked["run"]), SystemClock(), random.SystemRandom()))
    json.dump(results, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
