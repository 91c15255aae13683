"""Verifying the journal together with its signed heads, and with those of a file from elsewhere. Everything here blocks."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from postlatch.app.world import World
from postlatch.journal.attest import attest, unsigned
from postlatch.journal.keys import HEADS_FILE, KeyProblem, PublicKey, is_untouched, keys_of_pem, known_keys, load_private
from postlatch.journal.verify import VerifyReport, verify, verify_recent
from postlatch.store.database import open_reader

_PAUSE = 0.001  # seconds after each batch of the check beside the relay's work
_JOURNALLED = 60.0  # seconds within which the event of a new key is in the journal


def verify_newest(world: World) -> VerifyReport:
    """The newest part, slowly, so that mail does not notice. KeyProblem if the heads cannot be read."""
    # The file first: a head that is signed meanwhile could name a batch behind the end that the check sees.
    content, keys = _heads_here(world.settings.data_dir)
    judged = attest(content, keys, HEADS_FILE)
    with closing(open_reader(world.settings.database)) as connection:
        report = verify_recent(connection, lambda *_: time.sleep(_PAUSE), [signed.head for signed in judged.heads])
    return report.with_more((), judged.failures)


def verify_whole(world: World, heads: Path | None, public: Path | None) -> VerifyReport:
    """The whole journal with the heads that were signed here, and those in a file from elsewhere.

    ``public`` is a PEM file: then only its keys count. ValueError if a file that was named cannot be used.
    """
    now, folder = world.now(), world.settings.data_dir
    findings, failures = _key_at_hand(folder), list[str]()
    content, own = b"", dict[str, PublicKey]()
    try:
        content, own = _heads_here(folder)
    except KeyProblem as error:
        failures.append(f"{error}.")
    trusted = own if public is None else _given_keys(public)
    here = attest(content, trusted, HEADS_FILE)
    known = list(here.heads)
    if heads is not None:
        there = attest(_content(heads), trusted, heads.name)
        known += there.heads
        findings += there.findings
        failures += there.failures
    if heads is not None and public is None:
        findings.append("The signatures were checked with this machine's own list of keys: name yours with --public-key.")
    # An own connection, in autocommit: this may take longer than a read may.
    with closing(open_reader(world.settings.database)) as connection:
        report = verify(connection, heads=[signed.head for signed in known])
        findings += [*here.findings, *unsigned(connection, here.heads, now)]
    return report.with_more(findings, [*failures, *here.failures, *_unjournalled(own, report, now)])


def _key_at_hand(folder: Path) -> list[str]:
    """A finding if nothing can be signed now."""
    if is_untouched(folder):
        return ["No key signs heads yet: the relay makes it when it starts."]
    try:
        load_private(folder)
    except KeyProblem as error:
        return [f"Heads are not signed now: {error}."]
    return []


def _heads_here(folder: Path) -> tuple[bytes, dict[str, PublicKey]]:
    path = folder / HEADS_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = b""
    except OSError as error:
        raise KeyProblem(f"{path} cannot be read ({error.strerror})") from None
    return content, known_keys(folder)


def _unjournalled(keys: dict[str, PublicKey], report: VerifyReport, now: float) -> list[str]:
    """Keys that no event tells of. The event of an old one may be pruned."""
    begin = report.begin
    return [
        f"The key {key.name} was made here, and no event says so."
        for key in keys.values()
        if key.name not in report.keyed and begin is not None and begin <= key.since < now - _JOURNALLED
    ]


def _given_keys(path: Path) -> dict[str, PublicKey]:
    try:
        return keys_of_pem(_content(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}; it should be what `postlatch journal key` prints") from None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read by the relay's user ({error.strerror})") from None
