"""SPF against pyspf: script/oracle spf [--count 10000] [--seed 1]. Both see the same zone, in memory.

A difference is explained by a row of EXPLAINED, or printed with its seed and its zone. ``--show`` prints one seed's case.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, NamedTuple

from spf_cases import NOW, Case, make

from postlatch.senderauth.results import SpfResult
from postlatch.senderauth.spf.verify import check_spf
from postlatch.testing.dns import FakeResolver

pyspf: Any = import_module("spf")
RECEIVER = "mx.example.com"


class Theirs(NamedTuple):
    """What pyspf says. ``problem`` is its own account of an error."""

    result: str
    explanation: str | None
    problem: str


class Explained(NamedTuple):
    """A kind of difference: why ours is right, and how one knows it."""

    kind: str
    section: str
    applies: Callable[[Case, SpfResult, Theirs], bool]


def ours_of(case: Case) -> SpfResult:
    """Our result."""
    resolver = FakeResolver(case.zone)
    return asyncio.run(
        check_spf(resolver, client=case.client, helo=case.helo, sender=case.sender, receiver=RECEIVER, now=float(NOW))
    )


def theirs_of(case: Case, voids: int = 2) -> Theirs:
    """That of pyspf, whose DNS is the zone, and which bears so many void look-ups."""

    def look_up(name: str, kind: str, *_: object) -> list[tuple[tuple[str, str], Any]]:
        records = case.zone.get(name.lower().rstrip("."), {}).get(kind, [])
        if isinstance(records, str):
            raise pyspf.TempError(f"DNS {records} {name} {kind}")
        return [((name, kind), _data(kind, text)) for text in records]

    pyspf.DNSLookup = look_up
    pyspf.MAX_VOID_LOOKUPS = voids
    query = pyspf.query(i=str(case.client), s=case.sender, h=case.helo, receiver=RECEIVER, strict=True)
    query.t = str(NOW)
    try:
        result, _, text = query.check()
    except Exception as error:  # noqa: BLE001 - that it raises is one of its answers
        return Theirs("raises", None, f"{type(error).__name__}: {error}")
    own = text if result == "fail" and text != pyspf.EXPLANATIONS["fail"] else None
    return Theirs(result, own, text if result in {"permerror", "temperror"} else "")


def _data(kind: str, text: str) -> Any:
    if kind == "MX":
        preference, _, host = text.partition(" ")
        return int(preference), host
    return [text.encode()] if kind == "TXT" else text


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 if a difference is unexplained."""
    options = _parser().parse_args(arguments)
    if options.show is not None:
        _say(_told(make(options.show)))
        return 0
    began = time.monotonic()
    agreed: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    unexplained: list[Case] = []
    for seed in range(options.seed, options.seed + options.count):
        case = make(seed)
        ours, theirs = ours_of(case), theirs_of(case)
        if _agree(ours, theirs):
            agreed[theirs.result + (" with explanation" if theirs.explanation else "")] += 1
            continue
        row = next((row for row in EXPLAINED if row.applies(case, ours, theirs)), None)
        kinds[f"{row.kind} (RFC 7208 section {row.section})" if row else "UNEXPLAINED"] += 1
        if row is None:
            unexplained.append(case)
    _report(options.count, agreed, kinds, time.monotonic() - began)
    for case in unexplained[:10]:
        _say("\n" + _told(case))
    return 1 if unexplained else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="script/oracle spf", description="Compare SPF with pyspf on random records and zones."
    )
    parser.add_argument("--count", type=int, default=10_000, help="cases (10000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first case; the next has the next (1)")
    parser.add_argument("--show", type=int, metavar="SEED", help="print this case and both results, no more")
    return parser


def _agree(ours: SpfResult, theirs: Theirs) -> bool:
    return (ours.result, ours.explanation) == (theirs.result, theirs.explanation)


def _report(count: int, agreed: Counter[str], kinds: Counter[str], seconds: float) -> None:
    _say(f"{count:,} cases in {seconds:.0f} s: {agreed.total():,} agree, {kinds.total():,} differ")
    for name, number in agreed.most_common():
        _say(f"  {number:7,}  both {name}")
    for name, number in kinds.most_common():
        _say(f"  {number:7,}  {name}")


