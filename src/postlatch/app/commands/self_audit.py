"""The relay's audit of itself, by command: the latest result, or a new one. Whom to ask is never an argument."""

from __future__ import annotations

from typing import Any

from postlatch.app.answer import BAD_NEWS, GOOD, UNDECIDED, Answer, CommandError
from postlatch.app.world import World

_STATUS = {"closed": GOOD, "inconclusive": UNDECIDED, "failed": UNDECIDED, "": UNDECIDED}


async def audit_self(world: World, arguments: dict[str, Any]) -> Answer:
    """With ``now`` a new one. Status 0: all closed; 1: one is not; 3: it is not known."""
    if world.relay is None:
        raise CommandError("the self-audit needs the running relay")
    audit = world.relay.self_audit
    await audit.begin()
    latest = await audit.audit() if arguments.get("now") else audit.latest
    if latest is None:
        advice = "no audit was made yet: ask for one with --now"
        latest = {"at": None, "seconds": 0, "verdict": "", "why": advice, "helo": "", "addresses": [], "left_out": []}
    status = _STATUS.get(latest["verdict"], BAD_NEWS)
    return Answer(status, {"schema": "postlatch.audit.self/1", **latest})
