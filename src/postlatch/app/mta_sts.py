"""The MTA-STS policies of others: looked up, fetched, kept, and refreshed before they expire (RFC 8461).

What is kept protects the mail of tomorrow from somebody who takes the record or the web server away: a policy that was once
seen holds until its own end, whatever fails meanwhile (sections 3.3 and 5.1). Only a policy replaces a policy.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NamedTuple

from postlatch.delivery.cache import SharedCache
from postlatch.delivery.mta_sts import MAX_POLICY, StsError, StsMode, StsPolicy, read_policy, read_record
from postlatch.delivery.ports import Submit
from postlatch.delivery.tls_policies import StsFound
from postlatch.delivery.tls_seen import STS_FETCH, STS_INVALID, STS_WEBPKI
from postlatch.journal.counters import Counters
from postlatch.model.clock import Clock
from postlatch.model.dns import DnsError, Resolver
from postlatch.model.fetch import Fetcher, FetchError
from postlatch.store import sts_policies
from postlatch.store.database import StoreError
from postlatch.store.reader import Query
from postlatch.store.sts_policies import StoredPolicy
from postlatch.store.transaction import WriteFailed

METRIC: Final = "postlatch_mta_sts_fetches_total"
TIMEOUT: Final = 30.0  # seconds; section 3.3 suggests a minute
RETRY: Final = 300.0  # seconds until a policy that could not be fetched is asked for again, section 3.3
KNOWN: Final = 60.0  # seconds for which an answer is given without a look at the DNS
MAX_FETCHES: Final = 20  # at the same time
_MAX_KNOWN: Final = 20_000
_REFRESHED: Final = 100  # policies in one round
_IN_USE: Final = 30 * 86_400.0  # seconds since the last mail by it
_DAY: Final = 86_400.0


class _Failed(NamedTuple):
    """A fetch that gave no policy: a type of RFC 8460 section 4.3, and a sentence of ours."""

    result: str
    reason: str


class StsPolicies:
    """`delivery.tls_policies.StsSource`. Run ``refresh`` about once an hour."""

    def __init__(
        self,
        *,
        clock: Clock,
        resolver: Resolver,
        fetcher: Fetcher,
        read: Callable[[Query[Any]], Awaitable[Any]],
        submit: Submit,
        counters: Counters,
    ) -> None:
        self._clock = clock
        self._resolver = resolver
        self._fetcher = fetcher
        self._read = read
        self._submit = submit
        self._counters = counters
        self._known: SharedCache[str, StsFound] = SharedCache(clock, _MAX_KNOWN)
        self._failed: SharedCache[tuple[str, str], _Failed] = SharedCache(clock, _MAX_KNOWN)
        self._places = asyncio.Semaphore(MAX_FETCHES)

    async def policy(self, domain: str) -> StsFound:
        """The policy that holds for mail to ``domain`` now. Never raises."""
        return await self._known.get(domain, lambda: self._find(domain))

    async def refresh(self) -> None:
        """Fetch anew what is in use and a day old or near its end (section 10.2), and drop what has expired."""
        now = self._clock.now()
        rows: list[StoredPolicy] = await self._read(
            partial(sts_policies.to_refresh, now=now, used_since=now - _IN_USE, limit=_REFRESHED)
        )
        await asyncio.gather(*(self._refresh_one(row) for row in rows))
        await self._submit([sts_policies.drop_old(now)])

    async def _refresh_one(self, row: StoredPolicy) -> None:
        """The id is that of now, if the record can be had: else the next look would fetch once more."""
        identity, _ = await self._identity(row.domain)
        fetched = await self._fetch(row.domain, identity or row.id)
        if isinstance(fetched, StsPolicy):
            await self._keep(row.domain, identity or row.id, fetched, used_at=row.used_at)

    async def _find(self, domain: str) -> tuple[StsFound, float]:
        now = self._clock.now()
        kept = await self._kept(domain, now)
        identity, answered = await self._identity(domain)
        if kept is not None and identity in {None, kept.id}:
            # No record, no answer, or nothing new: what is kept holds (section 5.1).
            await self._note_used(kept, now)
            return StsFound(_of(kept)), KNOWN
        if identity is None:
            return StsFound(sure=answered), KNOWN
        fetched = await self._fetch(domain, identity)
        if isinstance(fetched, StsPolicy):
            await self._keep(domain, identity, fetched, used_at=now)
            return StsFound(fetched), KNOWN
        if kept is not None:
            return StsFound(_of(kept), fetched.result, fetched.reason), KNOWN
        return StsFound(None, fetched.result, fetched.reason, sure=False), KNOWN

    async def _identity(self, domain: str) -> tuple[str | None, bool]:
        """The id in the DNS, and whether the DNS answered."""
        try:
            return read_record(await self._resolver.txt(f"_mta-sts.{domain}")), True
        except DnsError as error:
            return None, not error.temporary

    async def _kept(self, domain: str, now: float) -> StoredPolicy | None:
        try:
            found: StoredPolicy | None = await self._read(partial(sts_policies.find, domain=domain, now=now))
        except StoreError:
            return None  # the DNS and the web server may still tell
        return found

    async def _fetch(self, domain: str, identity: str) -> StsPolicy | _Failed:
        """Ask the web server, unless it has just failed for the same id."""
        failed = self._failed.peek((domain, identity))
        if failed is not None:
            return failed
        async with self._places:
            fetched = await self._ask(domain)
        self._counters.inc(METRIC, ("ok" if isinstance(fetched, StsPolicy) else fetched.result,))
        if isinstance(fetched, _Failed):
            self._failed.put((domain, identity), fetched, RETRY)
        return fetched

    async def _ask(self, domain: str) -> StsPolicy | _Failed:
        url = f"https://mta-sts.{domain}/.well-known/mta-sts.txt"
        try:
            answer = await self._fetcher.get(url, timeout=TIMEOUT, limit=MAX_POLICY)
        except FetchError as error:
            certificate = "certificate" in str(error)
            return _Failed(STS_WEBPKI if certificate else STS_FETCH, f"the MTA-STS policy could not be fetched: {error}")
        if answer.status != 200:
            return _Failed(STS_FETCH, f"the MTA-STS policy could not be fetched: the server answered {answer.status}")
        if answer.content_type.partition(";")[0].strip().lower() != "text/plain":
            return _Failed(STS_INVALID, "the MTA-STS policy is not text/plain")
        try:
            return read_policy(answer.body)
        except StsError as error:
            return _Failed(STS_INVALID, f"the MTA-STS policy is not valid: {error}")

    async def _keep(self, domain: str, identity: str, policy: StsPolicy, *, used_at: float) -> None:
        now = self._clock.now()
        row = StoredPolicy(domain, identity, str(policy.mode), policy.mx, policy.max_age, now, now + policy.max_age, used_at)
        await self._write([sts_policies.put(row)])

    async def _note_used(self, kept: StoredPolicy, now: float) -> None:
        if kept.used_at < now - _DAY:
            await self._write([sts_policies.note_used(kept.domain, now)])

    async def _write(self, operations: list[Any]) -> None:
        with contextlib.suppress(WriteFailed):  # it holds for this mail all the same, and is fetched again
            await self._submit(operations)


def _of(kept: StoredPolicy) -> StsPolicy:
    return StsPolicy(StsMode(kept.mode), kept.mx, kept.max_age)
