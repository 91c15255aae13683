"""CAA: which authorities may issue certificates for the mail hosts. RFC 8659; RFC 9495 for certificates of people."""

from __future__ import annotations

import asyncio
from typing import Final

from postlatch.audit.posture.asking import ask
from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, several, unknown
from postlatch.audit.values import Finding, Severity
from postlatch.model.dns import Resolver

_CAA: Final = ("caa.records", "CAA records")
_KNOWN: Final = frozenset({"issue", "issuewild", "issuemail", "issuevmc", "iodef", "contactemail", "contactphone"})
_MOST_LABELS: Final = 10


async def check_caa(subject: Subject, tools: Tools) -> list[Check]:
    """The domain and its mail hosts: the record of the nearest name above counts (section 3)."""
    names = list(dict.fromkeys((subject.domain, *(host.name for host in subject.hosts.hosts))))
    found = await asyncio.gather(*(_relevant(tools.resolver, name) for name in names))
    failed = [name for name, (_, why) in zip(names, found, strict=True) if why]
    without = [name for name, (records, why) in zip(names, found, strict=True) if not records and not why]
    if failed:
        return [unknown(*_CAA, f"not answered for {several(failed)}")]
    if len(without) == len(names):
        return [check(*_CAA, State.ABSENT, "there are none", [_missing(without)])]
    faults = [finding for records, _ in found for text in records for finding in _judge(text)]
    if without:
        faults.append(_missing(without))
    issuers = dict.fromkeys(value for records, _ in found for tag, value in map(_tag_and_value, records) if tag == "issue")
    return [judged(*_CAA, f"may issue: {several(issuers) or 'nobody'}", faults)]


async def _relevant(resolver: Resolver, name: str) -> tuple[tuple[str, ...], str]:
    labels = name.split(".")
    for number in range(min(len(labels), _MOST_LABELS)):
        found = await ask(resolver.records(".".join(labels[number:]), "CAA"))
        if found.records or found.failed:
            return found.records, found.failed
    return (), ""


def _tag_and_value(text: str) -> tuple[str, str]:
    parts = text.split(None, 2)
    return (parts[1].lower(), parts[2].strip('"')) if len(parts) == 3 else ("", "")


def _judge(text: str) -> list[Finding]:
    flags, tag = (*text.split(None, 2), "", "")[:2]
    critical = flags.isascii() and flags.isdigit() and len(flags) <= 3 and int(flags) & 0x80
    if tag.lower() in _KNOWN or not critical:
        return []
    message = f"the record {text[:100]} is critical, and its tag is not known"
    return [
        fault(
            "caa.critical",
            Severity.MEDIUM,
            message,
            "no authority may issue a certificate then",
            "correct the tag, or delete it",
        )
    ]


def _missing(names: list[str]) -> Finding:
    return fault(
        "caa.missing",
        Severity.INFO,
        f"no CAA record applies to {several(names)}",
        "every authority in the world may issue a certificate for it",
        f'publish, with the name of your authority: {names[0]}. CAA 0 issue "letsencrypt.org"',
    )
