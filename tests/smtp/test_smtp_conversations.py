"""Every file in conversations/ is a conversation, played three ways that must not differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from postlatch.testing.transcript import Mode, SessionPeer, Transcript, TranscriptMismatch

FILES = sorted((Path(__file__).parent / "conversations").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_conversation_goes_as_written_however_it_is_cut(path: Path) -> None:
    transcript = Transcript.load(path)
    lines = SessionPeer(transcript.settings)
    transcript.play(lines)
    for mode in (Mode.OCTETS, Mode.PIPELINED):
        peer = SessionPeer(transcript.settings)
        transcript.play(peer, mode, lines.given())
        assert peer.history == lines.history


def test_a_transcript_that_is_not_followed_is_a_mismatch() -> None:
    transcript = Transcript.parse("S: 220 mx.example.com ESMTP Postlatch\nC: NOOP\nS: 550 5.0.0 Never\n")
    with pytest.raises(TranscriptMismatch, match=r"line 2: the server sent\n  S: 250 2.0.0 OK\n"):
        transcript.play(SessionPeer({}))


def test_an_event_that_does_not_come_is_a_mismatch() -> None:
    transcript = Transcript.parse("S: 220 mx.example.com ESMTP Postlatch\nC: QUIT\nS: 221 2.0.0 Bye\nE: Hello\n")
    with pytest.raises(TranscriptMismatch, match="no event 'Hello'"):
        transcript.play(SessionPeer({}))


def test_a_line_of_no_known_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 2"):
        Transcript.parse("C: NOOP\nX: what\n")
