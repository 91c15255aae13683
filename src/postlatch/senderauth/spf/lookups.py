"""The look-ups of one check: counted, and every failure either nothing or a temperror (RFC 7208 sections 4.6.4, 5 and 5.5)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from postlatch.model.dns import DnsError, Resolver
from postlatch.model.envelope import IPAddress
from postlatch.senderauth.results import Result
from postlatch.senderauth.spf.budget import MAX_NAMES, Budget
from postlatch.senderauth.spf.identity import UNKNOWN
from postlatch.senderauth.spf.names import can_be_asked, is_within
from postlatch.senderauth.spf.problem import CheckError
from postlatch.senderauth.spf.text import short

_T = TypeVar("_T")


class Lookups:
    """Asks for one client."""

    def __init__(self, resolver: Resolver, client: IPAddress, budget: Budget) -> None:
        self._resolver = resolver
        self._client = client
        self._budget = budget
        self._names: list[str] | None = None
        self._validated: dict[str, bool] = {}

    async def txt(self, name: str) -> list[bytes]:
        """TXT records; none if the name is absent. Not counted: whether a name must have them is for the caller to say."""
        return await self._asked(self._resolver.txt(name), "TXT", name) if can_be_asked(name) else []

    async def any_a(self, name: str) -> bool:
        """True if the name has an A record, whatever the client's kind (section 5.7)."""
        return bool(await self._found(self._resolver.a(name), "A", name)) if can_be_asked(name) else False

    async def addresses(self, name: str) -> list[IPAddress]:
        """The addresses of the client's kind (section 5); none of a name that cannot exist (section 4.8)."""
        if not can_be_asked(name):
            return []
        if self._client.version == 4:
            return await self._found(self._resolver.a(name), "A", name)
        return await self._found(self._resolver.aaaa(name), "AAAA", name)

    async def exchanges(self, name: str) -> list[str]:
        """The hosts of a name's MX records, the best first; CheckError if there are too many (section 4.6.4)."""
        if not can_be_asked(name):
            return []
        records = await self._found(self._resolver.mx(name), "MX", name)
        if len(records) > MAX_NAMES:
            message = f"{short(name)} has more than {MAX_NAMES} MX records (RFC 7208 section 4.6.4)"
            raise CheckError(Result.PERMERROR, message)
        return [record.host for record in sorted(records)]

    async def is_named_in(self, domain: str) -> bool:
        """True if a name of the client that leads back to it is in ``domain`` (section 5.5)."""
        for name in await self._claimed():
            if is_within(name, domain) and await self._leads_back(name):
                return True
        return False

    async def validated_name(self, domain: str) -> str:
        """The value of %{p}: ``domain`` itself if that is a name of the client, else one in it, else any (section 7.3)."""
        if self._names is None:
            self._budget.count()
        names = await self._claimed()
        for name in sorted(names, key=lambda name: (name != domain, not is_within(name, domain))):
            if await self._leads_back(name):
                return name
        return UNKNOWN

    async def _claimed(self) -> list[str]:
        """The first ten names that the client's PTR records claim; none if they cannot be had."""
        if self._names is None:
            try:
                names = await self._found(self._resolver.ptr(self._client), "PTR", str(self._client))
            except CheckError as error:
                if error.result is not Result.TEMPERROR:
                    raise
                names = []
            self._names = [name.lower() for name in names[:MAX_NAMES]]
        return self._names

    async def _leads_back(self, name: str) -> bool:
        """True if the name has the client's address. An error skips this name, no more (section 5.5)."""
        known = self._validated.get(name)
        if known is None:
            try:
                known = self._client in await self.addresses(name)
            except CheckError as error:
                if error.result is not Result.TEMPERROR:
                    raise
                known = False
            self._validated[name] = known
        return known

    async def _found(self, answer: Awaitable[list[_T]], kind: str, name: str) -> list[_T]:
        records = await self._asked(answer, kind, name)
        if not records:
            self._budget.void()
        return records

    async def _asked(self, answer: Awaitable[list[_T]], kind: str, name: str) -> list[_T]:
        try:
            return await answer
        except DnsError as error:
            if not error.temporary:
                return []
            message = f"the DNS gave no usable answer for {kind} of {short(name)} (RFC 7208 section 2.6.6)"
            raise CheckError(Result.TEMPERROR, message) from None
