"""The certificate that a connection was shown: what SCRAM is bound to, before and after a renewal."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import hashlib
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from scramp.core import CBindData

from postlatch.accounts.external import CertificateLogins
from postlatch.accounts.mechanisms import NO_CHANNEL, Channel
from postlatch.server.proofs import Proofs, channel_of
from postlatch.server.tls import CertificateError, ServedContext, WatchedCertificate, end_point, make_context

NOW = dt.datetime.now(dt.UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def certify(
    folder: Path, key: Key, algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None, name: str = "own"
) -> bytes:
    """Write a certificate and its key; the certificate in DER."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay.example.com")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(days=1))
        .not_valid_after(NOW + dt.timedelta(days=1))
    )
    made = builder.sign(key, algorithm)
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return made.public_bytes(serialization.Encoding.DER)


def shake_hands(front: ssl.SSLContext, client: ssl.SSLContext | None = None) -> tuple[ssl.SSLObject, bytes]:
    """The server's side of a handshake in memory, and the certificate that its client saw."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client or any_client()
    ours = front.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server)
    for _ in range(5):
        for side in (theirs, ours):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    shown = theirs.getpeercert(binary_form=True)
    assert shown is not None
    return ours, shown


def any_client() -> ssl.SSLContext:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return client


def binding(connection: ssl.SSLObject) -> bytes | None:
    context = connection.context
    assert isinstance(context, ServedContext)
    return context.binding


@pytest.mark.parametrize(
    ("algorithm", "name"), [(hashes.SHA256(), "sha256"), (hashes.SHA384(), "sha384"), (hashes.SHA512(), "sha512")]
)
def test_the_binding_is_the_hash_that_the_signature_uses(
    tmp_path: Path, algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512, name: str
) -> None:
    der = certify(tmp_path, RSA, algorithm)
    assert end_point(der) == hashlib.new(name, der).digest() == bytes(CBindData.from_der(der))
    assert make_context(tmp_path / "own.pem", tmp_path / "own.key").binding == end_point(der)


@pytest.mark.parametrize("old", ["md5", "sha1"])
def test_where_the_signature_uses_an_old_hash_the_binding_is_sha256(tmp_path: Path, old: str) -> None:
    """RFC 5929 section 4.1."""
    openssl = shutil.which("openssl")
    assert openssl is not None
    (tmp_path / "key").write_bytes(
        RSA.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    command = [openssl, "req", "-x509", "-key", str(tmp_path / "key"), f"-{old}", "-subj", "/CN=old", "-outform", "DER"]
    der = subprocess.run(command, check=True, capture_output=True).stdout
    assert end_point(der) == hashlib.sha256(der).digest()


def test_where_the_signature_has_no_hash_there_is_no_binding(tmp_path: Path) -> None:
    der = certify(tmp_path, ed25519.Ed25519PrivateKey.generate(), None)
    assert end_point(der) is None
    watched = WatchedCertificate.load(tmp_path / "own.pem", tmp_path / "own.key")
    connection, shown = shake_hands(watched.context)
    assert shown == der
    assert binding(connection) is None


@pytest.mark.parametrize("octets", [b"", b"\x30\x03\x02\x01\x01", b"-----BEGIN CERTIFICATE-----"])
def test_what_is_no_certificate_has_no_binding(octets: bytes) -> None:
    assert end_point(octets) is None


def test_a_connection_keeps_the_certificate_of_its_handshake(tmp_path: Path) -> None:
    first = certify(tmp_path, EC, hashes.SHA256())
    watched = WatchedCertificate.load(tmp_path / "own.pem", tmp_path / "own.key")
    early, shown = shake_hands(watched.context)
    assert (binding(early), shown) == (end_point(first), first)
    second = certify(tmp_path, EC, hashes.SHA384())
    assert watched.refresh()
    late, shown = shake_hands(watched.context)
    assert (binding(late), shown) == (end_point(second), second)
    assert binding(early) == end_point(first)


def test_after_a_change_of_the_kind_of_key_the_old_certificate_is_shown_to_nobody(tmp_path: Path) -> None:
    """A context that is loaded twice has both, and the client's preference decides: no binding could be told from that."""
    certify(tmp_path, RSA, hashes.SHA256())
    watched = WatchedCertificate.load(tmp_path / "own.pem", tmp_path / "own.key")
    new = certify(tmp_path, EC, hashes.SHA256())
    assert watched.refresh()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = any_client()
        client.minimum_version = client.maximum_version = version
        connection, shown = shake_hands(watched.context, client)
        assert (shown, binding(connection)) == (new, end_point(new))


def test_a_renewal_that_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    first = certify(tmp_path, EC, hashes.SHA256())
    watched = WatchedCertificate.load(tmp_path / "own.pem", tmp_path / "own.key")
    (tmp_path / "own.pem").write_text("nonsense")
    with pytest.raises(CertificateError, match=r"own\.pem"):
        watched.refresh()
    assert shake_hands(watched.context)[1] == first


