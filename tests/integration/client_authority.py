"""An authority for clients' certificates: one by one, or as chains of any length."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = dt.datetime.now(dt.UTC)


class ClientAuthority:
    """Its own certificate is in ``folder/NAME.pem``."""

    def __init__(self, folder: Path, name: str = "clients") -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = _name(name)
        self.certificate = _certificate(self.subject, self.key, self.subject, self.key, authority=True)
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(_pem(self.certificate))

    def issue(
        self, name: str, addresses: Sequence[str] = (), *, between: int = 0, server_only: bool = False, days: int = 10
    ) -> tuple[Path, Path]:
        """A client's certificate and key, with ``between`` authorities between this one and it. Returns both paths."""
        issuer, signer = self.subject, self.key
        chain = []
        for number in range(between):
            subject, key = _name(f"between {number}"), ec.generate_private_key(ec.SECP256R1())
            chain.append(_certificate(subject, key, issuer, signer, authority=True))
            issuer, signer = subject, key
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server_only else ExtendedKeyUsageOID.CLIENT_AUTH
        own = _certificate(_name(name), key, issuer, signer, addresses=addresses, usage=usage, days=days)
        certificate, secret = self._folder / f"{name}.cert.pem", self._folder / f"{name}.key.pem"
        certificate.write_bytes(_pem(own) + b"".join(map(_pem, reversed(chain))))
        secret.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return certificate, secret


def fingerprint(certificate: Path) -> str:
    """As ``openssl x509 -fingerprint -sha256`` shows it."""
    der = x509.load_pem_x509_certificate(certificate.read_bytes()).public_bytes(serialization.Encoding.DER)
    return ":".join(f"{octet:02X}" for octet in hashlib.sha256(der).digest())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    *,
    authority: bool = False,
    addresses: Sequence[str] = (),
    usage: x509.ObjectIdentifier | None = None,
    days: int = 10,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=30))
        .not_valid_after(NOW + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if addresses:
        names = x509.SubjectAlternativeName([x509.RFC822Name(address) for address in addresses])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())
