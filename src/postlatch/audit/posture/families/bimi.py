"""BIMI: the mark that mail readers show beside mail that passes DMARC. draft-brand-indicators-for-message-identification."""

from __future__ import annotations

import asyncio
from typing import Final

from postlatch.audit.posture.asking import ask
from postlatch.audit.posture.families.dmarc import enforces
from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, unknown
from postlatch.audit.values import Finding, Severity
from postlatch.senderauth.dmarc.walk import discover

_BIMI: Final = ("bimi.record", "BIMI record")
_MOST_URL: Final = 500


async def check_bimi(subject: Subject, tools: Tools) -> list[Check]:
    """The record of the selector ``default``."""
    name = f"default._bimi.{subject.domain}"
    found, policy = await asyncio.gather(ask(tools.resolver.txt(name)), discover(tools.resolver, subject.domain))
    if found.failed:
        return [unknown(*_BIMI, f"{name} TXT: {found.failed}")]
    records = [text for text in found.records if text.split(b";", 1)[0].replace(b" ", b"").lower() == b"v=bimi1"]
    if not records:
        return [check(*_BIMI, State.ABSENT, "there is none, and none is needed")]
    if len(records) > 1:
        message = f"{name} has several records"
        return [judged(*_BIMI, "", [fault("bimi.several", Severity.LOW, message, "no mark is shown", "delete all but one")])]
    text = records[0][:2_000].decode("utf-8", "replace")
    tags = {key.strip().lower(): value.strip() for key, _, value in (part.partition("=") for part in text.split(";")[1:20])}
    if not tags.get("l") and not tags.get("a"):
        return [check(*_BIMI, State.INFO, "the domain declines to have a mark")]
    faults = [*_url(tags.get("l", ""), "l", ".svg", needed=True), *_url(tags.get("a", ""), "a", ".pem", needed=False)]
    if not tags.get("a"):
        faults.append(
            fault(
                "bimi.no-certificate",
                Severity.INFO,
                "the mark has no certificate (a=)",
                "many mail readers do not show it",
                "get a mark certificate (VMC or CMC) and name its URL in a=",
            )
        )
    if policy.problem is None and not enforces(policy):
        faults.append(
            fault(
                "bimi.no-enforcement",
                Severity.LOW,
                "the DMARC policy does not keep forgeries out",
                "no mark is shown: BIMI asks for p=quarantine or p=reject, in subdomains too",
                "strengthen the DMARC policy first",
            )
        )
    return [judged(*_BIMI, text[:200], faults, seen=policy.problem is None)]


def _url(url: str, tag: str, ending: str, *, needed: bool) -> list[Finding]:
    if not url and not needed:
        return []
    host, _, path = url.removeprefix("https://").partition("/")
    plain = url.isascii() and url.isprintable() and " " not in url and len(url) <= _MOST_URL
    if url.startswith("https://") and "." in host and path.partition("?")[0].lower().endswith(ending) and plain:
        return []
    message = f"{tag}={url[:100]} is no https URL of a {ending} file"
    return [fault(f"bimi.{tag}", Severity.LOW, message, "no mark is shown", f"{tag}=https://HOST/FILE{ending}")]
