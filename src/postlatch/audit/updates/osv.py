"""The Python packages that Postlatch runs on, against OSV (osv.dev): ``POST /v1/querybatch``, then each fault by its name.

What leaves this machine are the names and versions of these packages. All questions together are bounded in number and time;
what was not asked for want of that is said, and is unknown.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from postlatch.audit.printable import printable
from postlatch.audit.updates.data import AdvisoryDataError, load
from postlatch.audit.updates.dependencies import Dependency, normal
from postlatch.audit.updates.values import Advisory, Item, Kind, State
from postlatch.audit.updates.versions import python
from postlatch.model.fetch import Fetcher, FetchError

SECONDS: Final = 20.0  # for one question
ALL_SECONDS: Final = 60.0  # for all of them together
MOST_ANSWER: Final = 4 * 1024 * 1024
MOST_QUERIES: Final = 500  # OSV takes 1000 in one batch
MOST_FAULTS: Final = 100
_AT_ONCE: Final = 5
_MOST_EACH: Final = 50
_MOST_PARTS: Final = 500
_SEVERITY: Final = {"CRITICAL": "critical", "HIGH": "high", "MODERATE": "medium", "MEDIUM": "medium", "LOW": "low"}
_ID: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:")


class _AnswerError(Exception):
    """An answer that cannot be used. Its text is safe to show."""


class _Fault(NamedTuple):
    """A fault as OSV tells it, for one package."""

    advisory: Advisory
    names: frozenset[str]  # its own and its aliases


async def look(
    fetcher: Fetcher,
    osv: str,
    packages: Sequence[Dependency],
    kind: Kind = Kind.DEPENDENCY,
    seconds: float = ALL_SECONDS,
) -> list[Item]:
    """One item a package. Without an answer all are unknown, with the reason."""
    asked = packages[:MOST_QUERIES]
    base = osv.rstrip("/")
    try:
        async with asyncio.timeout(seconds):
            listed = await _listed(fetcher, base, asked)
            told = await _told(fetcher, base, listed)
    except TimeoutError:
        return unasked(packages, f"OSV took more than {seconds:g} seconds.", kind)
    except (FetchError, _AnswerError) as error:
        return unasked(packages, f"OSV gave no usable answer: {printable(str(error), 300)}.", kind)
    items = [_item(kind, one, ids, told) for one, ids in zip(asked, listed, strict=True)]
    return items + unasked(packages[MOST_QUERIES:], f"More than {MOST_QUERIES} packages: not asked.", kind)


def unasked(packages: Sequence[Dependency], note: str, kind: Kind = Kind.DEPENDENCY, fix: str = "") -> list[Item]:
    """What is said where OSV was not asked, or not heard."""
    return [Item(kind, one.name, one.version, "", State.UNKNOWN, (), fix, note) for one in packages]


async def _listed(fetcher: Fetcher, base: str, packages: Sequence[Dependency]) -> list[list[str] | None]:
    """The names of the faults of each package, in order; None where OSV did not tell all of them."""
    if not packages:
        return []
    body = {"queries": [{"package": {"ecosystem": "PyPI", "name": one.name}, "version": one.version} for one in packages]}
    answer = await fetcher.post(
        f"{base}/v1/querybatch",
        json.dumps(body).encode(),
        content_type="application/json",
        timeout=SECONDS,
        limit=MOST_ANSWER,
        trusted=True,
    )
    if answer.status != 200:
        raise _AnswerError(f"status {answer.status}")
    results = _object(answer.body).get("results")
    if not isinstance(results, list) or len(results) != len(packages):
        raise _AnswerError("it has another number of results than there were questions")
    return [_ids(result) for result in results]


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = load(body)
    except AdvisoryDataError as error:
        raise _AnswerError(str(error)) from None
    if not isinstance(found, dict):
        raise _AnswerError("it is not a JSON object")
    return found


def _ids(result: object) -> list[str] | None:
    found = result.get("vulns", []) if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(found, list):
        raise _AnswerError("a result of it has another form")
    ids = [one.get("id") for one in found if isinstance(one, dict)]
    sound = [one for one in ids if isinstance(one, str) and 0 < len(one) <= 100 and set(one) <= _ID]
    if result.get("next_page_token") or len(sound) != len(found) or len(sound) > _MOST_EACH:
        return None if not sound else sound[:_MOST_EACH]
    return sound


async def _told(fetcher: Fetcher, base: str, listed: Sequence[list[str] | None]) -> dict[str, dict[str, Any]]:
    """Each fault by its name. One that cannot be fetched is missing, and is told by its name alone."""
    names = sorted({name for ids in listed for name in ids or ()})[:MOST_FAULTS]
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> dict[str, Any] | None:
        async with gate:
            try:
                answer = await fetcher.get(f"{base}/v1/vulns/{name}", timeout=SECONDS, limit=MOST_ANSWER, trusted=True)
                return _object(answer.body) if answer.status == 200 else None
            except (FetchError, _AnswerError):
                return None

    found = await asyncio.gather(*(one(name) for name in names))
    return {name: value for name, value in zip(names, found, strict=True) if value is not None}


def _item(kind: Kind, package: Dependency, ids: list[str] | None, told: dict[str, dict[str, Any]]) -> Item:
    if ids is None:
        return Item(kind, package.name, package.version, "", State.UNKNOWN, (), "", "OSV's answer has another form.")
    faults = [_fault(name, told.get(name), package) for name in ids if not _withdrawn(told.get(name))]
    advisories = _merged(faults)
    if not advisories:
        return Item(kind, package.name, package.version, "", State.CURRENT, (), "", "OSV knows of no fault.")
    fixed = [advisory.fixed for advisory in advisories]
    wanted = max((one for one in fixed if one), key=python, default="")
    fix = (
        f"pip install '{package.name}>={wanted}' && pip check"
        if wanted and all(fixed)
        else "No release mends all of these yet."
    )
    return Item(kind, package.name, package.version, wanted, State.VULNERABLE, advisories, fix, "", security=True)


def _withdrawn(fault: dict[str, Any] | None) -> bool:
    return fault is not None and bool(fault.get("withdrawn"))


def _fault(name: str, fault: dict[str, Any] | None, package: Dependency) -> _Fault:
    fault = fault or {}
    aliases = [one for one in _list(fault, "aliases") if isinstance(one, str)]
    cve = next((one for one in [name, *aliases] if one.startswith("CVE-")), name)
    summary = fault.get("summary") or fault.get("details")
    specific = fault.get("database_specific")
    severity = specific.get("severity") if isinstance(specific, dict) else None
    return _Fault(
        Advisory(
            printable(cve, 100),
            _SEVERITY.get(severity.upper(), "unknown") if isinstance(severity, str) else "unknown",
            printable(summary.splitlines()[0] if isinstance(summary, str) and summary.strip() else "No summary.", 300),
            f"https://osv.dev/vulnerability/{name}",
            _fixed(fault, package),
        ),
        frozenset([name, *(one[:100] for one in aliases)]),
    )


def _list(value: dict[str, Any], name: str) -> list[Any]:
    found = value.get(name)
    return found[:_MOST_PARTS] if isinstance(found, list) else []


def _fixed(fault: dict[str, Any], package: Dependency) -> str:
    """The oldest release above the installed one that mends it."""
    found = list[str]()
    for affected in _list(fault, "affected"):
        of = affected.get("package") if isinstance(affected, dict) else None
        if not isinstance(of, dict) or of.get("ecosystem") != "PyPI" or normal(str(of.get("name"))[:200]) != package.name:
            continue
        for one in _list(affected, "ranges"):
            if isinstance(one, dict) and one.get("type") != "GIT":
                found += [event["fixed"] for event in _list(one, "events") if _is_fix(event)]
    newer = [version for version in found if python(version) > python(package.version)]
    return printable(min(newer, key=python), 100) if newer else ""


def _is_fix(event: object) -> bool:
    """A version is only taken where it can stand in a command: a stranger wrote it."""
    fixed = event.get("fixed") if isinstance(event, dict) else None
    return (
        isinstance(fixed, str)
        and 0 < len(fixed) <= 60
        and all(one.isascii() and (one.isalnum() or one in ".!+") for one in fixed)
    )


def _merged(faults: Sequence[_Fault]) -> tuple[Advisory, ...]:
    """One for each fault: several data bases tell the same one under other names. The one that knows its severity stays."""
    kept: list[_Fault] = []
    for fault in sorted(faults, key=lambda one: (one.advisory.severity == "unknown", one.advisory.id)):
        if not any(fault.names & other.names for other in kept):
            kept.append(fault)
    return tuple(fault.advisory for fault in kept)
