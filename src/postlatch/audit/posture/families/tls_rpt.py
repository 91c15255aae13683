"""TLS-RPT: senders report where TLS with this domain fails. RFC 8460."""

from __future__ import annotations

from typing import Final

from postlatch.audit.posture.asking import ask
from postlatch.audit.posture.subject import Subject, Tools
from postlatch.audit.posture.values import Check, State, check, fault, judged, several, unknown
from postlatch.audit.values import Severity

_RECORD: Final = ("tls-rpt.record", "TLS reports")


async def check_tls_rpt(subject: Subject, tools: Tools) -> list[Check]:
    """The record and its addresses."""
    domain = subject.domain
    if subject.hosts.null:
        return [check(*_RECORD, State.INFO, "the domain takes no mail")]
    name, fix = f"_smtp._tls.{domain}", f'publish: _smtp._tls.{domain}. TXT "v=TLSRPTv1; rua=mailto:tls-reports@{domain}"'
    found = await ask(tools.resolver.txt(name))
    if found.failed:
        return [unknown(*_RECORD, f"{name} TXT: {found.failed}")]
    records = [text for text in found.records if text.split(b";", 1)[0].strip() == b"v=TLSRPTv1"]
    why = "you do not hear of it when senders fail to deliver with TLS"
    if not records:
        missing = fault("tls-rpt.missing", Severity.LOW, f"{domain} asks for no TLS reports", why, fix)
        return [check(*_RECORD, State.ABSENT, missing.message, [missing])]
    if len(records) > 1:
        return [judged(*_RECORD, "", [fault("tls-rpt.several", Severity.MEDIUM, f"{name} has several records", why, fix)])]
    fields = (part.strip().partition("=") for part in records[0].decode("ascii", "replace").split(";")[1:50])
    values = [value.strip() for key, _, value in fields if key.strip() == "rua"]
    targets = [one.strip() for one in (values[0].split(",") if values else [])][:20]
    bad = [one for one in targets if not _is_target(one)]
    if not targets or bad:
        what = f"{several(bad)} is neither mailto: nor https:" if bad else "the record has no rua"
        return [judged(*_RECORD, "", [fault("tls-rpt.rua", Severity.MEDIUM, what, why, fix)])]
    return [judged(*_RECORD, f"to {several(targets)}", [])]


def _is_target(uri: str) -> bool:
    kind, _, rest = uri.partition(":")
    local, at, host = rest.partition("?")[0].rpartition("@")
    return (kind.lower() == "mailto" and bool(local and at and host)) or (
        kind.lower() == "https" and rest[:2] == "//" and len(rest) > 3
    )
