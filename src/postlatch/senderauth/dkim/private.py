"""Private keys: made, read, and what of them is published. RFC 8301 section 3.2, RFC 8463 section 4."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

PrivateKey = RSAPrivateKey | Ed25519PrivateKey

_RSA_BITS: Final = 2048
_SMALLEST: Final = 1024
_LARGEST: Final = 4096  # RFC 8301 section 3.2: verifiers need not support more


def generate(algorithm: str) -> bytes:
    """A new key as unencrypted PKCS #8 PEM. ``algorithm`` is ``rsa`` (2048 bit) or ``ed25519``."""
    key: PrivateKey
    if algorithm == "ed25519":
        key = Ed25519PrivateKey.generate()
    elif algorithm == "rsa":
        key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    else:
        raise ValueError("the algorithm of a DKIM key is rsa or ed25519")
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_private_key(pem: bytes) -> PrivateKey:
    """The key in a PEM file; ValueError says in a sentence why it is none that can sign."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("the private key is encrypted with a password: store it without one, readable by us alone") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("this is no private key in PEM form (-----BEGIN PRIVATE KEY-----)") from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("a DKIM key is an RSA or an Ed25519 key, and this is of another kind")  # noqa: TRY004
    if not _SMALLEST <= key.key_size <= _LARGEST:
        raise ValueError(
            f"the RSA key has {key.key_size} bit: {_SMALLEST} to {_LARGEST} can be used for DKIM, 2048 is right "
            "(RFC 8301 section 3.2)"
        )
    return key


def public_value(private: PrivateKey) -> str:
    """What stands in ``p=``: SubjectPublicKeyInfo for RSA, the bare 32 octets for Ed25519; in base64."""
    if isinstance(private, Ed25519PrivateKey):
        octets = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    else:
        octets = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b64encode(octets).decode("ascii")
