"""The rules for MAIL. To accept a sender permits nothing yet: where mail may go is decided for each recipient."""

from __future__ import annotations

from typing import Final

from postlatch.model.envelope import Destination, Role
from postlatch.model.verdict import Accept, Refuse
from postlatch.policy import replies
from postlatch.policy.credentials import credential
from postlatch.policy.facts import SenderFacts
from postlatch.policy.rules import Rule, Tightening, Unknown
from postlatch.policy.rules_party import account, authentication, limit, listener, named, right, role_of, sender_owned


def own_domain(facts: SenderFacts) -> Refuse | Unknown | None:
    """A stranger does not send as us, unless SPF says that this address may. AUDIT H01."""
    if role_of(facts) is not Role.MX or facts.sender is None:
        return None
    if facts.snapshot.classify(facts.sender.domain) is not Destination.LOCAL:
        return None
    if facts.spf == "pass" and facts.identity:
        return None
    if facts.spf == "temperror":
        return Unknown(f"SPF of {facts.sender.domain} cannot be checked now")
    why = f"{facts.sender.domain} is ours and SPF does not pass for {facts.client.address}"
    return Refuse(replies.FORGED_SENDER, "own domain", why)


def sender(facts: SenderFacts) -> Accept:
    """Nothing speaks against it. The account and the right were checked above, and are again at RCPT."""
    return Accept("sender", f"{named(facts.sender)} may send through {facts.listener}")


TIGHTENING: Final[tuple[Tightening[SenderFacts], ...]] = (
    listener,
    authentication,
    account,
    sender_owned,
    credential,
    right,
    own_domain,
    limit,
)
RULES: Final[tuple[Rule[SenderFacts, Accept], ...]] = (*TIGHTENING, sender)
