"""``dns``: the records of one of our domains, against what the DNS has."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from postlatch.app.answer import BAD_NEWS, GOOD, UNDECIDED, Answer, CommandError
from postlatch.app.dkim_servers import resolver_of
from postlatch.app.dns_records.compare import compare, is_bad, is_unknown
from postlatch.app.dns_records.fragment import fragment
from postlatch.app.dns_records.published import look_up
from postlatch.app.dns_records.site import site_of
from postlatch.app.dns_records.wanted import KeyRecord
from postlatch.app.world import World
from postlatch.model.dns import Resolver
from postlatch.senderauth.spf.verify import check_spf
from postlatch.store import dkim_keys
from postlatch.testing.dns import FakeResolver

_MAX_ZONE = 16 * 2**20  # octets of a zone file


async def records(world: World, arguments: dict[str, Any]) -> Answer:
    """What to publish, what is published, and the difference. 1: something is wrong; 3: else something is not known."""
    domain = str(arguments["domain"])
    settings = world.settings
    if domain not in settings.domains and domain not in settings.relay_domains:
        known = ", ".join(sorted({*settings.domains, *settings.relay_domains})) or "none"
        raise CommandError(f"{domain} is no domain of this relay; the configuration has: {known}")
    resolver = await _resolver(world, arguments.get("zone"))
    keys = [KeyRecord(key.domain, key.selector, key.record, key.state) for key in await world.reader.read(dkim_keys.load)]
    site = await asyncio.to_thread(site_of, settings, domain, now=world.now(), keys=keys)
    published = await look_up(site, resolver, check_spf)
    rows = compare(site, published)
    status = BAD_NEWS if is_bad(rows) else UNDECIDED if is_unknown(rows) else GOOD
    data = {
        "ok": status == GOOD,
        "records": [row.as_json() for row in rows],
        "fragment": fragment(site, published, rows),
    }
    return Answer(status, data)


async def _resolver(world: World, zone: str | None) -> Resolver:
    """The DNS, asked anew (what was just published must be seen), or a zone file."""
    if zone is None:
        return resolver_of(world.settings, world.clock)
    try:
        return await asyncio.to_thread(_read_zone, Path(zone))
    except OSError as error:
        raise CommandError(f"{zone} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{zone} is no zone file: {error}") from None


def _read_zone(path: Path) -> FakeResolver:
    """ValueError if it is no zone file, down to the single record."""
    with path.open("rb") as file:
        content = file.read(_MAX_ZONE + 1)
    if len(content) > _MAX_ZONE:
        raise ValueError(f"it is larger than {_MAX_ZONE // 2**20} MiB")
    zone = json.loads(content)
    if not isinstance(zone, dict) or not all(isinstance(types, dict) for types in zone.values()):
        raise ValueError('write {"name": {"A": ["192.0.2.1"]}}')
    for name, types in zone.items():
        for kind, found in types.items():
            if not _are_records(kind, found):
                raise ValueError(f'the {kind} records of {name} must be a list of texts, like ["192.0.2.1"]')
    return FakeResolver(zone)


def _are_records(kind: str, found: Any) -> bool:
    texts = found if isinstance(found, list) else [found]
    return all(isinstance(text, str) for text in texts) and (bool(texts) or kind != "CNAME")
