"""Our own TLS reports, in the form of RFC 8460: who asks for them, the JSON, the file's name."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from postlatch.senderauth.dkim.tags import TagError, parse_tags
from postlatch.senderauth.dmarc.parse import report_addresses
from postlatch.senderauth.reports.compose import Metadata
from postlatch.senderauth.reports.values import TlsFailure

_VERSION: Final = "TLSRPTv1"
_MAX_RECORD: Final = 4096  # octets


class Asked(NamedTuple):
    """What a domain's record asks for: reports to ``mailboxes``. ``https``: to a web server as well, or only."""

    mailboxes: tuple[str, ...] = ()
    https: bool = False


def read_record(texts: Iterable[bytes]) -> Asked:
    """The TXT records at ``_smtp._tls``. Exactly one must be a TLS-RPT record (section 3); what is faulty asks for nothing."""
    found = [text for text in texts if _is_record(text)]
    if len(found) != 1 or len(found[0]) > _MAX_RECORD:
        return Asked()
    try:
        rua = parse_tags(found[0]).get("rua", "")
    except TagError:
        return Asked()
    uris = [uri.strip(" \t").lower() for uri in rua.split(",", 100)[:100]]
    return Asked(report_addresses(rua)[0], any(uri.startswith("https://") for uri in uris))


def _is_record(text: bytes) -> bool:
    name, equals, value = text.partition(b";")[0].partition(b"=")
    return bool(equals) and name.strip(b" \t") == b"v" and value.strip(b" \t") == _VERSION.encode()


def tls_report_id(meta: Metadata, domain: str) -> str:
    """The same for the same day and domain, whenever it is made: letters and digits, and another one than a DMARC report's."""
    digest = sha256(f"tls\n{meta.hostname}\n{domain}\n{meta.begin}".encode()).hexdigest()
    return f"{meta.begin}{digest[:20]}"


def tls_file_name(meta: Metadata, domain: str) -> str:
    """Section 5.1: sender, policy domain, begin, end, id."""
    return f"{meta.hostname}!{domain}!{meta.begin}!{meta.end}!{tls_report_id(meta, domain)}.json.gz"


class UnderPolicy(NamedTuple):
    """How sessions fared under one policy of the type ``kind`` (section 4.4), with its text and the hosts that it names."""

    kind: str
    lines: tuple[str, ...]
    mx: tuple[str, ...]
    successes: int
    failures: int
    details: Sequence[TlsFailure] = ()


def compose_tls(meta: Metadata, domain: str, found: Sequence[UnderPolicy]) -> bytes:
    """The gzip file (section 5.2) with the JSON of section 4.4. The same input gives the same octets."""
    report: dict[str, Any] = {
        "organization-name": meta.organization,
        "date-range": {"start-datetime": _moment(meta.begin), "end-datetime": _moment(meta.end)},
        "contact-info": meta.contact,
        "report-id": tls_report_id(meta, domain),
        "policies": [_policy(domain, one) for one in found],
    }
    return gzip.compress(json.dumps(report, indent=1).encode("ascii"), mtime=0)


def _policy(domain: str, found: UnderPolicy) -> dict[str, Any]:
    """Where no policy was found there is neither a text nor a pattern of MX hosts."""
    policy: dict[str, Any] = {"policy-type": found.kind}
    if found.lines:
        policy["policy-string"] = list(found.lines)
    policy["policy-domain"] = domain
    if found.mx:
        policy["mx-host"] = list(found.mx)
    return {
        "policy": policy,
        "summary": {"total-successful-session-count": found.successes, "total-failure-session-count": found.failures},
        **({"failure-details": [_detail(one) for one in found.details]} if found.details else {}),
    }


def _detail(failure: TlsFailure) -> dict[str, Any]:
    """What is not known is left out: an empty text is no address."""
    texts = {
        "sending-mta-ip": failure.sending_address,
        "receiving-mx-hostname": failure.receiving_host,
        "receiving-ip": failure.receiving_address,
    }
    detail: dict[str, Any] = {"result-type": failure.result, **{key: text for key, text in texts.items() if text}}
    detail["failed-session-count"] = failure.sessions
    if failure.information:
        detail["failure-reason-code"] = failure.information
    return detail


def _moment(seconds: int) -> str:
    """RFC 3339 section 5.6."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
