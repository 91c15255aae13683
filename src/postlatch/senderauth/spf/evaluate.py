"""check_host(): RFC 7208 section 4, over one identity, with the limits of section 4.6.4."""

from __future__ import annotations

from typing import NamedTuple

from postlatch.model.dns import Resolver
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.results import Result
from postlatch.senderauth.spf.budget import Budget
from postlatch.senderauth.spf.identity import Identity, Letters
from postlatch.senderauth.spf.lookups import Lookups
from postlatch.senderauth.spf.macro import DomainSpec, expand_name, expand_text, needs_ptr, parse_explanation
from postlatch.senderauth.spf.parse import parse_record, spf_records
from postlatch.senderauth.spf.problem import CheckError, RecordError, TermError
from postlatch.senderauth.spf.record import Kind, Mechanism, Record
from postlatch.senderauth.spf.text import MAX_TEXT, printable, short

_VERDICTS = {
    Result.PASS: "may send for it",
    Result.FAIL: "may not send for it",
    Result.SOFTFAIL: "probably may not send for it",
    Result.NEUTRAL: "is neither permitted nor denied",
}


class Verdict(NamedTuple):
    """What check_host() found. ``explanation`` belongs to the record of ``domain``, which decided."""

    result: Result
    domain: str
    reason: str
    term: str = ""
    explanation: DomainSpec | None = None


class Evaluation:
    """One check of one identity: everything that it counts, from the first record to the last that it is led to."""

    def __init__(self, resolver: Resolver, identity: Identity) -> None:
        self._identity = identity
        self._budget = Budget()
        self._lookups = Lookups(resolver, identity.client, self._budget)

    @property
    def terms(self) -> int:
        """The terms so far that cost a look-up."""
        return self._budget.terms

    async def check_host(self, domain: str) -> Verdict:
        """The result for a domain; CheckError if it is an error, anywhere on the way."""
        record = await self._record(domain)
        redirect_text = ""
        while record is not None:
            verdict = await self._first_match(domain, record)
            if verdict is not None:
                return verdict
            if record.redirect is None:
                reason = f"no mechanism of {short(domain)} matches (RFC 7208 section 4.7)"
                return Verdict(Result.NEUTRAL, domain, reason)
            redirect_text = record.redirect_text
            domain, record = await self._redirected(domain, record.redirect, redirect_text)
        if redirect_text:
            reason = f"redirect= leads to {short(domain)}, which has no SPF record (RFC 7208 section 6.1)"
            raise CheckError(Result.PERMERROR, reason, redirect_text)
        return Verdict(Result.NONE, domain, f"{short(domain)} has no SPF record (RFC 7208 section 4.5)")

    async def explanation(self, verdict: Verdict) -> str | None:
        """What the domain's owner says of a fail (section 6.2); None if they say nothing that can be shown."""
        if verdict.explanation is None:
            return None
        self._budget.close()
        try:
            texts = await self._lookups.txt(await self._target(verdict.explanation, verdict.domain))
            # One record, in US-ASCII, well-formed: anything else is as if there were no exp=.
            parts = parse_explanation(texts[0].decode("ascii")) if len(texts) == 1 else ()
        except (CheckError, TermError, UnicodeDecodeError):
            return None
        validated = await self._lookups.validated_name(verdict.domain) if needs_ptr(parts) else ""
        text = expand_text(parts, Letters(self._identity, verdict.domain, validated), MAX_TEXT)
        return printable(text) or None

    async def _record(self, domain: str) -> Record | None:
        """Sections 4.3 to 4.6: the one record of a domain, parsed."""
        texts = spf_records(await self._lookups.txt(domain))
        if not texts:
            return None
        if len(texts) > 1:
            reason = f"{short(domain)} has more than one SPF record (RFC 7208 section 4.5)"
            raise CheckError(Result.PERMERROR, reason)
        try:
            return parse_record(texts[0])
        except RecordError as error:
            reason = f"the SPF record of {short(domain)} is malformed: {error}"
            raise CheckError(Result.PERMERROR, reason, error.term) from None

    async def _redirected(self, domain: str, spec: DomainSpec, text: str) -> tuple[str, Record | None]:
        """Section 6.1: the domain that takes this one's place, and its record."""
        try:
            self._budget.start_term()
            target = await self._target(spec, domain)
        except CheckError as error:
            error.term = text
            raise
        return target, await self._record(target)

    async def _first_match(self, domain: str, record: Record) -> Verdict | None:
        for mechanism in record.mechanisms:
            try:
                matches = await self._matches(mechanism, domain)
            except CheckError as error:
                error.term = mechanism.text
                raise
            if matches:
                return self._verdict(mechanism, domain, record)
        return None

    def _verdict(self, mechanism: Mechanism, domain: str, record: Record) -> Verdict:
        client, name, term = self._identity.client, short(domain), short(mechanism.text)
        reason = (
            f"{client} {_VERDICTS[mechanism.result]}, says {name}: {term} matches (RFC 7208 section {mechanism.kind.section})"
        )
        explanation = record.explanation if mechanism.result is Result.FAIL else None
        return Verdict(mechanism.result, domain, reason, mechanism.text, explanation)

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        match mechanism.kind:
            case Kind.ALL:
                return True
            case Kind.IP4:
                return self._identity.is_ipv4 and self._is_in(mechanism.network, 32 - mechanism.prefix4)
            case Kind.IP6:
                return not self._identity.is_ipv4 and self._is_in(mechanism.network, 128 - mechanism.prefix6)
        self._budget.start_term()
        target = domain if mechanism.spec is None else await self._target(mechanism.spec, domain)
        match mechanism.kind:
            case Kind.INCLUDE:
                return await self._includes(target)
            case Kind.A:
                return self._is_one_of(await self._lookups.addresses(target), mechanism)
            case Kind.MX:
                return await self._is_exchange(target, mechanism)
            case Kind.PTR:
                return await self._lookups.is_named_in(target)
        return await self._lookups.any_a(target)

    async def _includes(self, target: str) -> bool:
        """The table of section 5.2; its errors are raised on the way."""
        verdict = await self.check_host(target)
        if verdict.result is Result.NONE:
            reason = f"{short(target)} is included and has no SPF record (RFC 7208 section 5.2)"
            raise CheckError(Result.PERMERROR, reason)
        return verdict.result is Result.PASS

    async def _is_exchange(self, target: str, mechanism: Mechanism) -> bool:
        for host in await self._lookups.exchanges(target):
            if self._is_one_of(await self._lookups.addresses(host), mechanism):
                return True
        return False

    async def _target(self, spec: DomainSpec, domain: str) -> str:
        """The target-name of a term (section 4.8)."""
        validated = await self._lookups.validated_name(domain) if spec.needs_ptr else ""
        return expand_name(spec, Letters(self._identity, domain, validated))

    def _is_one_of(self, addresses: list[IPAddress], mechanism: Mechanism) -> bool:
        ignored = 32 - mechanism.prefix4 if self._identity.is_ipv4 else 128 - mechanism.prefix6
        return any(self._is_in(int(address), ignored) for address in addresses)

    def _is_in(self, network: int, ignored: int) -> bool:
        """True if the client's address is this one but for so many bits on the right."""
        return int(self._identity.client) >> ignored == network >> ignored
