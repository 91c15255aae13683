"""The difference between what is published and what should be: one row a record. Pure."""

from __future__ import annotations

from postlatch.app.dns_records import hosts, policies, senders, transport
from postlatch.app.dns_records.published import Published
from postlatch.app.dns_records.rows import BAD, Row, Status
from postlatch.app.dns_records.wanted import Site


def compare(site: Site, published: Published) -> list[Row]:
    """All rows, in the order in which one would publish them. A domain that we only relay to keeps its sender's records."""
    rows = [*hosts.mx_rows(site, published), *hosts.address_rows(site, published), *hosts.ptr_rows(site, published)]
    if not site.backup:
        rows += [*senders.spf_rows(site, published), *senders.dkim_rows(site, published)]
        rows += policies.dmarc_rows(site, published)
    if site.receives:
        rows += transport.certificate_rows(site)
        rows += [*policies.sts_rows(site, published), *policies.tls_rpt_rows(site, published)]
        rows += [*transport.tlsa_rows(site, published), *transport.caa_rows(site, published)]
    return rows


def is_bad(rows: list[Row]) -> bool:
    """Something is to be mended."""
    return any(row.status in BAD for row in rows)


def is_unknown(rows: list[Row]) -> bool:
    """Something could not be asked."""
    return any(row.status is Status.UNKNOWN for row in rows)
