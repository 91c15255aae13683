"""What the relay tells people of its limits: who is near one, whose mail is held, and which counts were lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postlatch.server.limit_news import LimitNews

if TYPE_CHECKING:
    from postlatch.app.relay import Relay

_SHOWN = 5


def watch_limits(relay: Relay) -> None:
    """Begin to tell, with what was lost before this start."""
    relay.services.limit_news = LimitNews(relay.record, relay.notices.alert)
    lost = relay.world.lost_counts
    if lost:
        named = ", ".join(ascii(key) for key in lost[:_SHOWN]) + (" and more" if len(lost) > _SHOWN else "")
        relay.notices.alert(
            "counts of limits could not be read and begin at nothing",
            {"why": f'{len(lost)} of them: {named}; the limits with when_unknown = "defer" wait: see postlatch limits reset'},
        )
