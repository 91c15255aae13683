"""Which rights a mask suspends, and that masks are read as they were written."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from ipaddress import ip_network

import pytest

from postlatch.app import masks
from postlatch.app.masks import Mask
from postlatch.policy.snapshot import Right

NAT = Mask("relay", "10.9.0.1", "a private address", "every client comes from one address", True, "why", 1.5)
PARTIAL = NAT._replace(everybody=False, sign="one address has the names of many clients")


def right(name: str, network: str, listener: str = "relay", masked: str = "") -> Right:
    return Right(name, (ip_network(network),), frozenset({listener}), (), owner="ops@example.com", expires=4e9, masked=masked)


RIGHTS = (
    right("covers", "10.9.0.0/24"),
    right("beside", "10.8.0.0/24"),
    right("elsewhere", "10.8.0.0/24", "other"),
    right("mapped", "::ffff:10.9.0.0/120", "other"),
    right("six", "fd00::/64"),
    right("written", "10.9.0.0/24", masked="all behind that box are ours"),
)


@pytest.mark.parametrize(
    ("found", "names"),
    [
        ([], set()),
        ([NAT], {"covers", "beside", "six", "mapped"}),
        ([PARTIAL], {"covers", "mapped"}),
        ([NAT._replace(listener="other")], {"covers", "elsewhere", "mapped"}),
        ([NAT._replace(address="fd00::1", listener="mx")], {"six"}),
    ],
)
def test_a_mask_suspends_what_believes_it_and_nothing_that_is_answered_for(found: list[Mask], names: set[str]) -> None:
    assert masks.suspended(found, RIGHTS) == names


def test_masks_are_read_as_they_were_written() -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        assert masks.load(database) == ()
        masks.save([NAT, PARTIAL])(database)
        assert masks.load(database) == (NAT, PARTIAL)
