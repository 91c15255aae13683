"""The real DNS, by dnspython: `model.dns.Resolver` over UDP with TCP for what was truncated, and a cache.

Answers are hostile input. Whatever goes wrong inside is one DnsError, temporary unless the name is known not to exist.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.resolver

from postlatch.delivery.alias_loop import AliasLoop
from postlatch.delivery.cache import SharedCache
from postlatch.delivery.secure_dns import Proven
from postlatch.model.clock import Clock
from postlatch.model.dns import DnsError, MxRecord
from postlatch.model.envelope import IPAddress

LIFETIME = 10.0  # seconds for one question over all servers and tries
TRY_TIMEOUT = 3.0  # seconds for one try
MAX_TTL = 3600.0
MAX_NEGATIVE_TTL = 300.0  # a domain that was just created must not stay unknown for its SOA's day
MIN_TTL = 1.0  # a TTL of 0 still serves everyone who asks in the same breath
MAX_ENTRIES = 20_000
_PAYLOAD = 1232  # EDNS: fits every path without fragments (DNS flag day 2020)

_OF_NAMES = frozenset({"NS", "CNAME", "PTR", "MX", "SOA", "SRV"})  # whose text is names and numbers: case says nothing

_SERVER = re.compile(r"\[(?P<v6>[^\]]*)\](?::(?P<v6_port>[0-9]{1,5}))?|(?P<v4>[0-9.]+)(?::(?P<port>[0-9]{1,5}))?")


class _Answer(NamedTuple):
    """What is kept: record data, or the certainty that the name does not exist, or that its aliases loop.

    ``secure``: the server says that it has validated all of it. ``name``: behind the aliases, empty if it is not known.
    """

    records: tuple[Any, ...]  # of the record type's own class, which dnspython chooses by number
    exists: bool = True
    loops: bool = False
    secure: bool = False
    name: str = ""


class DnsResolver:
    """`model.dns.Resolver` over real name servers. One object a process: its cache is shared by all who ask.

    ``validating``: the servers validate by DNSSEC, and nobody can alter what they say on its way to us. Without it no answer
    is ever secure, whatever it claims.
    """

    def __init__(
        self, resolver: dns.asyncresolver.Resolver, clock: Clock, *, lifetime: float = LIFETIME, validating: bool = False
    ) -> None:
        resolver.lifetime = lifetime
        resolver.timeout = min(TRY_TIMEOUT, lifetime)
        resolver.cache = None  # ours takes the clock as an argument and bounds the TTLs
        resolver.use_edns(0, 0, _PAYLOAD)
        if validating:
            # RFC 6840 section 5.7: AD in a question asks for AD in the answer, without all the signatures that DO would bring.
            resolver.set_flags(dns.flags.RD | dns.flags.AD)
        self._validating = validating
        self._resolver = resolver
        self._backend = dns.asyncbackend.get_backend("asyncio")
        self._cache: SharedCache[tuple[str, str], _Answer] = SharedCache(clock, MAX_ENTRIES)

    @classmethod
    def of_servers(
        cls, servers: Sequence[str], clock: Clock, *, lifetime: float = LIFETIME, validating: bool = False
    ) -> DnsResolver:
        """Ask these servers, each ``ADDRESS`` or ``ADDRESS:PORT`` (IPv6 in brackets); ValueError for anything else."""
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = [dns.nameserver.Do53Nameserver(*parse_server(text)) for text in servers]
        return cls(resolver, clock, lifetime=lifetime, validating=validating)

    @classmethod
    def of_system(cls, clock: Clock) -> DnsResolver:
        """Ask the system's servers; ValueError if it names none."""
        try:
            return cls(dns.asyncresolver.Resolver(), clock)
        except dns.resolver.NoResolverConfiguration:
            raise ValueError("the system names no DNS server: set outbound.resolver") from None

    async def mx(self, name: str) -> list[MxRecord]:
        """MX records, in no order."""
        return [MxRecord(record.preference, _host(record.exchange)) for record in await self._ask(name, "MX")]

    async def addresses(self, name: str) -> list[IPAddress]:
        """AAAA and A records together; fails only if one type fails and the other has nothing."""
        answers = await asyncio.gather(self._ask(name, "AAAA"), self._ask(name, "A"), return_exceptions=True)
        records = [record for answer in answers if not isinstance(answer, BaseException) for record in answer]
        if not records:
            _raise_worst(answers)
        return [ipaddress.ip_address(record.address) for record in records]

    async def a(self, name: str) -> list[IPAddress]:
        """A records alone."""
        return [ipaddress.ip_address(record.address) for record in await self._ask(name, "A")]

    async def aaaa(self, name: str) -> list[IPAddress]:
        """AAAA records alone."""
        return [ipaddress.ip_address(record.address) for record in await self._ask(name, "AAAA")]

    async def ptr(self, address: IPAddress) -> list[str]:
        """The names of an address, as its owner claims them."""
        return [_host(record.target) for record in await self._ask(address.reverse_pointer, "PTR")]

    async def records(self, name: str, kind: str) -> list[str]:
        """Records of any type as in a zone file."""
        return [record.to_text().lower() if kind in _OF_NAMES else record.to_text() for record in await self._ask(name, kind)]

    async def txt(self, name: str) -> list[bytes]:
        """TXT records, the strings of each joined."""
        return [b"".join(record.strings) for record in await self._ask(name, "TXT")]

    async def proven(self, name: str, kind: str) -> Proven:
        """`delivery.secure_dns.SecureResolver`: the same answers out of the same cache, with how far they are proved."""
        answer = await self._answer(name, kind)
        return Proven(tuple(record.to_text() for record in answer.records), answer.secure, answer.exists, answer.name)

    async def _ask(self, name: str, kind: str) -> tuple[Any, ...]:
        answer = await self._answer(name, kind)
        if not answer.exists:
            raise DnsError("the name does not exist", temporary=False)
        return answer.records

    async def _answer(self, name: str, kind: str) -> _Answer:
        key = (name.lower().rstrip("."), kind)
        answer = await self._cache.get(key, lambda: self._query(*key))
        if answer.loops:
            raise AliasLoop
        return answer

    async def _query(self, name: str, kind: str) -> tuple[_Answer, float]:
        try:
            qname = dns.name.from_text(name, dns.name.root)
        except (dns.exception.DNSException, ValueError):
            # A label above 63 octets or an empty one: no zone can hold it, so it is as absent as NXDOMAIN (RFC 7208 4.8).
            return _Answer((), exists=False), MAX_NEGATIVE_TTL
        try:
            answer = await self._resolver.resolve(qname, kind, raise_on_no_answer=False, search=False, backend=self._backend)
        except dns.resolver.NXDOMAIN as error:
            return _Answer((), exists=False, secure=self._all_secure(error)), _negative_ttl(error)
        except dns.resolver.NoNameservers as error:
            if _all_loop(error) or await self._chain_loops(qname):
                return _Answer((), loops=True), MAX_NEGATIVE_TTL
            raise DnsError(f"no usable DNS answer for {kind} ({type(error).__name__})", temporary=True) from None
        except Exception as error:  # noqa: BLE001 - a peer chose these bytes: any failure of parsing them is "no answer"
            raise DnsError(f"no usable DNS answer for {kind} ({type(error).__name__})", temporary=True) from None
        ttl = answer.chaining_result.minimum_ttl
        secure, behind = self._is_secure(answer.response), _host(answer.canonical_name)
        if answer.rrset is None:
            return _Answer((), secure=secure, name=behind), _bounded(ttl, MAX_NEGATIVE_TTL)
        return _Answer(tuple(answer.rrset), secure=secure, name=behind), _bounded(ttl, MAX_TTL)

    def _is_secure(self, response: dns.message.Message) -> bool:
        return self._validating and bool(response.flags & dns.flags.AD)

    def _all_secure(self, error: dns.resolver.NXDOMAIN) -> bool:
        responses = list(error.kwargs["responses"].values())
        return bool(responses) and all(map(self._is_secure, responses))

    async def _chain_loops(self, name: dns.name.Name) -> bool:
        """True if the CNAME records from ``name`` on are a loop: most resolvers say no more than SERVFAIL to that."""
        seen: set[dns.name.Name] = set()
        while name not in seen and len(seen) < dns.message.MAX_CHAIN:
            seen.add(name)
            try:
                answer = await self._resolver.resolve(name, "CNAME", search=False, backend=self._backend)
            except Exception:  # noqa: BLE001 - no CNAME, or no answer: then this is not what is wrong, or is not certain
                return False
            name = answer[0].target
        return True


