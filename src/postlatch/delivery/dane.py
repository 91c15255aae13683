"""DANE for SMTP, the part without I/O: TLSA records, and whether a server's certificates match them (RFC 6698, 7671, 7672).

Usages 2 and 3 only: RFC 7672 section 3.1.3 has no use for the other two over SMTP. For DANE-TA the chain is verified by
``cryptography``'s path validation with the matched authority as the only trust anchor; DANE-EE is a comparison of octets.
"""

from __future__ import annotations

import hashlib
import hmac
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

TA: Final = 2
EE: Final = 3
MAX_RECORDS: Final = 20  # of one RRset that are looked at
MAX_CHAIN: Final = 10  # certificates of a server that are looked at
MAX_DATA: Final = 8_192  # octets of one record's data

_LENGTHS: Final = {1: 32, 2: 64}  # of a digest, by matching type


class Tlsa(NamedTuple):
    """One usable record: ``usage`` 2 or 3, ``selector`` 0 (certificate) or 1 (key), ``matching`` 0 (whole), 1 or 2 (SHA-2)."""

    usage: int
    selector: int
    matching: int
    data: bytes

    def __str__(self) -> str:
        return f"{self.usage} {self.selector} {self.matching} {self.data.hex()}"


class DaneFailure(NamedTuple):
    """Why a server's certificates were not accepted; ``result`` is a type of RFC 8460 section 4.3, ``reason`` a sentence."""

    result: str
    reason: str


def usable(texts: Sequence[str]) -> tuple[Tlsa, ...]:
    """Those of the records, as in a zone file, that can authenticate a mail server, the strongest digest of each kind.

    RFC 7671 section 9: where a kind of record is there with several digests, the weaker ones are not looked at.
    """
    found = [record for text in texts[:MAX_RECORDS] if (record := parse(text)) is not None]
    best: dict[tuple[int, int], int] = {}
    for record in found:
        if record.matching:
            key = record.usage, record.selector
            best[key] = max(best.get(key, 0), record.matching)
    return tuple(sorted({r for r in found if not r.matching or r.matching == best[r.usage, r.selector]}))


def parse(text: str) -> Tlsa | None:
    """One record; None if it is of no use: an unknown number, a PKIX usage, data of the wrong length."""
    fields = text.split(None, 3)
    if len(fields) != 4 or not all(field.isascii() and field.isdigit() and len(field) <= 3 for field in fields[:3]):
        return None
    usage, selector, matching = (int(field) for field in fields[:3])
    if len(fields[3]) > 3 * MAX_DATA:
        return None
    try:
        data = bytes.fromhex("".join(fields[3].split()))
    except ValueError:
        return None
    if usage not in {TA, EE} or selector not in {0, 1} or matching not in {0, 1, 2} or not data:
        return None
    if len(data) > MAX_DATA or (matching and len(data) != _LENGTHS[matching]):
        return None
    return Tlsa(usage, selector, matching, data)


def verify(records: Sequence[Tlsa], chain: Sequence[bytes], names: Sequence[str], now: float) -> DaneFailure | None:
    """None if the server with these certificates (DER, its own first) is who the records say.

    ``names`` are the host names of which its certificate must hold one under DANE-TA (RFC 7672 section 3.2.3). DANE-EE looks
    neither at names nor at dates (RFC 7672 section 3.1.1).
    """
    if not chain:
        return DaneFailure("validation-failure", "the server showed no certificate")
    chain = chain[:MAX_CHAIN]
    if any(_matches(record, chain[0]) for record in records if record.usage == EE):
        return None
    failures = [_verify_below(anchor, chain, names, now) for anchor in _anchors(records, chain)]
    if not failures:
        return DaneFailure("validation-failure", "no certificate of the server matches its TLSA records")
    return None if None in failures else next(failure for failure in failures if failure is not None)


