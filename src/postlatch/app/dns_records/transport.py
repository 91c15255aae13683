"""What others see of our TLS: the certificate, TLSA (DANE, RFC 7672) and CAA (RFC 8659)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from postlatch.app.dns_records import wanted
from postlatch.app.dns_records.hosts import unknown
from postlatch.app.dns_records.published import Published, ancestors
from postlatch.app.dns_records.rows import Row, Status, listed, printable
from postlatch.app.dns_records.wanted import Certificate, Link, Site

_CERTIFICATE = "certificate"
_DIGESTS = {"1": hashlib.sha256, "2": hashlib.sha512}


def certificate_rows(site: Site) -> Iterator[Row]:
    """Whether the certificate is one of this host. No record, but what the records promise."""
    found = site.certificate
    if found is None:
        why = site.certificate_problem or "There is no certificate, so mail comes in without encryption. Add [tls]."
        status = Status.WRONG if site.certificate_problem else Status.OPTIONAL
        yield Row(site.hostname, _CERTIFICATE, status, why)
    elif fault := _fault(site, found):
        why = f"The certificate cannot be right: {fault}. Whoever checks it does not deliver, and mail programs warn."
        yield Row(site.hostname, _CERTIFICATE, Status.WRONG, f"{why} Get one for {site.hostname}.", "", found.names)
    elif found.self_signed:
        why = (
            "The certificate is signed by itself. Mail servers do not mind; mail programs warn, and MTA-STS needs a better one."
        )
        yield Row(site.hostname, _CERTIFICATE, Status.OK, why, "", found.names)
    else:
        yield Row(site.hostname, _CERTIFICATE, Status.OK, f"It names {site.hostname}.", "", found.names)


def certificate_fault(site: Site) -> str:
    """Why a sender that checks the certificate would not deliver; part of a sentence, ``""`` if it would."""
    if site.certificate is None:
        return "this relay has none"
    return _fault(site, site.certificate) or ("ours is signed by itself" if site.certificate.self_signed else "")


def _fault(site: Site, found: Certificate) -> str:
    if found.not_after <= site.now:
        return "it has expired"
    if not any(_covers(name, site.hostname) for name in found.names):
        named = listed(found.names) or "no host at all"
        return f"it names {named}, and this relay is {site.hostname}"
    return ""


def _covers(name: str, host: str) -> bool:
    """RFC 9525 section 6.3: a wildcard stands for exactly one label."""
    if name.startswith("*."):
        return host.partition(".")[2] == name[2:]
    return name == host


def tlsa_rows(site: Site, published: Published) -> Iterator[Row]:
    """A TLSA record that does not match is worse than none: who follows it does not deliver."""
    name, want = site.tlsa_name, wanted.tlsa(site)
    found = published.at(name, "TLSA")
    if found.failure:
        yield unknown(name, "TLSA", found)
    elif not found.records:
        if want:
            why = (
                "With it others check the certificate by DNS (DANE). Only useful if the zone is signed with DNSSEC. It must be "
                "changed before the key changes: let your ACME client keep the key. Mail works without it."
            )
            yield Row(name, "TLSA", Status.OPTIONAL, why, want)
    else:
        yield _tlsa(site, name, found.records, want)


def _tlsa(site: Site, name: str, records: tuple[str, ...], want: str) -> Row:
    chain = site.certificate.chain if site.certificate is not None else ()
    matching = tuple(text for text in records if _matches(text, chain))
    stale = tuple(text for text in records if text not in matching)
    if not matching:
        what = "this relay offers no TLS" if not chain else "none of them matches the certificate"
        why = (
            f"TLSA records are published, and {what}. Senders that check them (DANE) do not deliver: their mail waits, and "
            "then bounces. Replace or remove them now."
        )
        return Row(name, "TLSA", Status.WRONG, why, want, records, records)
    more = f" {len(stale)} other does not match: right only for a key that comes next, else remove it." if stale else ""
    return Row(name, "TLSA", Status.OK, f"It matches the certificate. Change it before you change the key.{more}", "", records)


def _matches(text: str, chain: tuple[Link, ...]) -> bool:
    """RFC 6698 section 2.1. Usages 0 and 1 are not for SMTP (RFC 7672 section 3.1.3)."""
    words = text.split()
    if len(words) < 4:
        return False
    usage, selector, kind, given = words[0], words[1], words[2], "".join(words[3:]).lower()
    links = chain[:1] if usage == "3" else chain if usage == "2" else ()
    if selector not in {"0", "1"} or kind not in {"0", *_DIGESTS}:
        return False
    parts = (link.public_key if selector == "1" else link.whole for link in links)
    return any((_DIGESTS[kind](part).hexdigest() if kind in _DIGESTS else part.hex()) == given for part in parts)


def caa_rows(site: Site, published: Published) -> Iterator[Row]:
    """Who may issue certificates for the host: the nearest records above it count (RFC 8659 section 3)."""
    want = wanted.caa(site)
    for name in ancestors(site.hostname):
        found = published.at(name, "CAA")
        if found.failure:
            yield unknown(name, "CAA", found)
            return
        if found.records:
            yield _caa(site, name, found.records)
            return
    if want:
        why = "With it only the authority of your certificate may issue others for this host. Mail works without it."
        yield Row(site.hostname, "CAA", Status.OPTIONAL, why, want)


def _caa(site: Site, name: str, records: tuple[str, ...]) -> Row:
    issuers = [value for tag, value in map(_caa_issue, records) if tag == "issue"]
    known = wanted.authority(site.certificate.issuer) if site.certificate is not None else ""

    def row(status: Status, why: str, publish: str = "") -> Row:
        return Row(name, "CAA", status, why, publish, records)

    if not issuers:
        return row(Status.OK, "No record of them restricts who may issue certificates for this host.")
    who = listed(filter(None, issuers)) or "nobody"
    if not known:
        return row(Status.OK, f"Certificates may be issued by {who}. See that yours is among them, or its renewal fails.")
    if known not in issuers:
        issuer = printable(site.certificate.issuer, 60) if site.certificate is not None else ""
        why = f"Certificates may be issued by {who}. Yours is from {issuer} ({known}), so its renewal will be refused. Add it."
        return row(Status.WRONG, why, wanted.caa(site))
    return row(Status.OK, f"The authority of your certificate, {known}, may issue.")


def _caa_issue(text: str) -> tuple[str, str]:
    """Tag and the authority's name of one record, ``0 issue "ca.example; account=1"``."""
    _, _, rest = text.partition(" ")
    tag, _, value = rest.strip().partition(" ")
    return tag.lower(), value.strip().strip('"').partition(";")[0].strip().lower()
