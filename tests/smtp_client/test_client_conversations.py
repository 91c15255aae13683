"""Whole conversations, from files: every octet sent and every event told, however the server's octets arrive."""

from __future__ import annotations

from pathlib import Path

import pytest
from client_script import Feed, feed_octets, feed_whole, play

CONVERSATIONS = sorted((Path(__file__).parent / "conversations").glob("*.txt"))


@pytest.mark.parametrize("feed", [feed_whole, feed_octets], ids=["whole", "octets"])
@pytest.mark.parametrize("path", CONVERSATIONS, ids=lambda path: path.stem)
def test_the_client_says_and_tells_exactly_what_the_file_says(path: Path, feed: Feed) -> None:
    play(path, feed)