def _anchors(records: Sequence[Tlsa], chain: Sequence[bytes]) -> list[bytes]:
    """The authorities that the records vouch for. A whole certificate in the DNS need not be in the chain as well."""
    found: dict[bytes, None] = {}
    for record in records:
        if record.usage != TA:
            continue
        if record.selector == 0 and record.matching == 0:
            found[record.data] = None
        for certificate in chain[1:]:  # never the server's own: that is what usage 3 is for
            if _matches(record, certificate):
                found[certificate] = None
    return list(found)


def _matches(record: Tlsa, certificate: bytes) -> bool:
    selected = certificate if record.selector == 0 else _key_of(certificate)
    if selected is None:
        return False
    if record.matching == 1:
        selected = hashlib.sha256(selected).digest()
    elif record.matching == 2:
        selected = hashlib.sha512(selected).digest()
    return hmac.compare_digest(selected, record.data)


def _key_of(certificate: bytes) -> bytes | None:
    """The SubjectPublicKeyInfo as it is hashed by everybody; None if the certificate cannot be read."""
    parsed = _load(certificate)
    if parsed is None:
        return None
    try:
        return parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except Exception:  # noqa: BLE001 - the server chose these octets: a key that cannot be read matches nothing
        return None


def _load(certificate: bytes) -> x509.Certificate | None:
    try:
        with warnings.catch_warnings(action="ignore"):
            return x509.load_der_x509_certificate(certificate)
    except Exception:  # noqa: BLE001 - as above
        return None


def _verify_below(anchor: bytes, chain: Sequence[bytes], names: Sequence[str], now: float) -> DaneFailure | None:
    """Path validation with ``anchor`` as the only trust anchor: signatures, dates, authority flags, path length, names."""
    trusted, own = _load(anchor), _load(chain[0])
    if trusted is None or own is None:
        return DaneFailure("validation-failure", "a certificate of the server cannot be read")
    between = [parsed for raw in chain[1:] if raw != anchor and (parsed := _load(raw)) is not None]
    why = ""
    for name in names:
        try:
            _path_is_valid(trusted, own, between, name, now)
        except VerificationError as error:
            why = str(error)
        except Exception:  # noqa: BLE001 - as above
            why = "a certificate of the server cannot be read"
        else:
            return None
    return _failure(own, trusted, names, now, why)


def _may_sign(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("an authority's key may not sign certificates")


def _may_serve(_policy: Policy, _certificate: x509.Certificate, purposes: x509.ExtendedKeyUsage | None) -> None:
    served = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if purposes is not None and served.isdisjoint(purposes):
        raise ValueError("the certificate is not one of a server")


# RFC 5280 section 6.1 asks for these. What else the Web PKI wants in a certificate is no business of DANE.
_AUTHORITY: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
)
_SERVER: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _may_serve)
)


def _path_is_valid(
    trusted: x509.Certificate, own: x509.Certificate, between: list[x509.Certificate], name: str, now: float
) -> None:
    """VerificationError if not."""
    builder = PolicyBuilder().store(Store([trusted])).time(datetime.fromtimestamp(now, UTC))
    builder = builder.extension_policies(ca_policy=_AUTHORITY, ee_policy=_SERVER)
    builder.build_server_verifier(x509.DNSName(name)).verify(own, between)


def _failure(own: x509.Certificate, trusted: x509.Certificate, names: Sequence[str], now: float, why: str) -> DaneFailure:
    """The type that RFC 8460 has for it."""
    moment = datetime.fromtimestamp(now, UTC)
    if own.not_valid_after_utc < moment or trusted.not_valid_after_utc < moment:
        return DaneFailure("certificate-expired", "the certificate has expired")
    if not any(_holds(own, name) for name in names):
        return DaneFailure("certificate-host-mismatch", "the certificate does not hold the host's name")
    text = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in why[:150])
    return DaneFailure("certificate-not-trusted", f"the certificate does not lead to the authority in the DNS: {text}")


def _holds(certificate: x509.Certificate, name: str) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        listed = [text.lower() for text in found.value.get_values_for_type(x509.DNSName)]
    except Exception:  # noqa: BLE001 - as above
        return False
    parent = name.partition(".")[2]
    return name in listed or (bool(parent) and f"*.{parent}" in listed)
