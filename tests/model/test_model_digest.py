"""The digest is SHA-256 whatever the length."""

from __future__ import annotations

import hashlib

import pytest

from postlatch.model.digest import sha256


@pytest.mark.parametrize("size", [0, 1, 2046, 2047, 2048, 4094, 4095, 32_768, 32_769, 100_000])
def test_a_digest_is_the_same_however_it_is_computed(size: int) -> None:
    data = (bytes(range(256)) * (size // 256 + 1))[:size]
    assert sha256(data) == hashlib.sha256(data).digest()
