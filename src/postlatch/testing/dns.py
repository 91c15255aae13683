"""A resolver that answers from a zone file (the JSON form of the command line's ``--zone``)."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from postlatch.model.dns import DnsError, MxRecord
from postlatch.model.envelope import IPAddress

Zone = Mapping[str, Mapping[str, Any]]
_MAX_CNAMES = 10


class FakeResolver:
    """Answers from ``{"name": {"MX": ["10 mx.example."], "A": "SERVFAIL"}}``.

    A name that is absent is NXDOMAIN, a type that is absent is no data, the strings SERVFAIL and TIMEOUT fail that look-up; a
    CNAME is followed; names compare without case and without a final dot. ``queries`` lists what was asked.
    """

    def __init__(self, zone: Zone) -> None:
        self._zone = {name.lower().rstrip("."): types for name, types in zone.items()}
        self.queries: list[tuple[str, str]] = []

    @classmethod
    def from_file(cls, path: Path) -> FakeResolver:
        """Read a zone file; ValueError if it is none."""
        zone = json.loads(path.read_text("utf-8"))
        if not isinstance(zone, dict) or not all(isinstance(types, dict) for types in zone.values()):
            raise ValueError(f'{path} is no zone file: write {{"name": {{"A": ["192.0.2.1"]}}}}')
        return cls(zone)

    async def mx(self, name: str) -> list[MxRecord]:
        """MX records, in the zone's order."""
        records = []
        for text in self._records(name, "MX"):
            preference, _, host = text.partition(" ")
            records.append(MxRecord(int(preference), host.strip().lower().rstrip(".")))
        return records

    async def addresses(self, name: str) -> list[IPAddress]:
        """AAAA and A records; fails only if a type fails and the other has nothing."""
        found: list[IPAddress] = []
        failure: DnsError | None = None
        for kind in ("AAAA", "A"):
            try:
                found += [ipaddress.ip_address(text) for text in self._records(name, kind)]
            except DnsError as error:
                failure = error
        if failure is not None and not found:
            raise failure
        return found

    async def a(self, name: str) -> list[IPAddress]:
        """A records."""
        return [ipaddress.ip_address(text) for text in self._records(name, "A")]

    async def aaaa(self, name: str) -> list[IPAddress]:
        """AAAA records."""
        return [ipaddress.ip_address(text) for text in self._records(name, "AAAA")]

    async def ptr(self, address: IPAddress) -> list[str]:
        """PTR records, of the name ``….in-addr.arpa`` or ``….ip6.arpa``."""
        return [text.lower().rstrip(".") for text in self._records(address.reverse_pointer, "PTR")]

    async def records(self, name: str, kind: str) -> list[str]:
        """Records of any type, as they stand in the zone."""
        return self._records(name, kind)

    async def txt(self, name: str) -> list[bytes]:
        """TXT records."""
        return [text.encode("utf-8", "surrogateescape") for text in self._records(name, "TXT")]

    def _records(self, name: str, kind: str) -> list[str]:
        for _ in range(_MAX_CNAMES):
            key = name.lower().rstrip(".")
            self.queries.append((key, kind))
            types = self._zone.get(key)
            if types is None:
                raise DnsError(f"{key} does not exist", temporary=False)
            if "CNAME" in types and kind not in types:
                cname = types["CNAME"]
                name = cname[0] if isinstance(cname, list) else cname
                continue
            records = types.get(kind, [])
            if records in {"SERVFAIL", "TIMEOUT"} if isinstance(records, str) else False:
                raise DnsError(f"{records} for {key} {kind}", temporary=True)
            return [records] if isinstance(records, str) else list(records)
        raise DnsError(f"{name}: too many CNAMEs", temporary=True)
