"""SPF: is there one record, is it valid, and whom does it let in? RFC 7208."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from postlatch.audit.posture.asking import ask
from postlatch.audit.posture.families.shared import shared_by
from postlatch.audit.posture.families.spf_tree import MAX_TERMS, MAX_VOIDS, Tree, Walker, count_v4
from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, several, unknown
from postlatch.audit.values import Finding, Severity
from postlatch.model.dns import Resolver
from postlatch.senderauth.results import Result
from postlatch.senderauth.spf.parse import parse_record, spf_records
from postlatch.senderauth.spf.problem import RecordError

_RECORD: Final = ("spf.record", "SPF record")
_MANY_V4: Final = 1 << 20  # addresses: more than the largest mail providers publish
_TOO_MANY_V4: Final = 1 << 24
_SPOOF: Final = "anybody may send mail that says it is yours, and SPF has nothing against it"


async def check_spf(subject: Subject, tools: Tools) -> list[Check]:
    """The record, and all that it includes."""
    domain = subject.domain
    found = await ask(tools.resolver.txt(domain))
    if found.failed:
        return [unknown(*_RECORD, f"the TXT records of {domain}: {found.failed}")]
    records = spf_records(found.records)
    if not records:
        wanted = "v=spf1 mx -all" if subject.hosts.hosts and not subject.hosts.null else "v=spf1 -all"
        missing = fault(
            "spf.missing", Severity.HIGH, f"{domain} has no SPF record", _SPOOF, f'publish: {domain}. TXT "{wanted}"'
        )
        return [check(*_RECORD, State.ABSENT, missing.message, [missing])]
    if len(records) > 1:
        several_records = fault(
            "spf.several",
            Severity.HIGH,
            f"{domain} has {len(records)} SPF records",
            "to receivers that is an error, as if there were none (RFC 7208 section 4.5)",
            f"keep one, which has the terms of all: {_shown(records[0])}",
        )
        return [judged(*_RECORD, "", [several_records])]
    try:
        record = parse_record(records[0])
    except RecordError as error:
        term = f", at {error.term}" if error.term else ""
        malformed = fault(
            "spf.malformed",
            Severity.HIGH,
            f"the SPF record is malformed{term}: {error}",
            "to receivers that is an error, as if there were no record (RFC 7208 section 4.6)",
            "correct or remove that term",
        )
        return [judged(*_RECORD, "", [malformed])]
    walker = Walker(tools.resolver)
    await walker.walk(domain, record)
    tree = walker.tree
    shared = await _shared(tools.resolver, domain, tree)
    valid = judged(*_RECORD, f"one valid record: {_shown(records[0])}", _problems(tree), seen=not tree.failed)
    redirected = record.redirect is not None and tree.ending is None
    return [valid, _all(tree, domain, redirected=redirected), _lookups(tree), _range(tree, domain), _ptr(tree), shared]


def _shown(record: bytes) -> str:
    return record[:300].decode("ascii", "replace")


def _problems(tree: Tree) -> Iterable[Finding]:
    for problem in tree.problems[:5]:
        yield fault(
            "spf.broken-include",
            Severity.HIGH,
            problem,
            "the whole record is an error then, as if there were none (RFC 7208 section 5.2)",
            "take this term out, or correct the record that it names",
        )


def _everybody(tree: Tree, domain: str) -> Finding:
    return fault(
        "spf.everybody",
        Severity.CRITICAL,
        f"{tree.everybody[0]} lets everybody send for {domain}",
        _SPOOF,
        'let the record end in "-all", and list your senders before it',
    )


def _all(tree: Tree, domain: str, *, redirected: bool) -> Check:
    name, title = "spf.all", "SPF: what holds for everybody else"
    if tree.everybody:
        return judged(name, title, "", [_everybody(tree, domain)])
    if redirected and (tree.failed or tree.dynamic or tree.problems):
        return unknown(name, title, "it stands in the record that redirect= names, which was not seen")
    if tree.ending is None or tree.ending.result is Result.NEUTRAL:
        says = f"ends in {tree.ending.text}" if tree.ending else "does not end in all"
        neutral = fault(
            "spf.neutral",
            Severity.MEDIUM,
            f"the record {says}: it says nothing about strangers",
            "mail of strangers is neither permitted nor denied (RFC 7208 section 2.6.2)",
            'let the record end in "-all" (or "~all" while DMARC decides)',
        )
        return judged(name, title, "", [neutral])
    what = "not permitted" if tree.ending.result is Result.FAIL else "probably not permitted"
    return judged(name, title, f"{tree.ending.text}: all others are {what}", [])


def _lookups(tree: Tree) -> Check:
    name, title = "spf.lookups", "SPF: DNS look-ups"
    faults = []
    more = "more than " if tree.cut else ""
    if tree.terms > MAX_TERMS:
        faults.append(
            fault(
                "spf.lookups",
                Severity.HIGH,
                f"the record needs {more}{tree.terms} DNS look-ups; {MAX_TERMS} are permitted",
                "receivers stop there with an error, and mail of yours fails (RFC 7208 section 4.6.4)",
                f"take out includes that you do not need ({several(tree.includes)}), or write ip4: and ip6: for fixed servers",
            )
        )
    if len(tree.voids) > MAX_VOIDS:
        faults.append(
            fault(
                "spf.voids",
                Severity.HIGH,
                f"{len(tree.voids)} terms name what is not in the DNS; {MAX_VOIDS} are permitted",
                "receivers may stop there with an error (RFC 7208 section 4.6.4)",
                f"take out: {several(tree.voids)}",
            )
        )
    elif tree.voids:
        faults.append(
            fault(
                "spf.void",
                Severity.LOW,
                f"{several(tree.voids)} names what is not in the DNS",
                "it lets nobody in, and who registers the name could send for you",
                "take it out",
            )
        )
    detail = f"{tree.terms} of {MAX_TERMS} look-ups" + (f"; not answered: {several(tree.failed)}" if tree.failed else "")
    return judged(name, title, detail, faults, seen=not tree.failed)


def _range(tree: Tree, domain: str) -> Check:
    name, title = "spf.range", "SPF: how many addresses may send"
    total = count_v4(tree.networks)
    v4 = [network for network in tree.networks if network.version == 4]
    v6 = [network for network in tree.networks if network.version == 6]
    far = sorted(str(n) for n in (*(n for n in v4 if n.prefixlen <= 8), *(n for n in v6 if n.prefixlen <= 16)))
    wide = sorted(str(n) for n in (*(n for n in v4 if n.prefixlen < 16), *(n for n in v6 if n.prefixlen < 32)))
    why = "who has any one of these addresses can send as you, and SPF passes"
    fix = "name the servers that send for you, one by one or by their small networks"
    faults = []
    if far or total >= _TOO_MANY_V4:
        message = f"the record lets in {total:,} IPv4 addresses" + (f", with {several(far)}" if far else "")
        faults.append(fault("spf.too-wide", Severity.HIGH, message, why, fix))
    elif wide or total > _MANY_V4:
        message = f"the record lets in {total:,} IPv4 addresses" + (f", with {several(wide)}" if wide else "")
        faults.append(fault("spf.wide", Severity.LOW, message, why, fix))
    if tree.everybody:
        return judged(name, title, "", [*faults, _everybody(tree, domain)])
    dynamic = f"; {several(tree.dynamic)} depends on the message" if tree.dynamic else ""
    detail = f"{total:,} IPv4 addresses and {len(v6)} IPv6 networks{dynamic}"
    return judged(name, title, detail, faults, seen=not tree.failed and not tree.cut)


def _ptr(tree: Tree) -> Check:
    name, title = "spf.ptr", "SPF: no ptr"
    faults = [
        fault(
            "spf.ptr",
            Severity.LOW,
            f"the record uses {text}",
            "it is slow and not to be used; some receivers skip it (RFC 7208 section 5.5)",
            "name the hosts with a: or the addresses with ip4: and ip6:",
        )
        for text in tree.pointers[:3]
    ]
    return judged(name, title, "not used", faults, seen=not tree.failed)


async def _shared(resolver: Resolver, domain: str, tree: Tree) -> Check:
    name, title = "spf.shared", "SPF: senders that are shared with others"
    faults = []
    for target in dict.fromkeys(tree.includes):
        shared = shared_by(target)
        if shared is None or (shared.provider == "MailChannels" and await _locked_down(resolver, domain)):
            continue
        faults.append(
            fault(
                "spf.shared-loose" if shared.loose else "spf.shared",
                Severity.LOW if shared.loose else Severity.INFO,
                f"include:{target} lets in all customers of {shared.provider}",
                "another customer may be able to send as you, and SPF passes",
                shared.advice,
            )
        )
    return judged(name, title, "none that are known to be shared", faults, seen=not tree.failed)


async def _locked_down(resolver: Resolver, domain: str) -> bool:
    found = await ask(resolver.txt(f"_mailchannels.{domain}"))
    return any(text[:5].lower() == b"v=mc1" for text in found.records)
