"""The certificates that are shown: trust, names, dates, keys, signatures, chain. RFC 5280, RFC 6125, RFC 9325."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.dsa import DSAPublicKey
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import NameOID

from postlatch.audit.posture.values import Check, fault, judged, several
from postlatch.audit.posture.wire.sight import Sight
from postlatch.audit.printable import printable
from postlatch.audit.values import Finding, Severity

_SOON: Final = 14 * 86_400  # seconds
_MOST_NAMES: Final = 200
_EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_NO_ISSUER: Final = frozenset({20, 21})  # the issuer was not found: not sent, or not known
_OLD_DIGESTS: Final = frozenset({"md5", "sha1"})


class Read(NamedTuple):
    """A certificate as far as it can be read. ``digest`` is that of its signature."""

    names: tuple[str, ...] = ()
    begins: float = 0
    ends: float = 0
    key: str = ""
    bits: int = 0
    digest: str = ""
    subject: bytes = b""
    issuer: bytes = b""

    @property
    def own(self) -> bool:
        """It vouches for itself."""
        return self.subject == self.issuer


def read(der: bytes) -> Read | None:
    """None for octets that are no certificate."""
    try:
        one = x509.load_der_x509_certificate(der)
        key, bits = _key(one)
        digest = one.signature_hash_algorithm
        return Read(
            _names(one),
            one.not_valid_before_utc.timestamp(),
            one.not_valid_after_utc.timestamp(),
            key,
            bits,
            digest.name if digest is not None else "",
            one.subject.public_bytes(),
            one.issuer.public_bytes(),
        )
    except Exception:  # noqa: BLE001 - a stranger chose these octets, and they are read field by field
        return None


def _key(one: x509.Certificate) -> tuple[str, int]:
    key = one.public_key()
    match key:
        case RSAPublicKey():
            return "RSA", key.key_size
        case EllipticCurvePublicKey():
            return "EC", key.key_size
        case DSAPublicKey():
            return "DSA", key.key_size
    return type(key).__name__.strip("_").removesuffix("PublicKey"), 256


def _names(one: x509.Certificate) -> tuple[str, ...]:
    try:
        found = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return tuple(printable(str(name), 253).lower() for name in found.get_values_for_type(x509.DNSName)[:_MOST_NAMES])
    except x509.ExtensionNotFound:
        common = one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(printable(str(name.value), 253).lower() for name in common[:1])


class _Seen(NamedTuple):
    sight: Sight
    leaf: Read | None
    chain: tuple[Read | None, ...]
    on_smtp: bool


def certificate_checks(sights: Sequence[Sight], now: float, smtp: int) -> list[Check]:
    """One check over all places for each property."""
    found = [
        _Seen(sight, read(sight.leaf) if sight.leaf else None, tuple(map(read, sight.chain)), sight.place.port == smtp)
        for sight in sights
    ]
    have_leaf: Callable[[_Seen], bool] = lambda one: one.leaf is not None  # noqa: E731
    return [
        _over("tls.trust", "Certificates are trusted", found, _trust, lambda one: one.sight.trust.good is not None),
        _over("tls.name", "Certificates have the hosts' names", found, _name, have_leaf),
        _over("tls.expiry", "Certificates are in date", found, lambda one: _dates(one, now), have_leaf),
        _over("tls.key", "Keys of the certificates", found, _key_size, have_leaf),
        _over("tls.signature", "Signatures of the certificates", found, _signature, _chain_seen),
        _over("tls.chain", "Chains of the certificates", found, _chain, _chain_seen),
    ]


def _over(
    name: str,
    title: str,
    found: Sequence[_Seen],
    faults: Callable[[_Seen], Iterable[Finding]],
    is_seen: Callable[[_Seen], bool],
) -> Check:
    listed = [finding for one in found for finding in faults(one)]
    unseen = [one.sight.place.text for one in found if not is_seen(one)]
    good = several(one.sight.place.text for one in found if is_seen(one))
    detail = "; ".join(part for part in (good, f"not seen at {several(unseen)}" if unseen else "") if part)
    return judged(name, title, detail, listed, seen=not unseen)


def _chain_seen(one: _Seen) -> bool:
    """TLS 1.3 encrypts it, so it is seen in TLS 1.2 alone."""
    return bool(one.chain) and all(part is not None for part in one.chain)


def _severity(one: _Seen) -> Severity:
    """Mail programs stop at what is wrong; most senders go on, unless MTA-STS forbids it (RFC 7672 section 1.3)."""
    return Severity.LOW if one.on_smtp else Severity.HIGH


_WHY_SMTP: Final = "senders with MTA-STS do not deliver, and those without cannot tell this server from another"
_WHY_USERS: Final = "mail programs refuse it, or people learn to click warnings away"


def _why(one: _Seen) -> str:
    return _WHY_SMTP if one.on_smtp else _WHY_USERS


def _trust(one: _Seen) -> Iterable[Finding]:
    trust = one.sight.trust
    if trust.good is not False or trust.code == _EXPIRED:
        return
    if one.leaf is not None and one.leaf.own:
        what = "is signed by itself"
    elif trust.code in _NO_ISSUER:
        what = "does not lead to a known authority"
    else:
        what = f"is not trusted: {trust.why}"
    fix = "use a certificate of a public authority, with its intermediates (DANE can take its place on port 25)"
    yield fault("tls.untrusted", _severity(one), f"the certificate of {one.sight.place.text} {what}", _why(one), fix)


def _name(one: _Seen) -> Iterable[Finding]:
    if one.leaf is None or any(_covers(name, one.sight.place.host) for name in one.leaf.names):
        return
    names = several(one.leaf.names, 3) or "nobody"
    message = f"the certificate of {one.sight.place.text} is for {names}"
    yield fault("tls.wrong-name", _severity(one), message, _why(one), f"get one for {one.sight.place.host}")


def _covers(name: str, host: str) -> bool:
    """RFC 6125 section 6.4.3: a star is one whole label."""
    return name == host or (name.startswith("*.") and host.partition(".")[2] == name[2:])


def _dates(one: _Seen, now: float) -> Iterable[Finding]:
    if one.leaf is None:
        return
    place, left = one.sight.place.text, one.leaf.ends - now
    fix = "renew it, and let a program do that from now on"
    if left < 0:
        message = f"the certificate of {place} expired {int(-left // 86_400)} days ago"
        yield fault("tls.expired", Severity.MEDIUM if one.on_smtp else Severity.HIGH, message, _why(one), fix)
    elif one.leaf.begins > now:
        message = f"the certificate of {place} is not valid yet"
        yield fault("tls.not-yet-valid", _severity(one), message, _why(one), "set the clock of the machine that made it")
    elif left < _SOON:
        message = f"the certificate of {place} expires in {int(left // 86_400)} days"
        yield fault("tls.expires-soon", Severity.LOW, message, _why(one), fix)


_LEAST: Final = {"RSA": 2048, "DSA": 2048, "EC": 224}


def _key_size(one: _Seen) -> Iterable[Finding]:
    if one.leaf is None or one.leaf.bits >= _LEAST.get(one.leaf.key, 0):
        return
    message = f"the {one.leaf.key} key of {one.sight.place.text} has {one.leaf.bits} bits"
    least = f"make a new key: RSA of {_LEAST['RSA']} bits or more, or EC P-256"
    yield fault("tls.short-key", Severity.MEDIUM, message, "who breaks it can be this server (RFC 9325 section 4.4)", least)


def _signature(one: _Seen) -> Iterable[Finding]:
    parts = one.chain or (one.leaf,)
    # That of a root counts nothing: it is trusted because it is known.
    old = {
        part.digest for part in parts if part is not None and not (part.own and len(parts) > 1) and part.digest in _OLD_DIGESTS
    }
    if old:
        message = f"the certificates of {one.sight.place.text} are signed with {' and '.join(sorted(old)).upper()}"
        yield fault(
            "tls.old-signature", Severity.MEDIUM, message, "such signatures can be forged", "get a certificate of today"
        )


def _chain(one: _Seen) -> Iterable[Finding]:
    parts = [part for part in one.chain if part is not None]
    place = one.sight.place.text
    if any(later.subject != earlier.issuer for earlier, later in pairwise(parts)):
        yield fault(
            "tls.chain-order",
            Severity.LOW,
            f"the chain of {place} is not in order",
            "some programs do not find their way through it (RFC 5246 section 7.4.2)",
            "send the server's certificate first, then each one's issuer",
        )
    alone = len(parts) == 1 and not parts[0].own
    if alone and one.sight.trust.code in _NO_ISSUER:
        yield fault(
            "tls.no-intermediate",
            Severity.LOW if one.on_smtp else Severity.MEDIUM,
            f"{place} sends no intermediate certificate",
            "who does not know it already cannot verify the chain",
            "send the full chain (fullchain.pem, not cert.pem)",
        )
    if len(parts) > 1 and parts[-1].own:
        yield fault("tls.root-sent", Severity.INFO, f"{place} sends the root too", "it only costs octets", "leave it out")
