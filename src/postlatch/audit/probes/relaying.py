"""Hands in a stranger's mail for a stranger, in whatever state a conversation is: the question at the end of most others."""

from __future__ import annotations

from postlatch.audit.probes.conversation import Conversation, Reply
from postlatch.audit.probes.inquiry import Inquiry
from postlatch.audit.probes.judge import judge
from postlatch.audit.probes.proofs import Proofs
from postlatch.audit.probes.values import Outcome, Stand
from postlatch.audit.probes.vectors import Whose
from postlatch.audit.values import Evidence


class Relaying:
    """Asks, and sends what proves it. One for each family, which counts its messages."""

    def __init__(self, inquiry: Inquiry) -> None:
        self._inquiry = inquiry
        self._proofs = Proofs(inquiry)
        names = inquiry.names
        self.mail = f"MAIL FROM:<{names.nobody}@{names.canary_domain}>"
        self.recipient = f"{names.canary}@{names.canary_domain}"
        self.rcpt = f"RCPT TO:<{self.recipient}>"

    async def ask(self, talk: Conversation, begun: Outcome) -> Outcome:
        """A whole transaction, from MAIL."""
        reply = await talk.say(self.mail)
        if reply.taken:
            reply = await talk.say(self.rcpt)
        return await self.judged(talk, begun, reply)

    async def judged(self, talk: Conversation, begun: Outcome, reply: Reply) -> Outcome:
        """What the answer to MAIL or RCPT means; the message, if the recipient was taken."""
        stand, why = judge(reply, Whose.FOREIGN)
        # In an odd state a server may put us off: that leaves open what it makes of the state, not whether it relays.
        outcome = begun._replace(stand=stand, why=why, foreign=begun.foreign or stand is not Stand.UNDECIDED)
        if stand is not Stand.TAKEN:
            return outcome
        return await self._proofs.prove(talk, outcome._replace(evidence=Evidence.E1))

    async def finish(self, talk: Conversation, begun: Outcome) -> Outcome:
        """What becomes of a DATA that was taken although no recipient was.

        The message, or with nobody to look for it an empty one.
        """
        watched = self._inquiry.canary is not None
        token = self._inquiry.token() if watched else ""
        await talk.send_body(self._inquiry.message(token) + b".\r\n" if watched else b".\r\n")
        reply = await talk.reply()
        if not reply.taken:
            return begun._replace(stand=Stand.HELD, why=f"DATA was taken, its end refused: {reply.text}")
        why = f"a message without a recipient was taken: {reply.text}"
        if not watched:
            return begun._replace(stand=Stand.UNDECIDED, why=f"{why}; there is no canary to look for it", foreign=False)
        return begun._replace(stand=Stand.HELD, evidence=Evidence.E3, token=token, why=why)
