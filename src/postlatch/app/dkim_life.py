"""The life of a signing key. Pure: new → published → active → retired → removable → gone.

``new`` is made, and its record is to be published. ``published``: all name servers of the zone have it. ``active``: it signs;
one for each domain and algorithm. ``retired``: a newer one signs, but mail with its signatures is still on its way.
``removable``: no signature of it holds any more, so its record may go; when that is gone, so is the key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from postlatch.policy.replies import rfc3339
from postlatch.store.dkim_keys import ACTIVE, NEW, PUBLISHED, REMOVABLE, RETIRED, StoredKey

SETTLE: Final = 60.0  # seconds from the first look that saw a record everywhere to the look that lets its key sign
HOUR, DAY = 3600.0, 86_400.0
WAITING: Final = frozenset({NEW, PUBLISHED})
_LETTERS: Final[Mapping[str, str]] = {"rsa": "r", "ed25519": "e"}
_TAKEN_KEYS: Final = frozenset({"v", "k", "p", "h", "s", "t", "n"})  # tags of RFC 6376 section 3.6.1


def new_selector(taken: Collection[str], algorithm: str, now: float) -> str:
    """A selector for a key made now: ``pl20261124e``; a second one of that day has a number behind."""
    plain = f"pl{datetime.fromtimestamp(now, UTC):%Y%m%d}{_LETTERS[algorithm]}"
    number, name = 1, plain
    while name in taken:
        number += 1
        name = f"{plain}{number}"
    return name


def missing(keys: Iterable[StoredKey], domain: str, algorithms: Sequence[str], states: Collection[str]) -> list[str]:
    """The algorithms of which the domain has no key in one of these states."""
    there = {key.algorithm for key in keys if key.domain == domain and key.state in states}
    return [algorithm for algorithm in algorithms if algorithm not in there]


def look_due(key: StoredKey, looked: float | None, now: float) -> bool:
    """True if the DNS is to be asked about a waiting key: each minute in its first hour, when somebody sits and waits."""
    if key.state not in WAITING:
        return False
    age = now - key.created_at
    pace = 60.0 if age < HOUR or key.state == PUBLISHED else 600.0 if age < DAY else HOUR
    return looked is None or not 0.0 <= now - looked < pace


def after_look(keys: Iterable[StoredKey], key: StoredKey, seen: bool, now: float) -> list[StoredKey]:
    """What becomes of a waiting ``key`` that was, or was not, seen on all name servers; its predecessor first."""
    if not seen:
        return [] if key.state == NEW else [key._replace(state=NEW, published_at=None)]
    if key.state == NEW:
        return [key._replace(state=PUBLISHED, published_at=now)]
    if now - (key.published_at or now) < SETTLE:
        return []
    former = [k for k in keys if (k.domain, k.algorithm, k.state) == (key.domain, key.algorithm, ACTIVE)]
    return [*(k._replace(state=RETIRED, retired_at=now) for k in former), key._replace(state=ACTIVE, active_at=now)]


def ended(keys: Iterable[StoredKey], keep: float, now: float) -> list[StoredKey]:
    """The retired keys of which no signature holds any more, as they are to be."""
    return [k._replace(state=REMOVABLE) for k in keys if k.state == RETIRED and now >= (k.retired_at or now) + keep]


def to_rotate(keys: Sequence[StoredKey], rotate: float, now: float) -> dict[str, list[str]]:
    """By domain the algorithms whose active key is older than ``rotate`` seconds, and has no successor yet."""
    waiting = {(key.domain, key.algorithm) for key in keys if key.state in WAITING}
    found: dict[str, list[str]] = {}
    for key in keys:
        old = key.state == ACTIVE and now - (key.active_at or now) >= rotate
        if old and (key.domain, key.algorithm) not in waiting:
            found.setdefault(key.domain, []).append(key.algorithm)
    return found


def problem(published: Sequence[bytes], record: str) -> str:
    """What is wrong with the TXT records at a key's name; empty if they are exactly this key."""
    if not published:
        return "has no record"
    if len(published) > 1:
        return f"has {len(published)} TXT records where there must be one"
    found, wanted = _tags(published[0]), _tags(record.encode("ascii"))
    if found.get("p") == "":
        return "says that the key is revoked"
    if found.get("v", "DKIM1") != "DKIM1" or found.get("k", "rsa") != wanted.get("k", "rsa") or found.get("p") != wanted["p"]:
        return "has another record"
    if "sha256" not in found.get("h", "sha256").split(":") or not {"*", "email"} & set(found.get("s", "*").split(":")):
        return "has a record that does not permit our signatures"
    return "has a record in test mode (t=y)" if "y" in found.get("t", "").split(":") else ""


def _tags(record: bytes) -> dict[str, str]:
    """The tags of a key record, without any white space: for comparing, not for believing."""
    found: dict[str, str] = {}
    for part in record[:16_384].decode("ascii", "replace").split(";"):
        name, equals, value = part.partition("=")
        name = name.strip()
        if equals and name in _TAKEN_KEYS and name not in found:
            found[name] = "".join(value.split())
    return found


def what_next(key: StoredKey, *, ours: bool, keep: float, rotate: float | None) -> str:
    """A sentence for people."""
    if not ours and key.state in WAITING | {ACTIVE}:
        return f"{key.domain} is not in [domains] any more: it signs nothing"
    match key.state:
        case "new":
            return "publish the record; it signs once all name servers of the zone have it"
        case "published":
            return "all name servers have the record; it signs from the next look on, in a minute"
        case "active":
            if rotate is None:
                return f"signs; to replace it: postlatch dkim rotate {key.domain}"
            return f"signs; its successor is made at {rfc3339((key.active_at or 0.0) + rotate)}"
        case "retired":
            return f"leave the record published until {rfc3339((key.retired_at or 0.0) + keep)}"
        case _:
            return "remove the record from the DNS"
