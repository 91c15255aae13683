"""Zones with DNSSEC signatures (RFC 4034), whole or broken in a chosen way."""

from __future__ import annotations

import time
from typing import NamedTuple

import dns.dnssec
import dns.zone
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

_WEEK = 7 * 86_400


class Signed(NamedTuple):
    """The text of a zone, and the DS record by which its key is trusted."""

    text: str
    anchor: str


def zone_text(name: str, records: str) -> str:
    """A zone file with what each zone needs."""
    return (
        f"{name}. 60 IN SOA ns.{name}. hostmaster.{name}. 1 3600 600 86400 60\n"
        f"{name}. 60 IN NS ns.{name}.\nns.{name}. 60 IN A 127.0.0.1\n{records}"
    )


def signed(name: str, records: str, *, age: float = 0.0) -> Signed:
    """Sign a zone for a week, as of ``age`` seconds ago."""
    zone = dns.zone.from_text(zone_text(name, records), origin=f"{name}.", relativize=False)
    private = generate_private_key(SECP256R1())
    key = dns.dnssec.make_dnskey(private.public_key(), 13, flags=257)
    start = int(time.time() - age) - 3600
    dns.dnssec.sign_zone(zone, keys=[(private, key)], inception=start, expiration=start + _WEEK, dnskey_ttl=60)
    anchor = dns.dnssec.make_ds(f"{name}.", key, "SHA256")
    return Signed(zone.to_text(relativize=False, want_origin=False), f"{name}. DS {anchor.to_text()}")