def _all_loop(error: dns.resolver.NoNameservers) -> bool:
    """True if every server that was asked gave a chain that does not end."""
    causes = [cause for _, _, _, cause, _ in error.kwargs["errors"]]
    return bool(causes) and all(isinstance(cause, dns.message.ChainTooLong) for cause in causes)


def parse_server(text: str) -> tuple[str, int]:
    """Address and port of a name server; ValueError if it is none. The port is 53 if it is not given."""
    match = _SERVER.fullmatch(text)
    host = (match["v6"] or match["v4"] or "") if match else text  # a bare IPv6 address has no port
    port = int((match["v6_port"] or match["port"] or 53) if match else 53)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{text!r} is not a name server: it must be an IP address, or one with :PORT") from None
    if not 1 <= port <= 65_535:
        raise ValueError(f"{port} is not a port: it must be 1 to 65535")
    return str(address), port


def _host(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


def _bounded(ttl: float, longest: float) -> float:
    return min(max(ttl, MIN_TTL), longest)


def _negative_ttl(error: dns.resolver.NXDOMAIN) -> float:
    """RFC 2308 section 5: for as long as the SOA of the answer says."""
    try:
        ttls = [response.resolve_chaining().minimum_ttl for response in error.kwargs["responses"].values()]
    except dns.exception.DNSException:
        ttls = []
    return _bounded(min(ttls, default=MIN_TTL), MAX_NEGATIVE_TTL)


def _raise_worst(answers: Sequence[object]) -> None:
    """A failure that may heal outweighs NXDOMAIN: only certainty may end in a bounce."""
    failures = [answer for answer in answers if isinstance(answer, BaseException)]
    failures.sort(key=lambda failure: isinstance(failure, DnsError) and not failure.temporary)
    if failures:
        raise failures[0]
