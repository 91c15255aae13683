"""A domain whose records are all right, and what it takes to spoil one of them and to mend it again."""

from __future__ import annotations

import asyncio
import base64
import copy
import hashlib
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import dns.rdatatype
import dns.zone
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dns.rdtypes.ANY.TXT import TXT

from postlatch.app.dns_records.compare import compare
from postlatch.app.dns_records.fragment import fragment
from postlatch.app.dns_records.published import look_up
from postlatch.app.dns_records.rows import Row
from postlatch.app.dns_records.wanted import Certificate, KeyRecord, Link, Site
from postlatch.senderauth.spf.verify import check_spf
from postlatch.testing.dns import FakeResolver

Zone = dict[str, dict[str, Any]]

DOMAIN, HOST = "example.com", "mail.example.com"
V4, V6 = "11.22.33.44", "2a99::25"
OTHER_V4 = "11.22.33.99"
PTR4, PTR6 = ip_address(V4).reverse_pointer, ip_address(V6).reverse_pointer


def key_text(seed: int) -> str:
    """A key record that is the same at every run."""
    public = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key().public_bytes_raw()
    return f"v=DKIM1; k=ed25519; p={base64.b64encode(public).decode()}"


KEY = KeyRecord(DOMAIN, "s1", key_text(1), "active")
CHAIN = (Link(b"the certificate", b"its public key"), Link(b"the authority", b"the authority's key"))
TLSA = f"3 1 1 {hashlib.sha256(CHAIN[0].public_key).hexdigest()}"
CERTIFICATE = Certificate((HOST,), "Let's Encrypt", self_signed=False, not_after=2_000_000_000.0, chain=CHAIN)
SITE = Site(
    DOMAIN,
    HOST,
    1_800_000_000.0,
    keys=(KEY,),
    certificate=CERTIFICATE,
    dmarc_reports="dmarc@example.com",
    tls_reports="tls@example.com",
    ours=frozenset({DOMAIN, "example.org"}),
)

GOOD: Zone = {
    "com": {"NS": ["ns.registry.example."]},
    DOMAIN: {"NS": ["ns1.example.net."], "MX": ["10 mail.example.com."], "TXT": ["v=spf1 mx -all", "site-verification=1"]},
    HOST: {"A": [V4], "AAAA": [V6], "TXT": ["v=spf1 a -all"], "CAA": ['0 issue "letsencrypt.org"']},
    PTR4: {"PTR": ["mail.example.com."]},
    PTR6: {"PTR": ["mail.example.com."]},
    "_dmarc.example.com": {"TXT": ["v=DMARC1; p=reject; rua=mailto:dmarc@example.com"]},
    "s1._domainkey.example.com": {"TXT": [KEY.record]},
    "_mta-sts.example.com": {"TXT": ["v=STSv1; id=20261124;"]},
    "mta-sts.example.com": {"A": [V4]},
    "_smtp._tls.example.com": {"TXT": ["v=TLSRPTv1; rua=mailto:tls@example.com"]},
    "_25._tcp.mail.example.com": {"TLSA": [TLSA]},
}


# The places of records, by what they are for.
SPF, DMARC, DKIM = (DOMAIN, "TXT"), ("_dmarc.example.com", "TXT"), ("s1._domainkey.example.com", "TXT")
STS, RPT, DANE = ("_mta-sts.example.com", "TXT"), ("_smtp._tls.example.com", "TXT"), ("_25._tcp.mail.example.com", "TLSA")
MX, A, PTR, CERT = (DOMAIN, "MX"), (HOST, "A"), (PTR4, "PTR"), (HOST, "certificate")

BACKUP = {"backup.example.net": {"A": [OTHER_V4]}}
INCLUDED = {f"i{n}.example.net": {"TXT": [f"v=spf1 ip4:11.0.0.{n} -all"]} for n in range(11)}


def spf_of(record: str, *more: str) -> dict[str, Any]:
    """Other SPF records."""
    return {DOMAIN: {"TXT": [record, *more]}}


def dmarc_of(*records: str) -> dict[str, Any]:
    """Other DMARC records."""
    return {"_dmarc.example.com": {"TXT": list(records)}}


def dkim_of(*records: str) -> dict[str, Any]:
    """Other records where our key belongs."""
    return {"s1._domainkey.example.com": {"TXT": list(records)}}


def spoiled(changes: Mapping[str, Mapping[str, Any] | None]) -> Zone:
    """The good zone with other types at some names; None takes a name or a type away."""
    zone = copy.deepcopy(GOOD)
    for name, types in changes.items():
        if types is None:
            zone.pop(name)
            continue
        merged = {**zone.get(name, {}), **types}
        zone[name] = {kind: found for kind, found in merged.items() if found is not None}
    return zone


def looked_at(zone: Mapping[str, Mapping[str, Any]], site: Site = SITE) -> tuple[list[Row], str]:
    """All rows, and the fragment."""
    published = asyncio.run(look_up(site, FakeResolver(zone), check_spf))
    rows = compare(site, published)
    return rows, fragment(site, published, rows)


def by_place(rows: list[Row]) -> dict[tuple[str, str], Row]:
    """Rows that are unlike ``ok``."""
    return {(row.name, row.type): row for row in rows if row.status != "ok"}


def loaded(text: str, *, optional: bool = False) -> list[tuple[str, str, str]]:
    """The records of a fragment as dnspython's zone parser reads them: name, type, data (TXT: the plain text)."""
    text = text.replace("; optional: ", "") if optional else text
    zone = dns.zone.from_text(text, origin="example.com.", relativize=False, check_origin=False)
    found = []
    for name, _, data in zone.iterate_rdatas():
        kind = dns.rdatatype.to_text(data.rdtype)
        plain = b"".join(data.strings).decode("latin-1") if isinstance(data, TXT) else data.to_text()
        found.append((name.to_text(omit_final_dot=True).lower(), kind, plain))
    return found


def mended(zone: Mapping[str, Mapping[str, Any]], text: str, *, optional: bool = False) -> Zone:
    """The zone after somebody did exactly what the fragment says."""
    new: Zone = {name: {kind: copy.copy(found) for kind, found in types.items()} for name, types in zone.items()}
    removals = "\n".join(line.removeprefix("; remove: ") for line in text.splitlines() if line.startswith("; remove: "))
    for name, kind, data in loaded(removals):
        new[name][kind] = [one for one in new[name][kind] if one.rstrip(".") != data.rstrip(".")]
    for name, kind, data in loaded(text, optional=optional):
        types = new.setdefault(name, {})
        types[kind] = [*types.get(kind, []), data]
    return new
