"""The masks that were found, as they are stored, and the rights that they suspend."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

from postlatch.policy.networks import normalise
from postlatch.policy.snapshot import Right
from postlatch.store import meta
from postlatch.store.writer import Operation

_KEY = "masks"


class Mask(NamedTuple):
    """One mask. ``everybody``: no address on the listener can be believed. ``at``: seconds since 1970, UTC."""

    listener: str
    address: str
    place: str
    sign: str
    everybody: bool
    why: str
    at: float


def load(connection: sqlite3.Connection) -> tuple[Mask, ...]:
    """All that nobody has lifted."""
    return tuple(Mask(**row) for row in json.loads(meta.get(connection, _KEY) or "[]"))


def save(masks: Iterable[Mask]) -> Operation[None]:
    """An operation: these and no others."""
    return meta.put(_KEY, json.dumps([mask._asdict() for mask in masks]))


def suspended(masks: Iterable[Mask], rights: Iterable[Right]) -> frozenset[str]:
    """Names of the rights that do not hold: all of a masked listener, and those that believe a masking address anywhere.

    A right that says why in ``masked`` goes on: somebody has answered, in writing, for everyone behind that address.
    """
    found = tuple(masks)
    return frozenset(right.name for right in rights if not right.masked and any(_suspends(mask, right) for mask in found))


def _suspends(mask: Mask, right: Right) -> bool:
    if mask.everybody and mask.listener in right.listeners:
        return True
    address = ip_address(mask.address)
    return any(address in normalise(network) for network in right.networks)
