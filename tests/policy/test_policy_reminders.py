"""Rights that end or are not used: told once each, at the right moment, and not again after a restart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from policy_samples import NOW, SNAPSHOT, Case, mail, rcpt, right, snapshot

from postlatch.policy.reminders import DAY, Permission, Remembered, due, is_unused, permissions
from postlatch.policy.sending import Delegation

LENT = Delegation("alice@example.com", "office@example.com", "ops@example.com", NOW + 30 * DAY)
ONE = Permission("right", "printers", "ops@example.com", NOW + 30 * DAY, NOW)
Known = dict[tuple[str, str], Remembered]


def look(known: Known, now: float, *held: Permission) -> list[int | None]:
    """One look; what is told, and ``known`` as the database would hold it."""
    found = due(held, known, now)
    known |= {(row.kind, row.name): row for row in found.changed}
    for key in found.gone:
        del known[key]
    return [reminder.days for reminder in found.reminders]


def test_each_mark_is_told_once_at_its_second() -> None:
    known: Known = {}
    end = ONE.expires
    assert look(known, end - 14 * DAY - 1, ONE) == []
    assert look(known, end - 14 * DAY, ONE) == [14]
    assert look(known, end - 14 * DAY + 60, ONE) == []
    assert look(known, end - 3 * DAY - 1, ONE) == []
    assert look(dict(known), end - 3 * DAY, ONE) == [3]
    assert look(known, end - 3 * DAY, ONE) == [3]
    assert look(known, end - DAY, ONE) == [1]
    assert look(known, end - 1, ONE) == []
    assert look(known, end, ONE) == []


def test_who_was_down_is_told_of_the_nearest_mark_alone() -> None:
    known: Known = {}
    assert look(known, ONE.expires - 2 * DAY, ONE) == [3]
    assert look(known, ONE.expires - 2 * DAY + 60, ONE) == []
    assert look({}, ONE.expires + 1, ONE) == []


def test_a_renewed_right_is_reminded_of_anew_and_a_removed_one_forgotten() -> None:
    known: Known = {}
    assert look(known, ONE.expires - DAY, ONE) == [1]
    longer = ONE._replace(expires=ONE.expires + 60 * DAY)
    assert look(known, ONE.expires, longer) == []
    assert look(known, longer.expires - DAY, longer) == [1]
    assert look(known, longer.expires) == []
    assert known == {}


def test_unused_for_ninety_days_is_told_once_in_ninety_days() -> None:
    known: Known = {}
    kept = ONE._replace(expires=NOW + 1000 * DAY, used=None)
    assert look(known, NOW, kept) == []
    assert look(known, NOW + 90 * DAY - 1, kept) == []
    assert look(known, NOW + 90 * DAY, kept) == [None]
    assert look(known, NOW + 91 * DAY, kept) == []
    used = kept._replace(used=NOW + 92 * DAY)
    assert look(known, NOW + 181 * DAY, used) == []
    assert look(known, NOW + 182 * DAY, used) == [None]
    assert not is_unused(used, NOW, used.expires)


def test_rights_relay_domains_and_delegations_are_watched() -> None:
    snap = replace(SNAPSHOT, delegations=(LENT,))
    found = {one.key: one for one in permissions(snap, {("right", "printers"): 5.0})}
    assert found["right", "printers"].used == 5.0
    assert found["relay domain", "branch.example"].owner == "ops@example.com"
    assert found["delegation", "alice@example.com as office@example.com"].expires == LENT.expires
    [reminder] = due([found["delegation", LENT.name]], {}, LENT.expires - DAY).reminders
    assert (reminder.permission.key, reminder.days) == (("delegation", "alice@example.com as office@example.com"), 1)


@pytest.mark.parametrize(("seconds", "holds"), [(-1.0, True), (-0.001, True), (0.0, False), (1.0, False)])
def test_a_right_and_a_relay_domain_stop_at_their_second(seconds: float, holds: bool) -> None:
    ending = snapshot(rights=[right("brief", ["192.0.2.9/32"], expires=NOW)])
    case: Case = {"client": "192.0.2.9", "snap": ending, "now": NOW + seconds}
    assert (mail("relay", **case) == "ok") == holds
    assert rcpt("relay", "x@elsewhere.example", **case).startswith("foreign NETWORK brief") == holds
    expires = SNAPSHOT.relay_domains["listed.example"].expires
    relayed = rcpt("mx", "dave@listed.example", now=expires + seconds)
    assert relayed == ("relay RELAY_DOMAIN listed.example" if holds else "550 5.7.1 route expired")
