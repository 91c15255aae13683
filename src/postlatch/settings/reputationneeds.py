"""Strangers can only be judged where they are seen: behind another server of ours every client is that server."""

from __future__ import annotations

from collections.abc import Iterator

from postlatch.settings.origin import Origin
from postlatch.settings.problem import Problem
from postlatch.settings.raw import sub_table


def check_reputation(origin: Origin) -> Iterator[Problem]:
    """What judges clients, without the checks of who sent their mail."""
    if sub_table(origin.data, "authentication").get("check", True) is not False:
        return
    for table, key in (("reputation", "check"), ("greylisting", "enabled")):
        if sub_table(origin.data, table).get(key) is True:
            message = "needs authentication.check: without it every client is the server before this one, which it would judge"
            yield origin.problem((table, key), message)
