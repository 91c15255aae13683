"""May reports about a domain go to an address elsewhere? RFC 9990, Verifying External Destinations (RFC 7489 section 7.1)."""

from __future__ import annotations

from typing import Final, NamedTuple

from postlatch.model.dns import DnsError, Resolver
from postlatch.senderauth.dmarc.parse import MAX_REPORT_ADDRESSES, Record, is_record, parse_record
from postlatch.senderauth.dmarc.walk import Answers, ask, is_askable, normal, walk

_MAX_RECORDS: Final = 20  # that are read of one answer


class Destination(NamedTuple):
    """``allowed`` to send; ``addresses`` then replace that of the policy, if there are any; ``temporary``: ask again later."""

    allowed: bool
    reason: str
    addresses: tuple[str, ...] = ()
    temporary: bool = False


async def external_destination_ok(resolver: Resolver, domain: str, rua_domain: str) -> bool:
    """Whether reports about ``domain``, whose record it is, may go to a mailbox of ``rua_domain``. A failing DNS is a no."""
    return (await external_destination(resolver, domain, rua_domain)).allowed


async def external_destination(resolver: Resolver, domain: str, rua_domain: str) -> Destination:
    """As ``external_destination_ok``, with the reason: at most 17 look-ups."""
    domain, host = normal(domain), normal(rua_domain)
    if not is_askable(domain) or not is_askable(host):
        return Destination(allowed=False, reason="not a name that the DNS could know")
    same = await _same_organisation(resolver, domain, host)
    if same is None:
        return Destination(allowed=False, reason="the DNS did not answer", temporary=True)
    if same:
        return Destination(allowed=True, reason="the same organisation")
    name = f"{domain}._report._dmarc.{host}"
    if len(name) > 253:
        return Destination(allowed=False, reason="the name that would permit it is too long for the DNS")
    try:
        texts = await resolver.txt(name)
    except DnsError as error:
        why = "the DNS did not answer" if error.temporary else f"{name} has no record that permits it"
        return Destination(allowed=False, reason=why, temporary=error.temporary)
    return _judge([text for text in texts if is_record(text)][:_MAX_RECORDS], name, host)


async def _same_organisation(resolver: Resolver, domain: str, host: str) -> bool | None:
    if domain == host:
        return True
    if domain.rpartition(".")[2] != host.rpartition(".")[2]:
        return False
    answers: Answers = {}
    await ask(resolver, (domain, host), answers)
    one, other = walk(domain, answers).organizational, walk(host, answers).organizational
    return None if one is None or other is None else one == other


def _judge(texts: list[bytes], name: str, host: str) -> Destination:
    records = [record for text in texts if (record := parse_record([text])) is not None]
    if not records:
        return Destination(allowed=False, reason=f"{name} has no record that permits it")
    addresses = _addresses(records)
    if any(_host_of(address) != host for address in addresses):
        return Destination(allowed=False, reason=f"the record of {name} names an address of yet another domain")
    return Destination(allowed=True, reason=f"permitted by {name}", addresses=addresses)


def _addresses(records: list[Record]) -> tuple[str, ...]:
    found = dict.fromkeys(address for record in records for address in record.rua)
    return tuple(found)[:MAX_REPORT_ADDRESSES]


def _host_of(address: str) -> str:
    return normal(address.rpartition("@")[2])
