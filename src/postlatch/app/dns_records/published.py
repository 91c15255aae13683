"""Asks the DNS for everything that the comparison looks at: each wave of questions follows from the answers to the last."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from postlatch.app.dns_records.spf import SpfCheck, SpfFindings, find
from postlatch.app.dns_records.wanted import Site
from postlatch.model.dns import DnsError, Resolver
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.dmarc.destination import Destination, external_destination
from postlatch.senderauth.dmarc.walk import Policy, discover

WHOLE = 40.0  # seconds for all questions together: the control socket waits for a minute
AT_ONCE = 10
MAX_HOSTS = 10  # of an MX record set, and addresses of a host: more are not looked at
MAX_LABELS = 8

Question = tuple[str, str]  # name (for PTR: the address) and type


class Found(NamedTuple):
    """What the DNS said: records as in a zone file, TXT as plain text. ``failure`` says why there is no answer."""

    records: tuple[str, ...] = ()
    exists: bool = True
    failure: str = ""


class Published(NamedTuple):
    """All answers. A question that was not asked, or not answered in time, has a failure."""

    answers: Mapping[Question, Found]
    spf: SpfFindings = SpfFindings()
    dmarc: Policy | None = None
    destinations: Mapping[str, Destination] = {}

    def at(self, name: str, kind: str) -> Found:
        """The answer to one question."""
        return self.answers.get((name, kind), Found(failure="there was no answer in time"))

    def addresses(self, host: str) -> tuple[IPAddress, ...]:
        """The addresses of a host, as far as they are known."""
        return tuple(parsed(self.at(host, "A")) + parsed(self.at(host, "AAAA")))


def parsed(found: Found) -> list[IPAddress]:
    """The addresses of an answer."""
    return [ip_address(text) for text in found.records[:MAX_HOSTS]]


def mx_of(found: Found) -> list[tuple[int, str]]:
    """Preference and host (no final dot) of each MX record, best first."""
    split = [text.partition(" ") for text in found.records]
    return sorted((int(preference), host.rstrip(".")) for preference, _, host in split)


def ancestors(name: str, least: int = 1) -> list[str]:
    """The name and those above it, down to ``least`` labels."""
    labels = name.split(".")
    return [".".join(labels[index:]) for index in range(len(labels) - least + 1)][:MAX_LABELS] or [name]


def key_name(selector: str, domain: str) -> str:
    """Where a DKIM key is published (RFC 6376 section 3.6.2.1)."""
    return f"{selector}._domainkey.{domain}"


async def look_up(site: Site, resolver: Resolver, check: SpfCheck, *, whole: float = WHOLE) -> Published:
    """Ask everything, within ``whole`` seconds."""
    answers: dict[Question, Found] = {}
    published = Published(answers)
    ask = _Asker(resolver, answers)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(whole):
            await ask.all(_first(site))
            await ask.all(_second(site, published))
            await ask.all(_third(site, published))
            if not site.backup:
                published = await _with_dmarc(site, published, resolver)
                published = await _with_spf(site, published, resolver, check)
    return published


class _Asker:
    """Asks questions, a few at once, and keeps each answer as it comes."""

    def __init__(self, resolver: Resolver, answers: dict[Question, Found]) -> None:
        self._resolver = resolver
        self._answers = answers
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def all(self, questions: Iterable[Question]) -> None:
        """Ask what was not asked before."""
        await asyncio.gather(*(self._one(question) for question in dict.fromkeys(questions) if question not in self._answers))

    async def _one(self, question: Question) -> None:
        async with self._gate:
            try:
                records = await self._records(*question)
                self._answers[question] = Found(tuple(records))
            except DnsError as error:
                self._answers[question] = Found(failure=str(error)) if error.temporary else Found(exists=False)
            except (ValueError, TypeError, AttributeError, LookupError):
                # Only a zone file can hold what is no record of its type; the DNS library checks what comes from servers.
                self._answers[question] = Found(failure=f"what is there is no {question[1]} record")

    async def _records(self, name: str, kind: str) -> list[str]:
        match kind:
            case "MX":
                return [f"{record.preference} {record.host}." for record in await self._resolver.mx(name)]
            case "TXT":
                return [text.decode("ascii", "backslashreplace") for text in await self._resolver.txt(name)]
            case "A":
                return [str(IPv4Address(address)) for address in await self._resolver.a(name)]
            case "AAAA":
                return [str(IPv6Address(address)) for address in await self._resolver.aaaa(name)]
            case "PTR":
                return [f"{host}." for host in await self._resolver.ptr(ip_address(name))]
            case _:
                return [str(text) for text in await self._resolver.records(name, kind)]


def _first(site: Site) -> list[Question]:
    """What follows from the configuration alone."""
    domain, host = site.domain, site.hostname
    asked: list[Question] = [(domain, "MX"), (f"*.{domain}", "MX"), (domain, "CNAME")]
    asked += [(host, kind) for kind in ("CNAME", "A", "AAAA")]
    asked += [(site.tlsa_name, "TLSA"), *((name, "CAA") for name in ancestors(host))]
    asked += [(name, "NS") for whole in (domain, host) for name in ancestors(whole, 2)]
    asked += [(f"_mta-sts.{domain}", "TXT"), (f"_smtp._tls.{domain}", "TXT")]
    if not site.backup:
        asked += [(domain, "TXT"), (host, "TXT")]
        asked += [(f"_dmarc.{domain}", "TXT")]
        asked += [(key_name(key.selector, key.domain), "TXT") for key in site.keys if key.domain == domain]
    return asked


def _second(site: Site, published: Published) -> list[Question]:
    """What follows from the records: the hosts that they name, and the addresses of this one."""
    asked: list[Question] = []
    for _, host in mx_of(published.at(site.domain, "MX"))[:MAX_HOSTS]:
        asked += [(host, kind) for kind in ("CNAME", "A", "AAAA")] if host else []
    asked += [(str(address), "PTR") for address in outgoing(site, published)]
    if published.at(f"_mta-sts.{site.domain}", "TXT").records:
        asked += [(f"mta-sts.{site.domain}", kind) for kind in ("A", "AAAA")]
    return asked


def _third(site: Site, published: Published) -> list[Question]:
    """Whether the other names that our addresses have lead back to them."""
    names = {name for address in outgoing(site, published) for name in published.at(str(address), "PTR").records[:MAX_HOSTS]}
    return [(name.rstrip("."), kind) for name in sorted(names) if name.rstrip(".") for kind in ("A", "AAAA")]


def outgoing(site: Site, published: Published) -> tuple[IPAddress, ...]:
    """The addresses under which others know this relay: those of its name, and those that its mail leaves by."""
    return tuple(dict.fromkeys((*published.addresses(site.hostname), *site.own)))


async def _with_dmarc(site: Site, published: Published, resolver: Resolver) -> Published:
    """The policy that applies, and whether those whom it names take the reports (RFC 9990)."""
    policy = await discover(resolver, site.domain)
    names = dict.fromkeys(address.rpartition("@")[2].lower() for address in policy.record.rua)
    found = {name: await external_destination(resolver, policy.domain or site.domain, name) for name in names}
    return published._replace(dmarc=policy, destinations=found)


async def _with_spf(site: Site, published: Published, resolver: Resolver, check: SpfCheck) -> Published:
    if published.at(site.domain, "TXT").failure:
        return published
    return published._replace(spf=await find(site, outgoing(site, published), resolver, check))
