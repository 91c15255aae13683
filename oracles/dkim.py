"""DKIM against dkimpy and OpenDKIM: script/oracle dkim [--count 10000] [--seed 1] [--only dkimpy].

Of each seed three messages: signed here, signed by dkimpy, and signed by hand with unusual tags; half of the first two are
then changed. Both sides say which signatures pass. OpenDKIM, where it is installed, gets as many: signed here and checked by
it, and the reverse. A difference is explained by a row of a table, or printed with its seed. ``--show`` prints one seed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from dkim_cases import CANONICALISATIONS, DOMAIN, Case, changed, keys, pem, plain, signed_by_hand, signed_by_us
from dkim_differences import DKIMPY, OPENDKIM, Explained

from postlatch.senderauth.dkim.verify import Verifier
from postlatch.senderauth.results import DkimResult, Result
from postlatch.testing.dns import FakeResolver
from postlatch.testing.peers.opendkim import OpenDkim

dkimpy: Any = import_module("dkim")
_AT_ONCE = 500


class Verdict(NamedTuple):
    """Whether each signature passes, from the top, and what was said of it."""

    passes: tuple[bool, ...]
    words: str


def ours_of(case: Case) -> Verdict:
    """What we say."""
    results = asyncio.run(_check(case))
    return Verdict(tuple(found.result is Result.PASS for found in results), "; ".join(map(_said, results)))


async def _check(case: Case) -> tuple[DkimResult, ...]:
    resolver = FakeResolver({name: {"TXT": [record]} for name, record in keys().records.items()})
    verifier = Verifier(case.header, now=time.time())
    verifier.feed(case.body)
    return await verifier.finish(resolver)


def _said(found: DkimResult) -> str:
    return f"{found.result}: {found.reason}"


def dkimpy_of(case: Case) -> Verdict:
    """What dkimpy says: of each signature, or of none where it cannot read the message."""
    records = {name: record.encode() for name, record in keys().records.items()}

    def look_up(name: bytes | str, **_: object) -> bytes:
        text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
        return records.get(text.lower().rstrip("."), b"")

    passes: list[bool] = []
    words: list[str] = []
    try:
        count = len([1 for name, _ in dkimpy.DKIM(case.message).headers if name.lower() == b"dkim-signature"])
    except Exception as error:  # noqa: BLE001 - that it raises is one of its answers
        return Verdict((), f"{type(error).__name__}: {error}")
    for index in range(count):
        try:
            passes.append(bool(dkimpy.DKIM(case.message).verify(index, dnsfunc=look_up)))
            words.append("verified" if passes[-1] else "did not verify")
        except Exception as error:  # noqa: BLE001 - as above
            passes.append(False)
            words.append(f"{type(error).__name__}: {error}")
    return Verdict(tuple(passes), "; ".join(words))


def signed_by_dkimpy(seed: int) -> Case | None:
    """None where it refuses to sign."""
    chance = random.Random(f"theirs{seed}")  # noqa: S311 - no secret
    message = plain(chance)
    key = chance.choice((keys().ed25519, keys().rsa))
    secret = pem(key)
    if key.algorithm == "ed25519":
        secret = b64encode(key.private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    else:
        secret = key.private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    canon = chance.choice(CANONICALISATIONS)
    names = [b"from", *chance.sample([b"to", b"subject", b"date", b"from", b"cc", b"x-any", b"sender"], chance.randrange(5))]
    try:
        field = dkimpy.DKIM(message, signature_algorithm=f"{key.algorithm}-sha256".encode()).sign(
            key.selector.encode(),
            DOMAIN.encode(),
            secret,
            identity=chance.choice((None, b"alice@example.com", b"@sub.example.com")),
            canonicalize=tuple(part.encode() for part in canon.split("/")),
            include_headers=names if chance.random() < 0.7 else None,
        )
    except dkimpy.DKIMException:
        return None
    return changed(Case(seed, f"signed by dkimpy {canon}", field + message), chance)


def cases_of(seed: int) -> Iterable[Case]:
    """The three of this seed."""
    yield signed_by_us(seed, time.time())
    theirs = signed_by_dkimpy(seed)
    if theirs is not None:
        yield theirs
    yield signed_by_hand(seed, time.time())


class Count:
    """What came of a comparison."""

    def __init__(self, name: str, table: Sequence[Explained]) -> None:
        self._name, self._table = name, table
        self._agreed: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._began = time.monotonic()
        self.unexplained: list[tuple[Case, Verdict, Verdict]] = []

    def add(self, case: Case, ours: Verdict, theirs: Verdict) -> None:
        """One more message."""
        broken = "changed" not in case and "hand" not in case.made and not all((*ours.passes, *theirs.passes))
        if ours.passes == theirs.passes and not broken:
            kind = case.made.split(",")[0].split(" [")[0]
            self._agreed[f"{kind}: both {'pass' if any(ours.passes) else 'do not pass'}"] += 1
            return
        row = next((row for row in self._table if row.applies(case, ours.words, theirs.words)), None)
        self._kinds[f"{row.kind} ({row.section})" if row else "UNEXPLAINED"] += 1
        if row is None:
            self.unexplained.append((case, ours, theirs))

    def report(self) -> None:
        """Print it."""
        total, seconds = self._agreed.total() + self._kinds.total(), time.monotonic() - self._began
        agree, differ = self._agreed.total(), self._kinds.total()
        _say(f"{self._name}: {total:,} messages in {seconds:.0f} s: {agree:,} agree, {differ:,} differ")
        for counter in (self._agreed, self._kinds):
            for name, number in counter.most_common():
                _say(f"  {number:7,}  {name}")
        for case, ours, theirs in self.unexplained[:10]:
            _say(f"\nseed {case.seed}, {case.made}\nours:   {ours}\ntheirs: {theirs}\n{case.message!r}")


def compare_with_dkimpy(seeds: Iterable[int]) -> Count:
    """All three of each seed."""
    count = Count(f"dkimpy {_version()}", DKIMPY)
    for seed in seeds:
        for case in cases_of(seed):
            count.add(case, ours_of(case), dkimpy_of(case))
    count.report()
    return count


def _version() -> str:
    return metadata.version("dkimpy")


def compare_with_opendkim(seeds: range) -> Count:
    """Signed here and checked there, and signed there and checked here."""
    count = Count("OpenDKIM", OPENDKIM)
    with tempfile.TemporaryDirectory(prefix="postlatch-oracle-") as name:
        peer = OpenDkim(Path(name))
        for start in range(seeds.start, seeds.stop, _AT_ONCE):
            some = range(start, min(start + _AT_ONCE, seeds.stop))
            cases = [signed_by_us(seed, time.time(), strict=True) for seed in some]
            for index, (algorithm, canon) in enumerate(_WAYS):
                cases += _signed_by_opendkim(peer, some[index :: len(_WAYS)], algorithm, canon)
            for case, words in zip(cases, peer.verify([case.message for case in cases], keys().records), strict=True):
                passes = tuple(word == "pass" for word in words if word != "none")
                count.add(case, ours_of(case), Verdict(passes, ", ".join(words)))
    count.report()
    return count


# Ed25519 over simple headers is left out: OpenDKIM 2.11.0 itself does not verify what it signs so.
_WAYS = (
    ("ed25519", "relaxed/relaxed"),
    ("ed25519", "relaxed/simple"),
    *(("rsa", canonicalisation) for canonicalisation in CANONICALISATIONS),
)


def _signed_by_opendkim(peer: OpenDkim, seeds: Sequence[int], algorithm: str, canon: str) -> list[Case]:
    key = keys().ed25519 if algorithm == "ed25519" else keys().rsa
    chances = [random.Random(f"opendkim{seed}") for seed in seeds]  # noqa: S311 - no secret
    messages = [plain(chance, strict=True) for chance in chances]
    fields = peer.sign(messages, DOMAIN, key.selector, pem(key), algorithm, canon)
    cases = [
        Case(seed, f"signed by OpenDKIM {algorithm} {canon}", field + message)
        for seed, field, message in zip(seeds, fields, messages, strict=True)
    ]
    return [changed(case, chance, strict=True) for case, chance in zip(cases, chances, strict=True)]


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 if a difference is unexplained."""
    options = _parser().parse_args(arguments)
    if options.show is not None:
        for case in cases_of(options.show):
            _say(f"{case.made}\nours:   {ours_of(case)}\ndkimpy: {dkimpy_of(case)}\n{case.message!r}\n")
        return 0
    seeds = range(options.seed, options.seed + options.count)
    counts = [compare_with_dkimpy(seeds)] if options.only != "opendkim" else []
    if options.only == "dkimpy":
        _say("OpenDKIM: left out")
    elif shutil.which("opendkim", path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
        _say("OpenDKIM: left out, it is not installed (Debian package opendkim)")
    else:
        counts.append(compare_with_opendkim(seeds))
    return 1 if any(count.unexplained for count in counts) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="script/oracle dkim", description="Compare DKIM with dkimpy and OpenDKIM.")
    parser.add_argument("--count", type=int, default=10_000, help="seeds; each is three messages (10000)")
    parser.add_argument("--seed", type=int, default=1, help="the first one (1)")
    parser.add_argument("--show", type=int, metavar="SEED", help="print the messages of this seed and all results, no more")
    parser.add_argument("--only", choices=("dkimpy", "opendkim"), help="compare with this one alone")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