def _told(case: Case) -> str:
    head = f"seed {case.seed}: client {case.client}, HELO {case.helo}, MAIL FROM <{case.sender}>"
    return f"{head}\nours:   {ours_of(case)}\ntheirs: {theirs_of(case)}\n{json.dumps(case.zone)}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _led_around(case: Case, ours: SpfResult) -> bool:
    """With its zone changed so that pyspf does not meet one difference, it agrees, or differs in another way that is known."""
    if _agree(ours, theirs_of(case)):
        return True
    again = theirs_of(case, voids=1000)
    return _agree(ours, again) or any(row.applies(case, ours, again) for row in EXPLAINED)


def _many_voids(case: Case, ours: SpfResult, theirs: Theirs) -> bool:
    """Their limit of void look-ups decided: it is lifted."""
    return "Void lookup limit" in theirs.problem and _led_around(case, ours)


def _own_include(case: Case, ours: SpfResult, theirs: Theirs) -> bool:
    """A record includes itself: it does so in capitals, which pyspf does not see. (By a macro: then it is believed.)"""
    if "include has trivial recursion" not in theirs.problem or "%{" in theirs.problem:
        return "include has trivial recursion" in theirs.problem
    zone = {name: types | _capitals(name, types) for name, types in case.zone.items()}
    return zone != case.zone and _led_around(replace(case, zone=zone), ours)


def _capitals(name: str, types: dict[str, Any]) -> dict[str, Any]:
    texts = types.get("TXT")
    if not isinstance(texts, list):
        return {}
    return {"TXT": [" ".join(_capital(name, term) for term in text.split(" ")) for text in texts]}


def _capital(name: str, term: str) -> str:
    mechanism = term.lstrip("+-?~")
    own = mechanism.rstrip(".").lower() == f"include:{name}"
    return f"{term[: len(term) - len(mechanism)]}include:{name.upper()}" if own else term


def _names_of_client(case: Case, ours: SpfResult, theirs: Theirs) -> bool:
    """The look-up that failed for them is for the client's PTR, which is taken away, or for a name in it."""
    name = theirs.problem.split(" ")[-2] if theirs.result == "temperror" else ""
    if name.endswith(".arpa"):
        zone = {key: types for key, types in case.zone.items() if key != name.lower()}
        return zone != case.zone and _led_around(replace(case, zone=zone), ours)
    asked = any("ptr" in record or "%{p" in record.lower() for record in case.records)
    return asked and bool(name) and any(name in types["PTR"] for types in case.zone.values() if "PTR" in types)


def _all_exchanges(case: Case, _ours: SpfResult, theirs: Theirs) -> bool:
    """The look-up that failed for them is for the host of an MX record."""
    name = theirs.problem.split(" ")[-2] if theirs.result == "temperror" else ""
    hosts = {text.partition(" ")[2] for types in case.zone.values() for text in types.get("MX", ()) if " " in text}
    return name in hosts and any("mx" in record for record in case.records)


def _no_local_part(case: Case, _ours: SpfResult, _theirs: Theirs) -> bool:
    return case.sender.startswith("@") and "%{s" in json.dumps(case.zone).lower()


def _explained_by_ptr(case: Case, ours: SpfResult, theirs: Theirs) -> bool:
    used = any("%{p" in text.lower() for types in case.zone.values() for text in types.get("TXT", ()))
    return ours.result == theirs.result == "fail" and theirs.explanation is None and used


EXPLAINED = (
    Explained("pyspf counts void queries, the RFC void terms; without its limit they agree", "4.6.4", _many_voids),
    Explained("pyspf takes an include of the record's own domain for malformed, even behind a match", "4.6.2", _own_include),
    Explained("pyspf ends where a name of the client cannot be looked up; the RFC goes on", "5.5", _names_of_client),
    Explained(
        "pyspf counts a redirect= that is not followed",
        "6.1",
        lambda case, _ours, theirs: "Too many DNS" in theirs.problem and any("redirect=" in text for text in case.records),
    ),
    Explained(
        "pyspf reads a macro that keeps 0 parts",
        "7.3",
        lambda _case, ours, _theirs: "cannot keep 0 parts" in ours.reason,
    ),
    Explained(
        "pyspf reads a % that begins no macro, and macros with anything behind their letter",
        "7.1",
        lambda _case, ours, _theirs: "% must be followed" in ours.reason or "a macro is a letter" in ours.reason,
    ),
    Explained("pyspf leaves out the postmaster of %{s} where MAIL FROM has no local part", "4.3", _no_local_part),
    Explained("pyspf asks for all hosts of an mx before it compares; ours ends at a match", "5.4", _all_exchanges),
    Explained("pyspf gives up an explanation whose %{p} finds nothing; the RFC says unknown", "7.3", _explained_by_ptr),
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
