"""Our own aggregate reports, in the form of RFC 9990: the XML, the file's name, and to whom it may go by its size."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from postlatch.senderauth.reports.values import AuthResult

NAMESPACE: Final = "urn:ietf:params:xml:ns:dmarc-2.0"
DAY: Final = 86_400
MAX_SIGNATURES: Final = 100  # of one record (RFC 9990 section 3.1.3)
_SIZE: Final = re.compile(r"![0-9]{1,12}[kmgt]?\Z", re.IGNORECASE)
_UNITS: Final = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_DKIM_RESULTS: Final = frozenset({"none", "pass", "fail", "policy", "neutral", "temperror", "permerror"})
_SPF_RESULTS: Final = frozenset({"none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"})


class Published(NamedTuple):
    """The policy that was found. ``domain`` is whose record it is; ``sp`` and ``np`` with their defaults in place."""

    domain: str
    p: str
    sp: str
    np: str
    adkim: str
    aspf: str
    fo: str
    testing: bool


class Record(NamedTuple):
    """Messages that were alike. ``disposition`` is what was done: none, pass, quarantine or reject.

    ``reason`` is an override's type and ``comment`` its words, both empty if there was none. ``envelope_from`` is empty for
    the null sender.
    """

    source: str
    messages: int
    disposition: str
    dkim: bool
    spf: bool
    header_from: str
    envelope_from: str
    reason: str = ""
    comment: str = ""
    auth: tuple[AuthResult, ...] = ()


class Metadata(NamedTuple):
    """Who reports, and about which day (since 1970-01-01 UTC). ``hostname`` names the receiver in subject and file name."""

    organization: str
    contact: str
    hostname: str
    generator: str
    day: int

    @property
    def begin(self) -> int:
        """The first second of the day."""
        return self.day * DAY

    @property
    def end(self) -> int:
        """The last one."""
        return self.begin + DAY - 1


def report_id(meta: Metadata, domain: str) -> str:
    """The same for the same day and domain, whenever it is made (section 3.5.1): letters and digits, so it serves as
    ``unique-id`` of the file name as well, which must be identical (section 3.1.4)."""
    digest = sha256(f"{meta.hostname}\n{domain}\n{meta.begin}".encode()).hexdigest()
    return f"{meta.begin}{digest[:20]}"


def file_name(meta: Metadata, domain: str) -> str:
    """Section 3.5.2: receiver, policy domain, begin, end, id."""
    return f"{meta.hostname}!{domain}!{meta.begin}!{meta.end}!{report_id(meta, domain)}.xml.gz"


def compose(meta: Metadata, published: Published, records: Sequence[Record]) -> bytes:
    """The gzip file (RFC 1952). The same input gives the same octets."""
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<feedback xmlns="{NAMESPACE}">',
        "  <version>1.0</version>",
        *_metadata(meta, published.domain),
        *_policy(published),
        *(line for record in records for line in _record(record)),
        "</feedback>",
    ]
    return gzip.compress("\n".join([*lines, ""]).encode("utf-8"), mtime=0)


def _metadata(meta: Metadata, domain: str) -> Iterator[str]:
    yield "  <report_metadata>"
    yield _element("org_name", meta.organization, 4)
    yield _element("email", meta.contact, 4)
    yield _element("report_id", report_id(meta, domain), 4)
    yield f"    <date_range><begin>{meta.begin}</begin><end>{meta.end}</end></date_range>"
    yield _element("generator", meta.generator, 4)
    yield "  </report_metadata>"


def _policy(published: Published) -> Iterator[str]:
    yield "  <policy_published>"
    yield _element("domain", published.domain, 4)
    yield _element("discovery_method", "treewalk", 4)
    for name in ("p", "sp", "np", "fo", "adkim", "aspf"):
        yield _element(name, getattr(published, name), 4)
    yield _element("testing", "y" if published.testing else "n", 4)
    yield "  </policy_published>"


def _record(record: Record) -> Iterator[str]:
    yield "  <record>"
    yield "    <row>"
    yield _element("source_ip", record.source, 6)
    yield f"      <count>{record.messages}</count>"
    yield "      <policy_evaluated>"
    yield _element("disposition", record.disposition, 8)
    yield f"        <dkim>{_word(record.dkim)}</dkim>"
    yield f"        <spf>{_word(record.spf)}</spf>"
    if record.reason:
        comment = f"<comment>{escape(record.comment)}</comment>" if record.comment else ""
        yield f"        <reason><type>{escape(record.reason)}</type>{comment}</reason>"
    yield "      </policy_evaluated>"
    yield "    </row>"
    yield "    <identifiers>"
    yield _element("header_from", record.header_from, 6)
    yield _element("envelope_from", record.envelope_from, 6)
    yield "    </identifiers>"
    yield "    <auth_results>"
    yield from _results(record.auth, record.header_from)
    yield "    </auth_results>"
    yield "  </record>"


def _results(auth: Iterable[AuthResult], header_from: str) -> Iterator[str]:
    """Signatures by their worth to the domain's owner (section 3.1.3), then SPF of MAIL FROM (section 3.1.1.13)."""
    found = list(auth)
    signatures = [one for one in found if one.method == "dkim" and one.domain and one.selector and one.result in _DKIM_RESULTS]
    signatures.sort(key=lambda one: _worth(one, header_from))
    for one in signatures[:MAX_SIGNATURES]:
        parts = (_inline("domain", one.domain), _inline("selector", one.selector), _inline("result", one.result))
        yield f"      <dkim>{''.join(parts)}</dkim>"
    for one in [one for one in found if one.method == "spf" and one.domain and one.result in _SPF_RESULTS][:1]:
        parts = (_inline("domain", one.domain), _inline("scope", "mfrom"), _inline("result", one.result))
        yield f"      <spf>{''.join(parts)}</spf>"


def _worth(one: AuthResult, header_from: str) -> int:
    if one.result != "pass":
        return 3
    if one.domain == header_from:
        return 0
    return 1 if f".{header_from}".endswith(f".{one.domain}") or one.domain.endswith(f".{header_from}") else 2


def _word(passed: bool) -> str:
    return "pass" if passed else "fail"


def _inline(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"


def _element(name: str, text: str, indent: int) -> str:
    return f"{' ' * indent}{_inline(name, text)}"


def size_limit(rua: str, mailbox: str) -> int | None:
    """The ``!10m`` behind ``mailbox`` in a ``rua`` value, in octets; None if there is none.

    RFC 7489 section 6.3 had these limits; RFC 9990 section 3.5 still has a generator keep them, and many records carry one.
    """
    for part in rua.split(",", 100)[:100]:
        uri = part.strip(" \t")[:600]
        found = _SIZE.search(uri)
        if found is None or mailbox.lower() not in uri[: found.start()].lower():
            continue
        digits = found[0][1:]
        unit = _UNITS.get(digits[-1].lower(), 1)
        return int(digits.rstrip("kmgtKMGT")) * unit
    return None
