"""The real resolver against a small name server on loopback: dnspython makes the packets, the test chooses what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_address
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
import uvloop

from postlatch.delivery.alias_loop import AliasLoop
from postlatch.delivery.resolver import DnsResolver, parse_server
from postlatch.model.dns import DnsError, MxRecord
from postlatch.testing.clock import FakeClock

Answer = tuple[list[str], int] | str
BIG = [f'"{"x" * 200}{number}"' for number in range(20)]

ZONE: dict[tuple[str, str], Answer] = {
    ("dest.example.", "MX"): (["10 MX1.dest.example.", "20 mx2.dest.example."], 60),
    ("null.example.", "MX"): (["0 ."], 60),
    ("dest.example.", "A"): (["192.0.2.1"], 60),
    ("dest.example.", "AAAA"): (["2001:db8::1"], 60),
    ("four.example.", "A"): (["192.0.2.4"], 60),
    ("half.example.", "A"): (["192.0.2.4"], 60),
    ("half.example.", "AAAA"): "SERVFAIL",
    ("sick.example.", "A"): "NODATA",
    ("sick.example.", "AAAA"): "SERVFAIL",
    ("servfail.example.", "MX"): "SERVFAIL",
    ("refused.example.", "MX"): "REFUSED",
    ("garbage.example.", "MX"): "GARBAGE",
    ("silent.example.", "MX"): "SILENT",
    ("other.example.", "MX"): "OTHER-QUESTION",
    ("loop.example.", "MX"): "CNAME-LOOP",
    # What most resolvers say to such a loop, which shows itself only to who asks for the aliases one by one.
    ("hidden.example.", "MX"): "SERVFAIL",
    ("hidden.example.", "CNAME"): (["hidden2.example."], 60),
    ("hidden2.example.", "CNAME"): (["hidden.example."], 60),
    ("lame.example.", "MX"): "SERVFAIL",
    ("lame.example.", "CNAME"): (["servfail.example."], 60),
    ("servfail.example.", "CNAME"): "SERVFAIL",
    ("dest.example.", "TXT"): (['"v=spf1 " "-all"', '"other"'], 60),
    ("big.example.", "TXT"): (BIG, 60),
    ("forever.example.", "A"): (["192.0.2.9"], 2**31 - 1),
    ("fleeting.example.", "A"): (["192.0.2.9"], 0),
}
NODATA_NAMES = {"four.example.", "half.example.", "empty.example.", "forever.example.", "fleeting.example."}


class Server(asyncio.DatagramProtocol):
    """Answers from ``ZONE``; ``asked`` counts the questions by name and type."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)  # which it is, but not by inheritance

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self.transport is not None
        for packet in self.answers(data, truncate=True):
            self.transport.sendto(packet, addr)

    def answers(self, data: bytes, *, truncate: bool) -> list[bytes]:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text().lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        answer = ZONE.get((name, kind), "NODATA" if name in NODATA_NAMES else "NXDOMAIN")
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if isinstance(answer, str):
            return self.failure(answer, response)
        records, ttl = answer
        response.answer.append(dns.rrset.from_text(question.name, ttl, "IN", kind, *records))
        if truncate and len(response.to_wire(max_size=65_535)) > 1232:
            response.answer.clear()
            response.flags |= dns.flags.TC
        return [response.to_wire(max_size=65_535)]

    def failure(self, how: str, response: dns.message.Message) -> list[bytes]:
        if how == "SILENT":
            return []
        if how == "GARBAGE":
            return [b"", b"\xff" * 40, response.to_wire()[:2] + b"\x81\x80\xff\xff\xff\xff" + b"\xc0\x0c" * 20]
        if how == "CNAME-LOOP":
            for a, b in (("loop.example.", "pool.example."), ("pool.example.", "loop.example.")):
                response.answer.append(dns.rrset.from_text(a, 60, "IN", "CNAME", b))
        elif how == "OTHER-QUESTION":
            response.question[0].name = dns.name.from_text("evil.example.")
        elif how in {"NODATA", "NXDOMAIN"}:
            soa = "ns.example. root.example. 1 3600 600 86400 86400"
            response.authority.append(dns.rrset.from_text("example.", 86400, "IN", "SOA", soa))
            response.set_rcode(dns.rcode.NOERROR if how == "NODATA" else dns.rcode.NXDOMAIN)
        else:
            response.set_rcode(dns.rcode.from_text(how))
        return [response.to_wire()]


