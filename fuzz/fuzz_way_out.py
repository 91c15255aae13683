"""The policies of others about TLS: any octets are an MTA-STS record or policy or none, TLSA records, certificates, or none.

Input: 4 octets of decisions, then a policy, a NUL, and lines of which each is a record; what is left is a certificate.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from harness import Bits, instrumented, run

with instrumented():
    from postlatch.delivery.dane import MAX_RECORDS, Tlsa, usable, verify
    from postlatch.delivery.mta_sts import MAX_AGE, MAX_PATTERNS, StsError, StsMode, matches, read_policy, read_record

DECISIONS = 4
SLOW = 2.0  # seconds under instrumentation, for at most 8 KiB
_NOW = 1_800_000_000.0
_HOSTS = ("mx.example.com", "a.mx.example.com", "example.com", "com", "")
_FIRST = b"version: STSv1\r\nmode: enforce\r\nmx: *.example.com\r\nmax_age: 86400\r\n"


def one_input(data: bytes) -> None:
    """One input."""
    bits, rest = Bits(data[:DECISIONS]), data[DECISIONS:]
    body, _, lines = rest.partition(b"\0")
    began = time.thread_time()
    policy(body)
    policy(_FIRST + body)
    records(bits, lines)
    assert time.thread_time() - began < SLOW


def policy(body: bytes) -> None:
    """A policy is bounded, names hosts unless it is none, and shown and read again it is the same."""
    try:
        found = read_policy(body)
    except StsError:
        return
    assert found.mx or found.mode is StsMode.NONE
    assert 0 <= found.max_age <= MAX_AGE
    assert len(found.mx) <= MAX_PATTERNS
    assert read_policy("\n".join(found.lines).encode()) == found
    for pattern in found.mx:
        for host in _HOSTS:
            assert not matches(pattern, host) or host.endswith(pattern.removeprefix("*"))


def records(bits: Bits, lines: bytes) -> None:
    """Texts of the DNS, and octets as a server's certificates: only what is named octet by octet is let in."""
    texts = lines.split(b"\n")[:40]
    for text in texts:
        identity = read_record([text])
        assert identity is None or (identity.isalnum() and len(identity) <= 32)
        assert read_record([text, text]) is None
    found = usable([text.decode("latin-1") for text in texts])
    assert len(found) <= MAX_RECORDS
    assert all(record.usage in {2, 3} and record.data for record in found)
    chain = texts[: bits.take(3)]
    failure = verify(found, chain, ("mx.example.com",), _NOW)
    whole = any(record[:3] == (3, 0, 0) and chain and record.data == chain[0] for record in found)
    assert failure is None or failure.reason.isascii()
    assert failure is not None or whole or any(record.matching or record.selector for record in found)
    if chain and chain[0]:
        assert verify([Tlsa(3, 0, 0, chain[0])], chain, (), _NOW) is None


_POLICIES = (
    _FIRST,
    b"version: STSv1\nmode: testing\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n",
    b"version: STSv1\nmode: none\nmax_age: 0",
    b"version:STSv1\nversion: STSv2\nmode : enforce\nmx:a.example\nmax_age:9999999999\nx_y.z: \xc3\xa9\n",
    b"<html>\r\n",
    b"",
)
_RECORDS = (
    b"v=STSv1; id=20160831085700Z;\n3 1 1 " + b"ab" * 32 + b"\n2 0 2 " + b"cd" * 64,
    b"3 0 0 3003020101\n2 1 0 3003020101\n0 0 1 " + b"ab" * 32 + b"\nv=STSv1;id=1;id=2",
)


def seeds() -> Iterator[bytes]:
    """Every policy with every kind of record."""
    for body in _POLICIES:
        for number, lines in enumerate(_RECORDS):
            yield bytes([number + 1, 0x30, 0x11, 0x07]) + body + b"\0" + lines


if __name__ == "__main__":
    run(one_input, seeds)
