"""When application passwords were last used: what is on the disk, and what is not yet."""

from __future__ import annotations

from postlatch.accounts.app_passwords import AppPasswordRecord
from postlatch.app.world import World


def last_used(world: World, one: AppPasswordRecord) -> float | None:
    """When it was last used: what is not on the disk yet, too."""
    times = filter(None, (one.last_used, world.authenticator.used.get((one.login, one.name))))
    return max(times, default=None)


def used_at(world: World) -> dict[str, float]:
    """When each application password was last used, as ``LOGIN/NAME``."""
    shown = (one for login in world.book.policy_accounts() for one in world.book.app_passwords(login))
    times = ((f"{one.login}/{one.name}", last_used(world, one)) for one in shown)
    return {name: at for name, at in times if at is not None}