def test_only_with_authorities_are_clients_asked_for_certificates(tmp_path: Path) -> None:
    own, ca = tmp_path / "own.pem", tmp_path / "ca.pem"
    certify(tmp_path, EC, hashes.SHA256())
    trusted = certify(tmp_path, RSA, hashes.SHA256(), "ca")
    client = any_client()
    client.load_cert_chain(ca, tmp_path / "ca.key")
    watched = WatchedCertificate.load(own, tmp_path / "own.key")
    assert shake_hands(watched.asking, client)[0].getpeercert(binary_form=True) is None
    watched.replace(WatchedCertificate.load(own, tmp_path / "own.key", ca))
    assert shake_hands(watched.asking, client)[0].getpeercert(binary_form=True) == trusted
    assert shake_hands(watched.context, client)[0].getpeercert(binary_form=True) is None
    assert shake_hands(watched.asking)[0].getpeercert(binary_form=True) is None, "none is demanded"
    watched.replace(WatchedCertificate.load(own, tmp_path / "own.key"))
    assert shake_hands(watched.asking, client)[0].getpeercert(binary_form=True) is None


def test_a_certificate_of_another_authority_ends_the_handshake(tmp_path: Path) -> None:
    certify(tmp_path, EC, hashes.SHA256())
    certify(tmp_path, RSA, hashes.SHA256(), "ca")
    stranger = any_client()
    stranger.load_cert_chain(tmp_path / "own.pem", tmp_path / "own.key")
    watched = WatchedCertificate.load(tmp_path / "own.pem", tmp_path / "own.key", tmp_path / "ca.pem")
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake_hands(watched.asking, stranger)


class Secured(asyncio.Transport):
    """A transport of which nothing is asked but its TLS."""

    def __init__(self, connection: ssl.SSLObject) -> None:
        super().__init__({"ssl_object": connection})


def resume(front: ssl.SSLContext, client: ssl.SSLContext) -> list[ssl.SSLObject]:
    """The server's sides of two handshakes, the second of which resumes the first session if it can."""
    sides = []
    session = None
    for _ in range(2):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        ours = front.wrap_bio(to_server, to_client, server_side=True)
        theirs = client.wrap_bio(to_client, to_server, session=session)
        for _ in range(5):
            for side in (theirs, ours):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        ours.write(b"220")
        theirs.read(3)  # under TLS 1.3 the ticket comes with it
        session = theirs.session
        sides.append(ours)
    return sides


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_brings_nothing_of_its_own(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """No certificate was shown in it, neither ours nor the client's: what it would be bound to may be long gone."""
    own = certify(tmp_path, EC, hashes.SHA256())
    trusted = certify(tmp_path, RSA, hashes.SHA256(), "ca")
    client = any_client()
    client.minimum_version = client.maximum_version = version
    client.load_cert_chain(tmp_path / "ca.pem", tmp_path / "ca.key")
    watched = WatchedCertificate.load(tmp_path / "own.pem", tmp_path / "own.key")
    proofs = Proofs(binding=True, certificates=CertificateLogins({hashlib.sha256(trusted).hexdigest(): "printer"}))
    first, second = resume(watched.context, client)
    assert (first.session_reused, second.session_reused) == (False, True)
    assert channel_of(Secured(first), proofs) == Channel(end_point(own))
    assert channel_of(Secured(second), proofs) == NO_CHANNEL
    # Where clients show certificates there are no tickets, so under TLS 1.3 nothing to resume.
    asking = WatchedCertificate.load(tmp_path / "own.pem", tmp_path / "own.key", tmp_path / "ca.pem").asking
    first, second = resume(asking, client)
    whole = Channel(end_point(own), frozenset({"printer"}))
    assert channel_of(Secured(first), proofs) == whole
    assert second.session_reused is (version is ssl.TLSVersion.TLSv1_2)
    assert channel_of(Secured(second), proofs) == (NO_CHANNEL if second.session_reused else whole)


def test_without_the_setting_there_is_no_binding(tmp_path: Path) -> None:
    certify(tmp_path, EC, hashes.SHA256())
    watched = WatchedCertificate.load(tmp_path / "own.pem", tmp_path / "own.key")
    assert channel_of(Secured(shake_hands(watched.context)[0]), Proofs()) == NO_CHANNEL
    assert channel_of(asyncio.Transport(), Proofs(binding=True)) == NO_CHANNEL, "nor without TLS"


def test_authorities_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    certify(tmp_path, EC, hashes.SHA256())
    missing, broken = tmp_path / "missing.pem", tmp_path / "broken.pem"
    broken.write_text("nonsense")
    for path in (missing, broken):
        with pytest.raises(CertificateError, match=path.name):
            make_context(tmp_path / "own.pem", tmp_path / "own.key", path)
