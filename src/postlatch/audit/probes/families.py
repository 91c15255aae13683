"""The families of questions, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from postlatch.audit.probes import (
    authentication,
    backscatter,
    enumeration,
    envelope,
    masking,
    neighbours,
    sessions,
    smuggling,
    spoofing,
    starttls,
    trust,
)
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.values import Outcome

Ask = Callable[[Inquiry], Awaitable[list[Outcome]]]

# Whether it relays comes first: if the time runs out, that was asked.
FAMILIES: Final[tuple[Ask, ...]] = (
    envelope.ask,
    sessions.ask,
    trust.ask,
    backscatter.ask,
    spoofing.ask,
    masking.ask,
    starttls.ask,
    authentication.ask,
    smuggling.ask,
    enumeration.ask,
    neighbours.ask,
)


async def ask_all(inquiry: Inquiry) -> list[Outcome]:
    """One family after the other: a server that is asked too much at once answers about itself, not about the question."""
    return [outcome for ask in FAMILIES for outcome in await ask(inquiry)]
