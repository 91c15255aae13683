"""What a relay is, as far as the DNS is concerned, and the text of the records that it needs. Pure."""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address
from typing import NamedTuple

from postlatch.model.envelope import IPAddress

TTL = 3600
MX_PREFERENCE = 10
_STS_MAX_AGE = 86_400  # a day, for as long as the mode is "testing"

# The name in CAA records of authorities whose certificates name them otherwise (RFC 8659 section 4.2).
_AUTHORITIES = {
    "let's encrypt": "letsencrypt.org",
    "digicert": "digicert.com",
    "sectigo": "sectigo.com",
    "zerossl": "sectigo.com",
    "google trust services": "pki.goog",
    "globalsign": "globalsign.com",
    "buypass": "buypass.com",
    "actalis": "actalis.it",
    "harica": "harica.gr",
    "entrust": "entrust.net",
}


class KeyRecord(NamedTuple):
    """A DKIM key: ``record`` is the text to publish at ``selector._domainkey.domain``; ``state`` as ``dkim list`` has it."""

    domain: str
    selector: str
    record: str
    state: str


class Link(NamedTuple):
    """One certificate of the chain that clients see: the whole of it and its public key, both in DER."""

    whole: bytes
    public_key: bytes


class Certificate(NamedTuple):
    """What clients see. ``names`` lower-case; ``issuer`` is its organisation; ``chain`` begins with the server's own."""

    names: tuple[str, ...]
    issuer: str
    self_signed: bool
    not_after: float
    chain: tuple[Link, ...]


class Site(NamedTuple):
    """One domain of this relay, and what the relay is.

    ``backup``: a domain of others that is only relayed to. ``receives``: there is a listener of role ``mx``. ``bound`` are the
    public addresses on which such listeners listen by themselves; ``versions`` the IP versions on which any of them does;
    ``own`` the public addresses from which mail leaves as the machine's routes are; ``smarthost`` the host that mail leaves by.
    """

    domain: str
    hostname: str
    now: float
    backup: bool = False
    receives: bool = True
    bound: tuple[IPAddress, ...] = ()
    versions: frozenset[int] = frozenset({4, 6})
    own: tuple[IPAddress, ...] = ()
    smarthost: str = ""
    keys: tuple[KeyRecord, ...] = ()
    certificate: Certificate | None = None
    certificate_problem: str = ""
    dmarc_reports: str = ""
    tls_reports: str = ""
    ours: frozenset[str] = frozenset()

    @property
    def tlsa_name(self) -> str:
        """Where senders look for the TLSA records of this host (RFC 7672 section 2.2)."""
        return f"_25._tcp.{self.hostname}"


def mx(site: Site) -> str:
    """This host as mail exchanger."""
    return f"{MX_PREFERENCE} {site.hostname}."


def spf_terms(addresses: tuple[IPAddress, ...]) -> list[str]:
    """Mechanisms for single addresses."""
    return [f"ip4:{address}" if isinstance(address, IPv4Address) else f"ip6:{address}" for address in addresses]


def spf_host(site: Site) -> str:
    """The mechanism for this host: ``mx``, unless others are the domain's mail exchangers."""
    return "mx" if site.receives else f"a:{site.hostname}"


def spf(site: Site, addresses: tuple[IPAddress, ...] = ()) -> str:
    """Our mail comes from this host (and from these addresses), and from nowhere else."""
    return " ".join(["v=spf1", spf_host(site), *spf_terms(addresses), "-all"])


def dmarc(site: Site, policy: str = "none") -> str:
    """The first record of a domain: change nothing, and hear what happens."""
    rua = f"; rua=mailto:{uri_address(site.dmarc_reports)}" if site.dmarc_reports else ""
    return f"v=DMARC1; p={policy}{rua}"


def tls_rpt(site: Site) -> str:
    """RFC 8460 section 3; ``""`` where no address is configured."""
    return f"v=TLSRPTv1; rua=mailto:{uri_address(site.tls_reports)}" if site.tls_reports else ""


def sts_policy(site: Site) -> tuple[str, ...]:
    """The lines of the policy file (RFC 8461 section 3.2), to begin with."""
    return ("version: STSv1", "mode: testing", f"mx: {site.hostname}", f"max_age: {_STS_MAX_AGE}")


def sts(site: Site) -> str:
    """RFC 8461 section 3.1. The id follows from the policy, so that it changes when the policy does."""
    digest = hashlib.sha256("\n".join(sts_policy(site)).encode()).hexdigest()
    return f"v=STSv1; id={digest[:16]};"


def tlsa(site: Site) -> str:
    """``3 1 1``: the server's own public key (RFC 7672 section 3.1.1); ``""`` without a certificate."""
    if site.certificate is None:
        return ""
    return f"3 1 1 {hashlib.sha256(site.certificate.chain[0].public_key).hexdigest()}"


def authority(issuer: str) -> str:
    """The issuer's name in CAA records; ``""`` if it is not one of those that we know."""
    lower = issuer.lower()
    return next((name for words, name in _AUTHORITIES.items() if words in lower), "")


def caa(site: Site) -> str:
    """Only the authority of our certificate may issue; ``""`` if we do not know its name there."""
    known = authority(site.certificate.issuer) if site.certificate is not None else ""
    return f'0 issue "{known}"' if known else ""


def uri_address(address: str) -> str:
    """An address in a ``mailto:`` of a tag list: comma, semicolon, exclamation mark and what URIs reserve are escaped."""
    safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~@+="
    return "".join(c if c in safe else "".join(f"%{octet:02X}" for octet in c.encode()) for c in address)