class TcpServer(asyncio.Protocol):
    """The same answers over TCP, for what was truncated."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) >= 2 and len(self.buffer) >= 2 + int.from_bytes(self.buffer[:2], "big"):
            for packet in self.server.answers(self.buffer[2:], truncate=False):
                self.transport.write(len(packet).to_bytes(2, "big") + packet)
            self.transport.close()


async def _listen(loop: asyncio.AbstractEventLoop) -> tuple[asyncio.DatagramTransport, Server, asyncio.Server]:
    """One port for both protocols; the system gives one that is free for UDP, and TCP may have it already."""
    for _ in range(50):
        udp, server = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
        try:
            port = udp.get_extra_info("sockname")[1]
            return udp, server, await loop.create_server(partial(TcpServer, server), "127.0.0.1", port)
        except OSError:
            udp.close()
    raise OSError("no port is free for UDP and TCP")


@asynccontextmanager
async def running(clock: FakeClock, lifetime: float = 1.0) -> AsyncIterator[tuple[DnsResolver, Server]]:
    loop = asyncio.get_running_loop()
    udp, server, tcp = await _listen(loop)
    port = udp.get_extra_info("sockname")[1]
    try:
        yield DnsResolver.of_servers([f"127.0.0.1:{port}"], clock, lifetime=lifetime), server
    finally:
        udp.close()
        tcp.close()
        await tcp.wait_closed()


def ask(question: Callable[[DnsResolver], Awaitable[object]], lifetime: float = 1.0) -> object:
    async def scenario() -> object:
        async with running(FakeClock(), lifetime) as (resolver, _):
            return await question(resolver)

    return asyncio.run(scenario())


def failure(question: Callable[[DnsResolver], Awaitable[object]], lifetime: float = 1.0) -> DnsError:
    with pytest.raises(DnsError) as failed:
        ask(question, lifetime)
    return failed.value


def test_mx_records_come_with_plain_lower_case_names() -> None:
    assert sorted(ask(lambda dns: dns.mx("Dest.Example."))) == [  # type: ignore[call-overload]
        MxRecord(10, "mx1.dest.example"),
        MxRecord(20, "mx2.dest.example"),
    ]


def test_a_null_mx_has_an_empty_name() -> None:
    assert ask(lambda dns: dns.mx("null.example")) == [MxRecord(0, "")]


def test_both_families_come_together() -> None:
    assert ask(lambda dns: dns.addresses("dest.example")) == [ip_address("2001:db8::1"), ip_address("192.0.2.1")]
    assert ask(lambda dns: dns.addresses("four.example")) == [ip_address("192.0.2.4")]


def test_one_failing_family_is_no_failure_if_the_other_has_addresses() -> None:
    assert ask(lambda dns: dns.addresses("half.example")) == [ip_address("192.0.2.4")]
    assert failure(lambda dns: dns.addresses("sick.example")).temporary


def test_the_strings_of_a_txt_record_are_joined() -> None:
    assert sorted(ask(lambda dns: dns.txt("dest.example"))) == [b"other", b"v=spf1 -all"]  # type: ignore[call-overload]


def test_it_works_on_the_loop_that_the_program_runs_on() -> None:
    async def scenario() -> None:
        async with running(FakeClock()) as (resolver, _):
            assert await resolver.addresses("four.example") == [ip_address("192.0.2.4")]
            assert len(await resolver.txt("big.example")) == len(BIG)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


def test_what_does_not_fit_into_a_datagram_comes_over_tcp() -> None:
    assert len(ask(lambda dns: dns.txt("big.example"))) == len(BIG)  # type: ignore[arg-type]


def test_a_name_without_the_type_has_an_empty_answer() -> None:
    assert ask(lambda dns: dns.mx("empty.example")) == []
    assert ask(lambda dns: dns.addresses("empty.example")) == []


@pytest.mark.parametrize("name", ["missing.example", "a" * 64 + ".example", "two..dots.example", ""])
def test_only_a_name_that_does_not_exist_fails_for_good(name: str) -> None:
    if name:
        assert not failure(lambda dns: dns.addresses(name)).temporary
        assert not failure(lambda dns: dns.mx(name)).temporary


@pytest.mark.parametrize("name", ["servfail", "refused", "garbage", "silent", "other"])
def test_every_other_failure_may_heal(name: str) -> None:
    error = failure(lambda dns: dns.mx(f"{name}.example"), lifetime=0.4)
    assert error.temporary
    assert "DNS answer for MX" in str(error)


@pytest.mark.parametrize("name", ["loop", "hidden"])
def test_aliases_that_lead_round_in_a_circle_are_certain(name: str) -> None:
    error = failure(lambda dns: dns.mx(f"{name}.example"), lifetime=1.0)
    assert isinstance(error, AliasLoop)
    assert not error.temporary


def test_an_alias_whose_target_is_broken_is_no_loop() -> None:
    assert failure(lambda dns: dns.mx("lame.example"), lifetime=1.0).temporary


def test_a_server_that_is_not_there_is_a_temporary_failure() -> None:
    async def scenario() -> None:
        await DnsResolver.of_servers(["127.0.0.1:1"], FakeClock(), lifetime=0.3).mx("dest.example")

    with pytest.raises(DnsError) as failed:
        asyncio.run(scenario())
    assert failed.value.temporary


def test_answers_are_kept_for_their_ttl_within_bounds() -> None:
    async def scenario() -> None:
        clock = FakeClock()
        async with running(clock) as (resolver, server):

            async def asked(name: str, after: float) -> int:
                before = len(server.asked)
                clock.advance(after)
                with suppress(DnsError):
                    await resolver.addresses(name)
                return len(server.asked) - before

            assert [await asked("dest.example", 0), await asked("DEST.example.", 59), await asked("dest.example", 2)] == [
                2,
                0,
                2,
            ]
            assert [await asked("forever.example", 0), await asked("forever.example", 299)] == [2, 0]
            assert await asked("forever.example", 3302) == 2  # a TTL of 68 years is an hour here
            assert [await asked("missing.example", 0), await asked("missing.example", 299)] == [2, 0]
            assert await asked("missing.example", 2) == 2  # the SOA says a day, we say five minutes
            assert [await asked("fleeting.example", 0), await asked("fleeting.example", 0)] == [2, 0]

    asyncio.run(scenario())


def test_a_failure_is_not_kept() -> None:
    async def scenario() -> None:
        async with running(FakeClock()) as (resolver, server):
            for _ in range(2):
                with pytest.raises(DnsError):
                    await resolver.mx("servfail.example")
            assert server.asked.count(("servfail.example.", "MX")) >= 2

    asyncio.run(scenario())


def test_a_hundred_who_ask_at_once_are_one_question() -> None:
    async def scenario() -> None:
        async with running(FakeClock()) as (resolver, server):
            await asyncio.gather(*(resolver.mx("dest.example") for _ in range(100)))
            assert server.asked == [("dest.example.", "MX")]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("127.0.0.1", ("127.0.0.1", 53)),
        ("127.0.0.1:5353", ("127.0.0.1", 5353)),
        ("[::1]:5353", ("::1", 5353)),
        ("[::1]", ("::1", 53)),
        ("2001:db8::1", ("2001:db8::1", 53)),
    ],
)
def test_a_name_server_is_an_address_with_or_without_a_port(text: str, server: tuple[str, int]) -> None:
    assert parse_server(text) == server


@pytest.mark.parametrize(
    "text", ["", "dns.example", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:70000", "1.2.3", "[1.2.3.4]x", "::1:x"]
)
def test_anything_else_is_no_name_server(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_server(text)
