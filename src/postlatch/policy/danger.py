"""Named dangers: configurations that are refused at start, each with a sentence that says what, and what would be right.

The proof finds what the decisions would do wrong; a danger is a configuration that they would carry out faithfully.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from postlatch.policy.danger_context import Danger, DangerContext
from postlatch.policy.danger_domains import DOMAIN_CHECKS
from postlatch.policy.danger_networks import NETWORK_CHECKS
from postlatch.policy.danger_rights import RIGHT_CHECKS
from postlatch.policy.danger_server import SERVER_CHECKS
from postlatch.policy.snapshot import Snapshot

__all__ = ["CHECKS", "Danger", "DangerContext", "dangers"]

Check = Callable[[Snapshot, DangerContext], Iterator[Danger]]

CHECKS: tuple[Check, ...] = (*SERVER_CHECKS, *DOMAIN_CHECKS, *RIGHT_CHECKS, *NETWORK_CHECKS)


def dangers(snapshot: Snapshot, context: DangerContext) -> list[Danger]:
    """Every danger of a configuration, in the order of the checks; none means that it may start."""
    return [danger for check in CHECKS for danger in check(snapshot, context)]
