"""Authentication-Results: what claims our name goes, all else stays bit for bit, and what we write is one field.

Input: one octet of decisions, then a header block; its octets are also all the texts of a result that is written.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from harness import Bits, instrumented, run

with instrumented():
    from postlatch.senderauth.authres import field, received_spf, strip
    from postlatch.senderauth.results import ArcResult, Authentication, Disposition, DkimResult, DmarcResult, Result, SpfResult

SLOW = 2.0  # seconds under instrumentation, for at most 8 KiB
OURS = "mx.example.com"
_RESULTS = tuple(Result)


def one_input(data: bytes) -> None:
    """One input."""
    bits, block = Bits(data[:1]), data[1:]
    began = time.thread_time()
    stripped(block)
    stripped(b"Authentication-Results:" + block.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n")
    written(block.decode("utf-8", "replace"), _RESULTS[bits.take(3)])
    assert time.thread_time() - began < SLOW


def stripped(block: bytes) -> None:
    """Whole lines go, once, and never what does not claim to be such a field."""
    left, removed = strip(block, OURS)
    assert (left == block) == (removed == 0)
    assert strip(left, OURS) == (left, 0)
    lines = iter(block.splitlines(keepends=True))
    assert all(line in lines for line in left.splitlines(keepends=True))
    own = b"Authentication-Results: mx.example.com; spf=pass\r\n"
    assert strip(own + left, OURS)[1] >= 1
    if b"authentication-results" not in block.lower():
        assert removed == 0


def written(text: str, result: Result) -> None:
    """One field, which is ours."""
    spf = SpfResult(result, text, "mfrom", mechanism=text, reason=text)
    dkim = DkimResult(result, text, text[1:], text[2:9], text[3:], text[4:], text[5:20])
    dmarc = DmarcResult(result, Disposition.NONE, text, text, spf_aligned=False, dkim_aligned=False, reason=text)
    found = Authentication(spf, (dkim,), ArcResult(result, 1, text, (text,)), dmarc, spf)
    for raw in (
        field(OURS, found, smtp_auth=text),
        received_spf(spf, client="192.0.2.1", helo=text, receiver=OURS, sender=text),
    ):
        lines = raw.split(b"\r\n")
        assert lines.pop() == b""
        assert all(line[:1] == b"\t" and line.strip() for line in lines[1:])
        assert all(len(line) <= 998 and line.removeprefix(b"\t").decode("ascii").isprintable() for line in lines)
    assert strip(field(OURS, found, smtp_auth=text), OURS) == (b"", 1)


_BLOCKS = (
    b"Authentication-Results: mx.example.com; spf=pass\r\nFrom: a\r\n",
    b'Authentication-Results:\r\n\t(c (n) \\) ) "mx.example.com" 1;\r\n\tdkim=pass (ok) header.d=x.example\r\n',
    b"authentication-results : other.example (mx.example.com) ; none\r\n",
    "\ufeffAuthentication-Results: mx.b\u00fccher.example; spf=pass\r\n".encode(),
    b"Authentication-Results: =?utf-8?q?mx?=; x\r\n\r\nbody\r\n",
    b"Authentication-Results: spf=pass smtp.mailfrom=a@b.example; dkim=none\n",
    b'X: y\r\n Authentication-Results: mx.example.com\r\nAuthentication-Results: other.example; x="\xff"\r\n',
)


def seeds() -> Iterator[bytes]:
    """Blocks with two results."""
    for block in _BLOCKS:
        yield b"\x01" + block
        yield b"\x05" + block


if __name__ == "__main__":
    run(one_input, seeds)
