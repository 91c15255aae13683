"""What this relay is: from its settings, its certificate and the machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from postlatch.app.dns_records.wanted import Certificate, KeyRecord, Link, Site
from postlatch.delivery.config import parse_route
from postlatch.delivery.guard import is_public, unmapped
from postlatch.model.envelope import IPAddress, Role
from postlatch.settings.tree import Settings

_FAR = ("198.41.0.4", "2001:503:ba3e::2:30")  # a.root-servers.net: nothing is sent, only the route is looked up


def site_of(
    settings: Settings, domain: str, *, now: float, keys: Sequence[KeyRecord] = (), own: Sequence[IPAddress] | None = None
) -> Site:
    """The site for one domain of the configuration. ``own``: instead of asking this machine. Reads the certificate's file."""
    listening = list(_listening(settings))
    wild = {address.version for address in listening if address.is_unspecified}
    certificate, problem = _certificate(settings)
    smarthost = settings.outbound.smarthost
    return Site(
        domain=domain,
        hostname=settings.hostname,
        now=now,
        backup=domain in settings.relay_domains,
        receives=bool(listening),
        bound=tuple(address for address in listening if is_public(address) and address.version not in wild),
        versions=frozenset(address.version for address in listening),
        own=tuple(address for address in (own_addresses() if own is None else own) if is_public(address)),
        smarthost=parse_route(smarthost).host if smarthost is not None else "",
        keys=tuple(keys),
        certificate=certificate,
        certificate_problem=problem,
        dmarc_reports=settings.reports.dmarc or "",
        tls_reports=settings.reports.tls or "",
        ours=frozenset((*settings.domains, *settings.relay_domains)),
    )


def _listening(settings: Settings) -> Iterator[IPAddress]:
    """The addresses of the listeners for mail from strangers."""
    for listener in settings.listeners:
        if listener.role is Role.MX:
            for text in listener.address:
                yield unmapped(ip_address(text.rpartition(":")[0].strip("[]")))


def own_addresses() -> list[IPAddress]:
    """The addresses from which this machine would send to the internet, by its routes; without sending anything."""
    found: list[IPAddress] = []
    for far in _FAR:
        family = socket.AF_INET6 if ":" in far else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((far, 53))
                found.append(ip_address(sock.getsockname()[0]))
        except OSError:
            continue  # no route in this family: nothing is sent by it
    return found


def _certificate(settings: Settings) -> tuple[Certificate | None, str]:
    if settings.tls is None:
        return None, ""
    try:
        return read_certificate(settings.tls.certificate), ""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no certificate in PEM"
        return None, f"{settings.tls.certificate} cannot be read: {reason}."


def read_certificate(path: Path) -> Certificate:
    """The chain of a PEM file; OSError or ValueError if there is none."""
    chain = x509.load_pem_x509_certificates(path.read_bytes())
    first = chain[0]
    issuer = [*first.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    issuer += first.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Certificate(
        names=_names(first),
        issuer=str(issuer[0].value) if issuer else "",
        self_signed=first.issuer == first.subject,
        not_after=first.not_valid_after_utc.timestamp(),
        chain=tuple(_link(certificate) for certificate in chain),
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """RFC 9525 section 2: only the subject alternative names count."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))


def _link(certificate: x509.Certificate) -> Link:
    key = certificate.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Link(certificate.public_bytes(serialization.Encoding.DER), key)
