"""SPF: any octets as the record of every name, before any answers of the DNS, are a result after a bounded number of questions.

Input: 8 octets of decisions, then the record, what exp= leads to, the sender and the name of the client, a line each.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from ipaddress import IPv4Address, ip_address
from typing import Any, TypeVar

from harness import Bits, instrumented, run

with instrumented():
    from postlatch.model.dns import DnsError, MxRecord
    from postlatch.model.envelope import IPAddress
    from postlatch.senderauth.results import Result
    from postlatch.senderauth.spf.evaluate import Evaluation, Verdict
    from postlatch.senderauth.spf.identity import Identity
    from postlatch.senderauth.spf.names import to_domain
    from postlatch.senderauth.spf.parse import parse_record, spf_records
    from postlatch.senderauth.spf.problem import CheckError, RecordError
    from postlatch.senderauth.spf.text import printable

DECISIONS = 8
MOST_QUESTIONS = 1 + 10 * 11 + 1 + 11  # as in tests/senderauth/spf
CLIENTS: tuple[IPAddress, ...] = (ip_address("192.0.2.1"), ip_address("2001:db8::1"))
_T = TypeVar("_T")


class Answers:
    """A resolver whose every answer is one of a few, as the input decides."""

    def __init__(self, bits: Bits, record: bytes, text: bytes) -> None:
        self._bits = bits
        self._record = record
        self._text = text
        self.asked = 0

    async def txt(self, name: str) -> list[bytes]:
        """The record, or the explanation where the name says so."""
        self._ask(name)
        return [self._text if name.startswith("why.") else self._record]

    async def a(self, name: str) -> list[IPAddress]:
        """A."""
        self._ask(name)
        return [address for address in self._addresses() if isinstance(address, IPv4Address)]

    async def aaaa(self, name: str) -> list[IPAddress]:
        """AAAA."""
        self._ask(name)
        return [address for address in self._addresses() if not isinstance(address, IPv4Address)]

    async def addresses(self, name: str) -> list[IPAddress]:
        """Both."""
        self._ask(name)
        return self._addresses()

    async def mx(self, name: str) -> list[MxRecord]:
        """MX: up to fifteen."""
        self._ask(name)
        return [MxRecord(number, f"h{number}.{name}") for number in range(self._bits.take(4))]

    async def ptr(self, address: IPAddress) -> list[str]:
        """PTR: up to fifteen."""
        self._ask(str(address))
        return [f"h{number}.example.org" for number in range(self._bits.take(4))]

    async def records(self, name: str, kind: str) -> list[str]:
        """Nobody asks for these."""
        raise AssertionError((name, kind))

    def _addresses(self) -> list[IPAddress]:
        return [ip_address("198.51.100.1"), ip_address("2001:db8::99"), *(CLIENTS if self._bits.take(2) == 3 else ())]

    def _ask(self, name: str) -> None:
        assert name == name.lower()
        assert name.isascii()
        assert name.isprintable()
        assert len(name) <= 253
        self.asked += 1
        decision = self._bits.take(3)
        if decision == 7:
            raise DnsError("x", temporary=bool(self._bits.take(1)))


def one_input(data: bytes) -> None:
    """One input."""
    bits = Bits(data[:DECISIONS])
    record, text, sender, helo = (*data[DECISIONS:].split(b"\n", 3), b"", b"", b"", b"")[:4]
    record = b"v=spf1 " + record if bits.take(1) else record
    parsed(record)
    resolver = Answers(bits, record, text)
    local_part, _, domain = sender.decode("utf-8", "surrogateescape").rpartition("@")
    name = to_domain(domain) or "example.org"
    identity = Identity(CLIENTS[bits.take(1)], local_part, name, helo.decode("utf-8", "surrogateescape"), "mx", 1e9)
    evaluation = Evaluation(resolver, identity)
    try:
        verdict = at_once(evaluation.check_host(name))
    except CheckError as error:
        told(error)
    else:
        explained(evaluation, verdict)
    assert evaluation.terms <= 10
    assert resolver.asked <= MOST_QUESTIONS


def parsed(record: bytes) -> None:
    """The record alone: what it says lies within its bounds and its text."""
    if spf_records([record]) != [record]:
        return
    try:
        found = parse_record(record)
    except RecordError as error:
        found_in(record, error)
        return
    for mechanism in found.mechanisms:
        assert mechanism.text.encode() in record
        assert 0 <= mechanism.prefix4 <= 32
        assert 0 <= mechanism.prefix6 <= 128
        assert 0 <= mechanism.network < 1 << 128


def found_in(record: bytes, error: RecordError) -> None:
    """The term that is wrong is one of the record."""
    assert error.term.encode() in record


def told(error: CheckError) -> None:
    """An error is one of two, and a sentence."""
    assert error.result in {Result.TEMPERROR, Result.PERMERROR}
    assert "(RFC 7208 section" in str(error)
    assert printable(str(error)) == str(error)


def explained(evaluation: Evaluation, verdict: Verdict) -> None:
    """A result, and what its owner says of it."""
    assert "(RFC 7208 section" in verdict.reason
    assert printable(verdict.reason) == verdict.reason
    text = at_once(evaluation.explanation(verdict))
    assert text is None or (verdict.result is Result.FAIL and printable(text) == text)


def at_once(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of what never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        found: _T = end.value
        return found
    raise AssertionError("it waits")


_RECORDS = (
    "-all",
    "a mx ptr ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all",
    "include:%{d} exists:%{ir}.%{v}.%{l1r-}.example.org -all exp=why.%{d}",
    "a:h.example.org/24//64 mx:%{o}//0 ?ptr:%{p} redirect=%{d2}",
    "exists:%{s}.%{L2r+/=}.example.org x=%{h} exp=why.%{i} redirect=b.example.",
    "ip4:192.0.2.256 all",
    "a:%{d00} -all",
    "mx -all exp=why.example.org",
    "ptr:example.org exists:%{p}.example.org -all",
    "a a a a a a a a a a a",
)
_TEXTS = ("%{c} at %{t} by %{r}, says %{S}", "50%% %{p}%_%-", "%{x}")


def seeds() -> Iterator[bytes]:
    """Records, each with other decisions."""
    for number, record in enumerate(_RECORDS):
        for decisions in (b"\x01", b"\x01\x10\x32\x54\x76\x98\xba\xdc", b"\x03\xff\x0f\x00\xff"):
            text = _TEXTS[number % len(_TEXTS)]
            yield decisions.ljust(DECISIONS, b"\0") + f"{record}\n{text}\na-b+c@example.org\nh.example.net".encode()
    yield b"\0" * DECISIONS + b"v=spf10"


if __name__ == "__main__":
    run(one_input, seeds)
