"""Postlatch, and Postfix with Dovecot, as submission servers for one account whose password has the same hash."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from argon2 import PasswordHasher

from bench.figures import OURS, THEIRS
from bench.servers import SENDER, Postlatch, postfix, submission_settings
from postlatch.accounts.passwords import HashSettings
from postlatch.testing.peers.sasl import DovecotSasl, dovecot_has_sqlite
from postlatch.testing.running import PASSWORD

LOGINS_AT_ONCE = 16  # of one client: beyond, Postlatch answers 454 rather than let it queue for hashes


def dovecot_hash(password: str = PASSWORD) -> str:
    """An argon2id hash as Postlatch makes it, in Dovecot's notation."""
    cost = HashSettings()
    hasher = PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory, parallelism=cost.lanes)
    return "{ARGON2ID}" + hasher.hash(password)


def start_ours(stack: ExitStack, folder: Path, next_hop: int, *, cache: bool) -> int:
    """The port of Postlatch's submission listener."""
    relay = stack.enter_context(Postlatch(folder / OURS, next_hop=next_hop, cache=300 if cache else 0))
    relay.add_account(SENDER, PASSWORD)
    return relay.port("submission")


def start_theirs(stack: ExitStack, folder: Path, next_hop: int, *, workers: bool = True, cache: bool = False) -> int:
    """The port of a Postfix that asks a Dovecot; ``workers`` as far as Dovecot's SQLite driver is there."""
    sasl = DovecotSasl(
        folder / "dovecot", {SENDER: dovecot_hash()}, workers=workers and dovecot_has_sqlite(), cache="10M" if cache else "0"
    )
    stack.enter_context(sasl)
    settings = submission_settings(sasl.socket, folder / "certificate")
    return stack.enter_context(postfix(folder / THEIRS, next_hop, settings)).port
