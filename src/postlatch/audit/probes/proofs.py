"""Messages for envelopes that were taken: only their arrival proves a relay."""

from __future__ import annotations

from typing import Final

from postlatch.audit.canary.values import CanaryError
from postlatch.audit.probes.conversation import Conversation
from postlatch.audit.probes.ended import Ended, Why
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.values import Outcome

_MOST: Final = 20
_MOST_DEEP: Final = 100
_MOST_UNCLEAR: Final = 0.6  # of these: a catch-all takes every odd name, and plain ones must still have their turn
_ENOUGH: Final = 3  # have arrived: more of them prove nothing more


class Proofs:
    """Sends what the manners allow: not without a canary, not for ever, and not once enough has arrived."""

    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry
        self._most = _MOST_DEEP if inquiry.deep else _MOST
        self._sent = {True: 0, False: 0}

    async def prove(self, talk: Conversation, outcome: Outcome) -> Outcome:
        """The outcome with how far its message got. The recipient of ``talk``'s transaction was taken."""
        if (why := await self._not_sent(outcome)) is not None:
            return outcome._replace(why=f"{outcome.why}; no message was sent: {why}")
        token = self._inquiry.token()
        try:
            evidence, reply = await self._inquiry.deliver(talk, self._inquiry.message(token))
        except Ended as end:
            if end.why is not Why.MANNERS:
                raise
            return outcome._replace(why=f"{outcome.why}; {end}")
        self._sent[outcome.foreign] += 1
        return outcome._replace(evidence=evidence, token=token, why=f"{outcome.why}; then {reply.text}")

    async def _not_sent(self, outcome: Outcome) -> str | None:
        if self._inquiry.canary is None:
            return "there is no canary to look for it"
        unclear = self._sent[False]
        if sum(self._sent.values()) >= self._most or (not outcome.foreign and unclear >= self._most * _MOST_UNCLEAR):
            return f"{sum(self._sent.values())} were sent for others already"
        try:
            arrived = len(await self._inquiry.canary.arrivals())
        except CanaryError:
            return None
        return f"{arrived} have arrived already" if arrived >= _ENOUGH else None
