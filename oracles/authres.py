"""Authentication-Results against the authres library: script/oracle authres [--count 10000] [--seed 1].

Odd seeds: a field that we write, which the library must read as it was meant. Even seeds: a field that somebody wrote, which we
must remove where the library reads our name in it. A difference is explained by a row of EXPLAINED, or printed with its seed.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from postlatch.senderauth.authres import field, strip
from postlatch.senderauth.results import ArcResult, Authentication, Disposition, DkimResult, DmarcResult, Result, SpfResult

library: Any = import_module("authres")
OURS = "mx.example.com"
_PIECES = ("example.org", "a", "A1", "-", ".", "@", "=", "/", '"', "\\", " ", "(", ")", ";", "x" * 40, "+", "_")


class Forged(NamedTuple):
    """A field that somebody wrote; ``head`` is what stands before the results, ``read`` the name that the library sees.

    ``read`` is None if it cannot read the field.
    """

    text: str
    head: str
    removed: bool
    read: str | None
    problem: str


class Explained(NamedTuple):
    """A kind of difference: why ours is right, and how one knows it."""

    kind: str
    applies: Callable[[Forged], bool]


def _names_us(case: Forged) -> bool:
    """Our name as a word before the results, in a comment or not, with quoted pairs or not."""
    head = case.head.lower().replace("\\", "")
    return re.search(r"(?<![a-z0-9.-])mx\.example\.com(?![a-z0-9-]|\.[a-z0-9])", head) is not None


EXPLAINED = (
    Explained(
        "RFC 8601 section 5: the name is not ours, but ours stands in a comment before the results, where readers may disagree",
        lambda case: case.removed and case.read is not None and _names_us(case),
    ),
    Explained(
        "RFC 8601 section 2.2: a name with a slash or an equals sign is no token, and not quoted: it is not in good form",
        lambda case: case.removed and case.read is not None and bool({"/", "="} & set(case.read)),
    ),
    Explained(
        "RFC 8601 section 2.2: a name of somebody else in good form is left for the sake of signatures, whatever is behind it",
        lambda case: not case.removed and case.read is None and not _names_us(case),
    ),
)
LIMIT = (
    "RFC 8601 section 2.2 and RFC 5322 section 3.2.4: the library drops a quoted value that is not the last of its result, and "
    "leaves the backslashes in it"
)


# What we write


def written(chance: random.Random) -> tuple[bytes, list[tuple[str, str, dict[str, str]]]]:
    """A field, and what it is meant to say."""
    spf = SpfResult(chance.choice(list(Result)), _text(chance), chance.choice(["mfrom", "helo"]))
    dkim = tuple(_signature(chance) for _ in range(chance.randrange(4)))
    arc = ArcResult(chance.choice([Result.NONE, Result.PASS]), 1, "", ("arc.example",))
    dmarc = DmarcResult(
        chance.choice([Result.PASS, Result.FAIL, Result.NONE]),
        Disposition.NONE,
        _text(chance),
        "example.org",
        spf_aligned=False,
        dkim_aligned=False,
        reason="",
        policy=chance.choice(list(Disposition)),
    )
    meant = [("spf", spf.result.value, {"smtp.helo" if spf.scope == "helo" else "smtp.mailfrom": spf.domain})]
    meant += [("dkim", one.result.value, _properties(one)) for one in dkim] or [("dkim", "none", {})]
    meant += [("arc", arc.result.value, {})]
    meant += [("dmarc", dmarc.result.value, {"header.from": dmarc.from_domain, "policy.dmarc": dmarc.policy.value})]
    return field(OURS, Authentication(spf, dkim, arc, dmarc)), meant


def _signature(chance: random.Random) -> DkimResult:
    return DkimResult(
        chance.choice(list(Result)),
        _text(chance),
        _text(chance),
        chance.choice(["rsa-sha256", "ed25519-sha256"]),
        _text(chance),
        identity=chance.choice(["@example.org", "a.b@x.example", _text(chance)]),
        signature=_text(chance)[:16],
    )


def _properties(one: DkimResult) -> dict[str, str]:
    return {
        "header.d": one.domain,
        "header.i": one.identity,
        "header.s": one.selector,
        "header.a": one.algorithm,
        "header.b": one.signature,
    }


def _text(chance: random.Random) -> str:
    if chance.random() < 0.9:
        return chance.choice(["example.org", "mail.example.org", "s1", "xn--bcher-kva.example"])
    return "".join(chance.choice(_PIECES) for _ in range(chance.randint(1, 6)))


def judge_reading(raw: bytes, meant: list[tuple[str, str, dict[str, str]]]) -> tuple[str, str]:
    """How what the library reads relates to what was meant: ``same``, its known limit, or ``""`` with what it read."""
    try:
        header = library.AuthenticationResultsHeader.parse(raw.decode("ascii").removesuffix("\r\n"))
    except Exception as error:  # noqa: BLE001 - that it raises is one of its answers
        return "", f"{type(error).__name__}: {error}"
    read = [
        (one.method, one.result, {f"{p.type}.{p.name}": str(p.value or "") for p in one.properties}) for one in header.results
    ]
    if header.authserv_id == OURS and read == meant:
        return "same", ""
    if header.authserv_id == OURS and len(read) == len(meant) and all(map(_reads_less, read, meant)):
        return LIMIT, ""
    return "", f"{header.authserv_id}: {read}"


def _reads_less(read: tuple[str, str, dict[str, str]], meant: tuple[str, str, dict[str, str]]) -> bool:
    """The same result; of the properties some, with the values that were meant."""
    values = {name: re.sub(r"\\(.)", r"\1", value) for name, value in read[2].items()}
    return read[:2] == meant[:2] and values.items() <= meant[2].items()


# What others write


def forged(chance: random.Random) -> Forged:
    """A field by somebody, in a form that is more or less right."""
    name = chance.choice([OURS, OURS.upper(), "Mx.Example.Com", "other.example", "smx.example.com", "mx.example.com.evil.test"])
    if chance.random() < 0.3:
        name = '"' + "".join(f"\\{c}" if chance.random() < 0.1 else c for c in name) + '"'
    head = _cfws(chance) + name + _cfws(chance)
    if chance.random() < 0.2:
        head += " 1" + _cfws(chance)
    if chance.random() < 0.1:
        head += chance.choice(['"', "(", ")", "=", "/", " x", ","])
    rest = chance.choice(["; none", "; spf=pass smtp.mailfrom=a.example", "; dkim=pass header.d=mx.example.com", "; spf=", ""])
    text = f"Authentication-Results:{head}{rest}"
    _, removed = strip(text.encode() + b"\r\n", OURS)
    try:
        read = library.AuthenticationResultsHeader.parse(text).authserv_id
    except Exception as error:  # noqa: BLE001 - as above
        return Forged(text, head, bool(removed), None, f"{type(error).__name__}: {error}")
    return Forged(text, head, bool(removed), str(read), "")


def _cfws(chance: random.Random) -> str:
    parts = (" ", " ", "\t", "\r\n ", " (c) ", "(a (b) c)", "(\\))", f"({OURS})", "(x;y)", "")
    return "".join(chance.choice(parts) for _ in range(chance.randrange(3)))


def agrees(case: Forged) -> bool:
    """Ours is removed and that of others stays; what the library cannot read is removed as well."""
    return case.removed == (case.read is None or case.read.strip().lower() == OURS)


# The command


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 if a difference is unexplained."""
    options = _parser().parse_args(arguments)
    began = time.monotonic()
    agreed: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    unexplained: list[str] = []
    for seed in range(options.seed, options.seed + options.count):
        chance = random.Random(seed)  # noqa: S311 - cases, not secrets
        if seed % 2:
            raw, meant = written(chance)
            kind, problem = judge_reading(raw, meant)
            if kind == "same":
                agreed["read as it was meant"] += 1
            elif kind:
                kinds[kind] += 1
            else:
                unexplained.append(f"seed {seed}: {raw!r}\nmeant: {meant}\ntheirs: {problem}")
            continue
        case = forged(chance)
        if agrees(case):
            agreed["removed" if case.removed else "left"] += 1
            continue
        row = next((row for row in EXPLAINED if row.applies(case)), None)
        if row is None:
            unexplained.append(f"seed {seed}: {case}")
        else:
            kinds[row.kind] += 1
    _report(options.count, agreed, kinds, unexplained, time.monotonic() - began)
    return 1 if unexplained else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="script/oracle authres", description="Compare Authentication-Results with authres.")
    parser.add_argument("--count", type=int, default=10_000, help="cases (10000)")
    parser.add_argument("--seed", type=int, default=1, help="of the first case; the next has the next (1)")
    return parser


def _report(count: int, agreed: Counter[str], kinds: Counter[str], unexplained: list[str], seconds: float) -> None:
    lines = [f"{count:,} cases in {seconds:.0f} s: {agreed.total():,} agree, {count - agreed.total():,} differ"]
    lines += [f"  {number:7,}  {name}" for name, number in (*agreed.most_common(), *kinds.most_common()) if number]
    lines += [f"  {len(unexplained):7,}  UNEXPLAINED"] if unexplained else []
    sys.stdout.write("\n".join([*lines, *unexplained[:10]]) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
