"""The attestations of a release file (PEP 740): what of them can be verified with the octets at hand, and what cannot.

Verified: the signature of the envelope (DSSE) by the key of its certificate, and that the statement is an in-toto one of this
file's name and digest. Not verified: that the certificate authority of Sigstore issued the certificate, that its owner is the
publisher which the index names, and that the signature stands in the transparency log. That takes the keys of Sigstore, which
are handed out by a scheme of their own (TUF); the index says that it verified all this when the file came.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from postlatch.audit.printable import printable
from postlatch.audit.updates.data import AdvisoryDataError, load

_T = TypeVar("_T")

UNVERIFIED: Final = "not verified: whose certificate it is, and the transparency log"
_TYPE: Final = b"application/vnd.in-toto+json"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
# Where an index publishes it is the index's own word, of its own host (PEP 740); where it was built is SLSA's.
_PUBLISHED: Final = "/attestations/publish/v1"
_PROVENANCE: Final = "https://slsa.dev/provenance/v1"
_MOST: Final = 20  # attestations of one file


class AttestationError(Exception):
    """An attestation that does not hold. Its text is safe to show."""


class Attested(NamedTuple):
    """How many attestations of a file hold, and the publisher that the index names for them, as text."""

    number: int
    publisher: str


def verify(provenance: bytes, filename: str, sha256: str) -> Attested:
    """All attestations of a provenance object. One that does not hold spoils all: AttestationError says which and why."""
    bundles = _bundles(provenance)
    count, publishers = 0, list[str]()
    for bundle in bundles:
        publishers.append(_publisher(bundle.get("publisher")))
        for attestation in _part(bundle, "attestations", list)[:_MOST]:
            count += 1
            if count > _MOST:
                raise AttestationError(f"more than {_MOST} attestations")
            _check(attestation, filename, sha256)
    if not count:
        raise AttestationError("the provenance object has no attestation in it")
    return Attested(count, ", ".join(filter(None, publishers)))


def _bundles(provenance: bytes) -> list[Any]:
    try:
        found = load(provenance)
    except AdvisoryDataError as error:
        raise AttestationError(f"the provenance object cannot be read: {error}") from None
    bundles = _part(found, "attestation_bundles", list)
    if found.get("version") != 1 or not all(isinstance(bundle, dict) for bundle in bundles):
        raise AttestationError("the provenance object is not of version 1")
    return bundles[:_MOST]


def _part(value: Any, name: str, kind: type[_T]) -> _T:
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, kind):
        raise AttestationError(f'"{name}" is missing or of another type')
    return found


def _publisher(value: object) -> str:
    """As a person would say it: "GitHub example/postlatch release.yml"."""
    if not isinstance(value, Mapping):
        return ""
    words = (value.get(name) for name in ("kind", "repository", "workflow", "workflow_filepath", "email"))
    return printable(" ".join(word for word in words if isinstance(word, str)), 200)


def _octets(value: Any, name: str) -> bytes:
    try:
        return base64.b64decode("".join(_part(value, name, str).split()), validate=True)
    except (binascii.Error, ValueError):
        raise AttestationError(f'"{name}" is not base64') from None


def _check(attestation: Any, filename: str, sha256: str) -> None:
    envelope = _part(attestation, "envelope", dict)
    statement, signature = _octets(envelope, "statement"), _octets(envelope, "signature")
    certificate = _octets(_part(attestation, "verification_material", dict), "certificate")
    _check_signature(certificate, statement, signature)
    _check_statement(statement, filename, sha256)


def _check_signature(certificate: bytes, statement: bytes, signature: bytes) -> None:
    """DSSE: what is signed is the type and the payload, each with its length."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except Exception:  # noqa: BLE001 - the parser raises several kinds for a broken key or certificate
        raise AttestationError("its certificate cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise AttestationError("its certificate has no ECDSA key")
    signed = b"DSSEv1 %d %s %d %s" % (len(_TYPE), _TYPE, len(statement), statement)
    try:
        key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise AttestationError("its signature is wrong") from None


def _check_statement(statement: bytes, filename: str, sha256: str) -> None:
    try:
        found = load(statement)
    except AdvisoryDataError as error:
        raise AttestationError(f"its statement cannot be read: {error}") from None
    subjects = _part(found, "subject", list)
    kind = str(found.get("predicateType"))
    if found.get("_type") != _STATEMENT or not (kind == _PROVENANCE or kind.endswith(_PUBLISHED)):
        raise AttestationError("its statement is of another type")
    if len(subjects) != 1 or _part(subjects[0], "name", str) != filename:
        raise AttestationError("its statement is of another file")
    if _part(_part(subjects[0], "digest", dict), "sha256", str) != sha256:
        raise AttestationError("its statement has another digest than the index")
