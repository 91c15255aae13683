"""DMARC records: any octets are a record or none, and any zone made of them gives a result within its number of questions.

Input: 8 octets of decisions, then texts, one a line; each is a record of some name, an address for reports and a domain.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

from harness import Bits, instrumented, run

with instrumented():
    from postlatch.senderauth.dmarc.destination import external_destination
    from postlatch.senderauth.dmarc.parse import MAX_REPORT_ADDRESSES, is_record, parse_record, report_addresses
    from postlatch.senderauth.dmarc.verify import check_dmarc
    from postlatch.senderauth.results import Disposition, DkimResult, Result, SpfResult
    from postlatch.testing.dns import FakeResolver

DECISIONS = 8
SLOW = 2.0  # seconds under instrumentation, for at most 8 KiB
MAX_QUERIES = 51
_LOOP = asyncio.new_event_loop()
_NAMES = ("com", "example.com", "a.example.com", "b.a.example.com", "x.example.com", "example")
_RESULTS = tuple(Result)


def one_input(data: bytes) -> None:
    """One input."""
    bits, texts = Bits(data[:DECISIONS]), data[DECISIONS:].split(b"\n")[:40]
    began = time.thread_time()
    for text in texts:
        record(text)
    judged(bits, texts)
    assert time.thread_time() - began < SLOW


def record(text: bytes) -> None:
    """One TXT record, and its octets as a list of addresses."""
    found = parse_record([text])
    assert (found is not None) == is_record(text)
    assert parse_record([text, text]) is None
    addresses, valid = report_addresses(text.decode("latin-1"))
    assert len(addresses) <= MAX_REPORT_ADDRESSES
    assert valid or not addresses
    for address in addresses:
        assert address.isascii()
        assert address.isprintable()
    if found is not None:
        assert found.psd in {"y", "n", "u"}
        assert found.usable or (found.p, found.sp, found.np, found.rua) == (Disposition.NONE, None, None, ())


def judged(bits: Bits, texts: list[bytes]) -> None:
    """A message whose DNS holds these texts."""
    zone: dict[str, dict[str, Any]] = {}
    for number, text in enumerate(texts):
        answer = zone.setdefault(f"_dmarc.{_NAMES[number % len(_NAMES)]}", {"TXT": []})["TXT"]
        answer.append(text.decode("utf-8", "surrogateescape"))
    if bits.take(2) == 0:
        zone[f"_dmarc.{_NAMES[bits.take(2)]}"] = {"TXT": "SERVFAIL"}
    domains = [*_NAMES, *(text.decode("latin-1") for text in texts)]
    author = domains[bits.take(4) % len(domains)]
    resolver = FakeResolver(zone)
    spf = SpfResult(_RESULTS[bits.take(3)], domains[bits.take(4) % len(domains)], "mfrom")
    dkim = [DkimResult(_RESULTS[bits.take(3)], domains[bits.take(4) % len(domains)], "s", "", "") for _ in range(bits.take(2))]
    result = _LOOP.run_until_complete(check_dmarc(resolver, from_domain=author, spf=spf, dkim=dkim))
    assert len(resolver.queries) <= MAX_QUERIES
    assert (result.result is Result.PASS) == (result.spf_aligned or result.dkim_aligned)
    assert result.result is not Result.PASS or Result.PASS in {spf.result, *(one.result for one in dkim)}
    assert all(text.isascii() and text.isprintable() and len(text) <= 500 for text in (result.from_domain, result.reason))
    _LOOP.run_until_complete(external_destination(FakeResolver(zone), author, domains[bits.take(4) % len(domains)]))


_TEXTS = (
    b"v=DMARC1; p=reject; sp=quarantine; np=none; adkim=s; aspf=r; t=y; psd=n; fo=1:d; ruf=mailto:f@x.example",
    b"v=DMARC1; p=none; rua=mailto:a%2Bb@example.com!10m, https://x.example/r?a=b",
    b"v=DMARC1; p=reject; psd=y\nv=DMARC1; p=none\nv=DMARC1;",
    b"V\t=\tDMARC1\t;;P=REJECT; p=none",
    b"v=DMARC1; rua=mailto:a@b.example\nv=spf1 -all\n\xff",
    b"a.b.c.d.e.f.g.h.i.j.example\nexample.com\n[192.0.2.1]\n",
)


def seeds() -> Iterator[bytes]:
    """Texts with two kinds of decisions."""
    for text in _TEXTS:
        for decisions in (b"\x04\x30\x11", b"\x00\xff\x21\x83\xff\xff\xff\xff"):
            yield decisions.ljust(DECISIONS, b"\x30") + text


if __name__ == "__main__":
    run(one_input, seeds)
