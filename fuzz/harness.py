"""What every target has in common: it runs under atheris, writes its seeds, or is imported by a test without either."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

UNDER_ATHERIS = os.environ.get("POSTLATCH_FUZZ") == "1"


def instrumented() -> AbstractContextManager[Any]:
    """Imports of Postlatch within are measured for coverage, if this process fuzzes."""
    if not UNDER_ATHERIS:
        return nullcontext()
    # Only in the fuzzers' own environment, and without types.
    atheris: Any = import_module("atheris")
    context: AbstractContextManager[Any] = atheris.instrument_imports(include=["postlatch"])
    return context


def run(one_input: Callable[[bytes], None], seeds: Callable[[], Iterable[bytes]]) -> None:
    """The main program of a target: ``--seeds FOLDER`` writes the seeds, anything else is for libFuzzer."""
    if sys.argv[1:2] == ["--seeds"]:
        folder = Path(sys.argv[2])
        folder.mkdir(parents=True, exist_ok=True)
        for seed in seeds():
            (folder / sha256(seed).hexdigest()[:40]).write_bytes(seed)
        return
    atheris: Any = import_module("atheris")
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


class Bits:
    """Decisions out of the first octets of an input, so that the rest reads as what a peer sent."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def take(self, bits: int) -> int:
        """The next number of so many bits; 0 once they are used up."""
        value = self._value & ((1 << bits) - 1)
        self._value >>= bits
        return value


def pieces(data: bytes, bits: Bits) -> list[bytes]:
    """``data`` whole, octet by octet, or cut in up to eight places."""
    kind = bits.take(2)
    if kind == 0:
        return [data]
    if kind == 1 and len(data) <= 2000:
        return [data[i : i + 1] for i in range(len(data))]
    places = sorted({bits.take(12) % (len(data) + 1) for _ in range(8)})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
