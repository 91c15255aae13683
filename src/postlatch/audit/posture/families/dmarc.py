"""DMARC: what receivers are to do with forgeries, and who hears of it. RFC 9989 and 9990."""

from __future__ import annotations

import asyncio
from typing import Final

from postlatch.audit.posture.asking import ask
from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, several, unknown
from postlatch.audit.values import Finding, Severity
from postlatch.model.dns import Resolver
from postlatch.senderauth.dmarc.destination import Destination, external_destination
from postlatch.senderauth.dmarc.parse import Record, is_record, report_addresses
from postlatch.senderauth.dmarc.walk import Policy, discover
from postlatch.senderauth.results import Disposition, Result

_RECORD: Final = ("dmarc.record", "DMARC record")
_REMOVED: Final = ("pct", "rf", "ri")  # RFC 9989 appendix C
_KNOWN: Final = frozenset({"v", "p", "sp", "np", "adkim", "aspf", "fo", "psd", "rua", "ruf", "t"})
_FORGED: Final = "mail that forges your domain in From: is delivered like yours"


async def check_dmarc(subject: Subject, tools: Tools) -> list[Check]:
    """The record that applies: the domain's own, or that of a parent."""
    domain = subject.domain
    own, policy = await asyncio.gather(ask(tools.resolver.txt(f"_dmarc.{domain}")), discover(tools.resolver, domain))
    if own.failed or policy.problem is Result.TEMPERROR:
        return [unknown(*_RECORD, f"_dmarc.{domain} TXT: {own.failed or policy.reason}")]
    records = [text for text in own.records if is_record(text)]
    if len(records) > 1:
        return [judged(*_RECORD, "", [_several(domain, len(records))])]
    if policy.problem is not None or (not records and not policy.domain):
        return [check(*_RECORD, State.ABSENT, policy.reason, [_missing(policy, domain, has_record=bool(records))])]
    texts = own.records if records else (await ask(tools.resolver.txt(f"_dmarc.{policy.domain}"))).records
    text = next((one for one in texts if is_record(one)), b"").decode("latin-1")
    inherited = f", inherited from {policy.domain}" if policy.inherited else ""
    record = judged(*_RECORD, f"{text[:300]}{inherited}", _tag_faults(text, policy.domain))
    reports = await _reports(tools.resolver, policy.domain, policy.record, text)
    return [record, _policy(policy), _subdomains(policy.record, policy.domain), _alignment(policy.record), reports]


def _several(domain: str, count: int) -> Finding:
    return fault(
        "dmarc.several",
        Severity.HIGH,
        f"_dmarc.{domain} has {count} DMARC records",
        "receivers use none of them then (RFC 9989 section 4.10)",
        "delete all but one",
    )


def _missing(policy: Policy, domain: str, *, has_record: bool) -> Finding:
    return fault(
        "dmarc.unusable" if has_record else "dmarc.missing",
        Severity.HIGH,
        policy.reason if has_record else f"there is no DMARC record for {domain}",
        _FORGED,
        f'publish: _dmarc.{domain}. TXT "v=DMARC1; p=none; rua=mailto:dmarc@{domain}", read the reports, then p=reject',
    )


def _tags(text: str) -> list[tuple[str, str]]:
    parts = (part.partition("=") for part in text.split(";")[:100])
    return [(name.strip(" \t").lower(), value.strip(" \t")) for name, _, value in parts if name.strip(" \t")]


def _tag_faults(text: str, domain: str) -> list[Finding]:
    tags = _tags(text)
    names = [name for name, _ in tags]
    removed = [name for name in _REMOVED if name in names]
    faults = []
    if removed:
        kept = "; ".join(f"{name}={value}" for name, value in tags if name not in _REMOVED)
        faults.append(
            fault(
                "dmarc.removed-tags",
                Severity.LOW,
                f"the record has {', '.join(removed)}, which DMARC has no longer (RFC 9989)",
                "receivers ignore it, whatever it says: pct does not make the policy softer",
                f'publish: _dmarc.{domain}. TXT "{kept}"',
            )
        )
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        faults.append(
            fault(
                "dmarc.doubled-tags",
                Severity.MEDIUM,
                f"the tag {several(doubled)} stands more than once",
                "receivers read different things from that",
                "keep each tag once",
            )
        )
    if foreign := [name for name in names if name not in _KNOWN and name not in _REMOVED]:
        faults.append(
            fault("dmarc.unknown-tags", Severity.INFO, f"unknown tags: {several(foreign)}", "they are ignored", "take them out")
        )
    return faults


