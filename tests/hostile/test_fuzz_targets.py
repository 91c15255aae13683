"""The fuzzers' targets, without the fuzzer: every seed, and some thousand simple mutations of them. So they cannot rot."""

from __future__ import annotations

import importlib
import random
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

FUZZ = Path(__file__).resolve().parents[2] / "fuzz"
sys.path.append(str(FUZZ))

TARGETS = tuple(sorted(path.stem for path in FUZZ.glob("fuzz_*.py")))
MUTATIONS = 150
_INSERTS = (b"\r", b"\n", b"\0", b"\r\n", b".", b"<", b">", b'"', b"\xc3\xa9", b"(", b" ", b"\xff", b"9" * 20)


def parts_of(target: str) -> tuple[Callable[[bytes], None], Callable[[], Iterable[bytes]]]:
    module = importlib.import_module(target)
    return module.one_input, module.seeds


@pytest.mark.parametrize("target", TARGETS)
def test_every_seed_of_the_fuzzer_is_borne(target: str) -> None:
    one_input, seeds = parts_of(target)
    tried = list(seeds())
    assert len(tried) == len(set(tried)) > 10
    one_input(b"")
    for seed in tried:
        one_input(seed)


@pytest.mark.parametrize("target", TARGETS)
def test_simple_mutations_of_the_seeds_are_borne(target: str) -> None:
    one_input, seeds = parts_of(target)
    tried, chance = sorted(seeds()), random.Random(target)
    for _ in range(MUTATIONS):
        one_input(mutated(chance.choice(tried), tried, chance))


def mutated(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(data) + 1)
        other = chance.choice(others)
        start = chance.randrange(len(other) + 1)
        new = chance.choice((bytes((chance.randrange(256),)), chance.choice(_INSERTS), other[start : start + 40]))
        data = data[:place] + new + data[place + chance.choice((0, 0, 1, 8)) :]
    return data


def test_the_command_knows_every_target() -> None:
    assert {f"fuzz_{name}" for name in importlib.import_module("fuzz").TARGETS} == set(TARGETS)
