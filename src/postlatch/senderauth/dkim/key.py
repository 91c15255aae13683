"""Public keys as they stand in the DNS. RFC 6376 section 3.6.1, RFC 8301 section 3.2, RFC 8463 section 4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from postlatch.senderauth.dkim.tags import TagError, parse_tags
from postlatch.senderauth.dkim.text import decode_base64, without_white

MIN_RSA: Final = 1024  # bits, RFC 8301 section 3.2
MAX_RSA: Final = 8192  # bits: more is work that nobody needs
_MAX_EXPONENT: Final = 64  # bits: with the whole modulus as exponent a verification costs a hundredfold
_MAX_RECORD: Final = 16_384  # octets; a key of 8192 bits has 1,500
SHA256: Final = hashes.SHA256()
PREHASHED: Final = Prehashed(SHA256)
PKCS1: Final = PKCS1v15()


class KeyRecordError(ValueError):
    """A record from which no signature can pass. The message is a sentence of ours that names the RFC's section."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that may be used for mail and SHA-256. ``algorithm`` is ``rsa`` or ``ed25519``.

    ``testing``: its owner is only trying (t=y). ``exact``: i= must be of d= itself (t=s). ``bits`` is the size.
    """

    algorithm: str
    public: RSAPublicKey | Ed25519PublicKey
    testing: bool
    exact: bool
    bits: int

    def verify(self, signature: bytes, digest: bytes) -> bool:
        """Does the signature fit the SHA-256 digest? RFC 8463 section 3: Ed25519 signs the digest as its message."""
        try:
            if isinstance(self.public, Ed25519PublicKey):
                self.public.verify(signature, digest)
            else:
                self.public.verify(signature, digest, PKCS1, PREHASHED)
        except (InvalidSignature, ValueError):
            return False
        return True


def choose_key(records: Sequence[bytes]) -> PublicKey:
    """The key of a name with these TXT records; KeyRecordError if there is none that can be used.

    Section 3.6.1: a record that begins with another version is no key. Section 3.6.2.2: of several, any could be meant.
    """
    keys = [record for record in records if not _is_foreign(record)]
    if not keys:
        there = "TXT records of other kinds only" if records else "no TXT record"
        raise KeyRecordError(f"there is no key: the name has {there} (RFC 6376 section 6.1.2)")
    if len(keys) > 1:
        raise KeyRecordError("the name has several TXT records, so which is the key is undefined (RFC 6376 section 3.6.2.2)")
    return parse_key(keys[0])


def parse_key(record: bytes) -> PublicKey:
    """One record; KeyRecordError if it is none, is not for mail, or is revoked."""
    if len(record) > _MAX_RECORD:
        raise KeyRecordError("the key record is longer than any key")
    try:
        tags = parse_tags(record)
    except TagError as error:
        raise KeyRecordError(f"the key record is malformed: {error}") from None
    if "v" in tags and (next(iter(tags)) != "v" or tags["v"] != "DKIM1"):
        raise KeyRecordError("the key record's version is not DKIM1, or not its first tag (RFC 6376 section 3.6.1)")
    _check_use(tags)
    flags = _words(tags.get("t", ""))
    algorithm = tags.get("k", "rsa")
    material = _material(tags)
    if algorithm == "rsa":
        rsa = _rsa_key(material)
        return PublicKey("rsa", rsa, "y" in flags, "s" in flags, rsa.key_size)
    if algorithm == "ed25519":
        return PublicKey("ed25519", _ed25519_key(material), "y" in flags, "s" in flags, 256)
    raise KeyRecordError("the key record's k= is neither rsa nor ed25519 (RFC 8463 section 4)")


def _is_foreign(record: bytes) -> bool:
    """``v=`` and another version: not a broken key, but no key."""
    first = record[:64].split(b";", 1)[0]
    name, equals, value = first.partition(b"=")
    return bool(equals) and name.strip() == b"v" and not value.strip().startswith(b"DKIM1")


def _check_use(tags: dict[str, str]) -> None:
    if "h" in tags and "sha256" not in _words(tags["h"]):
        raise KeyRecordError("the key record does not permit SHA-256 in its h= (RFC 6376 section 6.1.2)")
    if "s" in tags and not {"*", "email"} & set(_words(tags["s"])):
        raise KeyRecordError("the key is not for mail, by its s= (RFC 6376 section 3.6.1)")


def _words(value: str) -> list[str]:
    """Section 3.2: values compare with case where their tag's description does not say otherwise."""
    return [word.strip(" \t") for word in value.split(":")]


def _material(tags: dict[str, str]) -> bytes:
    text = tags.get("p")
    if text is None:
        raise KeyRecordError("the key record has no p= (RFC 6376 section 3.6.1)")
    if not without_white(text):
        raise KeyRecordError("the key is revoked: its p= is empty (RFC 6376 section 3.6.1)")
    material = decode_base64(text)
    if material is None:
        raise KeyRecordError("the key record's p= is not base64 (RFC 6376 section 3.6.1)")
    return material


def _rsa_key(material: bytes) -> RSAPublicKey:
    try:  # SubjectPublicKeyInfo, as in the examples, or RSAPublicKey, as in the text of section 3.6.1
        key = serialization.load_der_public_key(material)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey):
        raise KeyRecordError("the key record's p= is no RSA key (RFC 6376 section 3.6.1)")
    if not MIN_RSA <= key.key_size <= MAX_RSA:
        raise KeyRecordError(f"the RSA key has {key.key_size} bit: {MIN_RSA} to {MAX_RSA} are accepted (RFC 8301 section 3.2)")
    if key.public_numbers().e.bit_length() > _MAX_EXPONENT:
        raise KeyRecordError("the RSA key's exponent is larger than 64 bit, which is only work (RFC 8301 section 3.2)")
    return key


def _ed25519_key(material: bytes) -> Ed25519PublicKey:
    if len(material) != 32:
        raise KeyRecordError("the key record's p= is no Ed25519 key of 32 octets (RFC 8463 section 4)")
    try:
        return Ed25519PublicKey.from_public_bytes(material)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRecordError("the key record's p= is no Ed25519 key (RFC 8463 section 4)") from None