def _policy(policy: Policy) -> Check:
    name, title = "dmarc.policy", "DMARC policy"
    record, asked = policy.record, policy.asked_for
    if asked is None:
        return unknown(name, title, "which policy holds depends on whether the domain exists, and the DNS did not say")
    faults = []
    if asked is Disposition.NONE:
        faults.append(
            fault(
                "dmarc.none",
                Severity.MEDIUM,
                "the policy is none: forgeries are only reported",
                _FORGED,
                "when the reports show that your mail passes: p=quarantine, then p=reject",
            )
        )
    elif record.testing:
        faults.append(
            fault(
                "dmarc.testing",
                Severity.MEDIUM,
                f"t=y: the policy {asked} is only tried",
                "receivers apply the next weaker one (RFC 9989 section 4.7)",
                "take t=y out of the record",
            )
        )
    return judged(name, title, f"forgeries are to be {_DONE[asked]}", faults)


_DONE: Final = {Disposition.NONE: "delivered", Disposition.QUARANTINE: "put into quarantine", Disposition.REJECT: "rejected"}


def _subdomains(record: Record, domain: str) -> Check:
    name, title = "dmarc.subdomains", "DMARC policy of subdomains"
    faults = []
    for tag, exists in (("sp", True), ("np", False)):
        given = record.sp if exists else record.np
        if record.p is not Disposition.NONE and given is Disposition.NONE:
            faults.append(
                fault(
                    f"dmarc.{tag}-none",
                    Severity.MEDIUM,
                    f"{tag}=none: subdomains {'' if exists else 'that do not exist '}may be forged",
                    f"anybody can write as billing.{domain}",
                    f"take {tag} out of the record, or set it to reject",
                )
            )
    existing, absent = (record.policy_for_subdomain(exists=exists) for exists in (True, False))
    return judged(name, title, f"{existing} for those that exist, {absent} for those that do not", faults)


def _alignment(record: Record) -> Check:
    dkim, spf = ("strict" if strict else "relaxed" for strict in (record.strict_dkim, record.strict_spf))
    return check("dmarc.alignment", "DMARC alignment", State.INFO, f"DKIM {dkim}, SPF {spf}")


async def _reports(resolver: Resolver, domain: str, record: Record, text: str) -> Check:
    name, title = "dmarc.reports", "DMARC reports"
    ruf, _ = report_addresses(dict(_tags(text)).get("ruf", ""))
    if not record.rua:
        missing = fault(
            "dmarc.no-rua",
            Severity.LOW,
            "nobody gets aggregate reports",
            "you do not see who sends in your name, nor which of your own mail fails",
            f"add rua=mailto:dmarc@{domain} to the record",
        )
        return judged(name, title, "", [missing])
    hosts = list(dict.fromkeys(address.rpartition("@")[2].lower() for address in (*record.rua, *ruf)))[:10]
    answers = await asyncio.gather(*(external_destination(resolver, domain, host) for host in hosts))
    faults = [
        _forbidden(domain, host, one) for host, one in zip(hosts, answers, strict=True) if not (one.allowed or one.temporary)
    ]
    seen = not any(one.temporary for one in answers)
    detail = f"to {several(record.rua)}" if seen else "whether all addresses may get them was not answered"
    return judged(name, title, detail, faults, seen=seen)


def _forbidden(domain: str, host: str, answer: Destination) -> Finding:
    return fault(
        "dmarc.report-permission",
        Severity.LOW,
        f"reports may not go to {host}: {answer.reason}",
        "receivers send them to nobody (RFC 9990)",
        f'let the owner of {host} publish: {domain}._report._dmarc.{host}. TXT "v=DMARC1"',
    )


def enforces(policy: Policy) -> bool:
    """Whether forgeries are kept out, in subdomains too: what BIMI asks for."""
    record = policy.record
    strong = policy.problem is None and policy.asked_for in {Disposition.QUARANTINE, Disposition.REJECT}
    return strong and not record.testing and record.sp is not Disposition.NONE and record.p is not Disposition.NONE
