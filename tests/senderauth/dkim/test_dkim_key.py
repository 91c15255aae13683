"""Key records: RFC 6376 section 3.6.1."""

from __future__ import annotations

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from dkim_support import key
from hypothesis import example, given
from hypothesis import strategies as st

from postlatch.senderauth.dkim.key import KeyRecordError, choose_key, parse_key
from postlatch.senderauth.dkim.sign import SigningKey, generate, load_private_key, public_record

_ED25519 = public_record(key()).partition("p=")[2]


def rsa_record(bits: int, exponent: int = 65537) -> bytes:
    """A record with a key of this size; only its form is right: such keys take minutes to make."""
    modulus = (1 << bits) - (1 << 8) + 1
    public = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    return b"p=" + b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def test_a_record_needs_no_more_than_p() -> None:
    found = parse_key(rsa_record(2048))
    assert (found.algorithm, found.bits, found.testing, found.exact) == ("rsa", 2048, False, False)


def test_flags_are_read_and_unknown_ones_left() -> None:
    found = parse_key(f"v=DKIM1; k=ed25519; t= y : s:new; n=notes; x=y; p={_ED25519}".encode())
    assert (found.algorithm, found.bits, found.testing, found.exact) == ("ed25519", 256, True, True)


def test_an_rsa_key_may_be_bare_as_the_rfc_says_or_wrapped_as_its_example_is() -> None:
    numbers = rsa.RSAPublicNumbers(65537, (1 << 2048) - 255)
    bare = numbers.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    assert parse_key(b"p=" + b64encode(bare)).public == parse_key(rsa_record(2048)).public


def test_base64_may_be_folded_and_without_padding() -> None:
    text = _ED25519.rstrip("=")
    assert parse_key(f"k=ed25519; p={text[:20]} {text[20:]}".encode()).public == key().private.public_key()


@pytest.mark.parametrize("bits", [1024, 8192])
def test_the_smallest_and_the_largest_rsa_key_are_read(bits: int) -> None:
    assert parse_key(rsa_record(bits)).bits == bits


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (rsa_record(1023), "1023 bit"),
        (rsa_record(8193), "8193 bit"),
        (rsa_record(2048, (1 << 200) + 1), "exponent"),
        (b"v=DKIM1; p=", "revoked"),
        (b"v=DKIM1; p= ", "revoked"),
        (b"v=DKIM1", "no p="),
        (b"v=DKIM1; p=???", "not base64"),
        (b"v=DKIM1; p=AAAA", "no RSA key"),
        (f"v=DKIM1; p={_ED25519}".encode(), "no RSA key"),
        (f"v=DKIM1; k=ed25519; p={_ED25519[4:]}".encode(), "32 octets"),
        (f"v=DKIM1; k=dsa; p={_ED25519}".encode(), "neither rsa nor ed25519"),
        (f"v=DKIM1; k=ED25519; p={_ED25519}".encode(), "neither rsa nor ed25519"),
        (f"k=ed25519; v=DKIM1; p={_ED25519}".encode(), "version"),
        (f"v=DKIM10; k=ed25519; p={_ED25519}".encode(), "version"),
        (f"v=DKIM1; k=ed25519; h=sha1; p={_ED25519}".encode(), "SHA-256"),
        (f"v=DKIM1; k=ed25519; s=tlsrpt:other; p={_ED25519}".encode(), "not for mail"),
        (f"v=DKIM1; k=ed25519; p={_ED25519}; p={_ED25519}".encode(), "there twice"),
        (b"\xff", "malformed"),
        (b"p=" + b"A" * 20_000, "longer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "record",  # keys are made anew, and names must not change
)
def test_a_record_that_cannot_be_used_is_refused_with_the_reason(record: bytes, reason: str) -> None:
    with pytest.raises(KeyRecordError, match=reason.replace("?", r"\?")):
        parse_key(record)


def test_a_point_of_another_curve_is_no_key() -> None:
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(KeyRecordError, match="no RSA key"):
        parse_key(b"p=" + b64encode(octets))


@pytest.mark.parametrize("services", ["*", "email", "other : email", "*:x"])
@pytest.mark.parametrize("hashes", ["sha256", "sha1:sha256"])
def test_a_key_for_mail_among_others_is_used(services: str, hashes: str) -> None:
    assert parse_key(f"v=DKIM1; k=ed25519; h={hashes}; s={services}; p={_ED25519}".encode()).bits == 256


def test_records_of_other_kinds_at_the_name_are_no_keys() -> None:
    good = public_record(key()).encode()
    assert choose_key([b"v=spf1 -all", good, b" v = DMARC1; p=none"]).algorithm == "ed25519"
    with pytest.raises(KeyRecordError, match="of other kinds only"):
        choose_key([b"v=spf1 -all"])
    with pytest.raises(KeyRecordError, match="no TXT record"):
        choose_key([])


def test_several_keys_at_the_name_are_none() -> None:
    good = public_record(key()).encode()
    with pytest.raises(KeyRecordError, match="several TXT records"):
        choose_key([good, good])


@given(st.binary(), st.binary(max_size=32), st.binary(max_size=32))
@example(b"", b"", b"")
def test_any_record_is_a_key_or_a_key_record_error(record: bytes, signature: bytes, digest: bytes) -> None:
    for text in (record, b"p=" + b64encode(record), b"k=ed25519; p=" + b64encode(record)):
        try:
            found = parse_key(text)
        except KeyRecordError:
            continue
        assert not found.verify(signature, digest)


@given(st.binary(min_size=32, max_size=32))
def test_any_32_octets_are_an_ed25519_key_that_no_nonsense_fits(octets: bytes) -> None:
    try:
        found = parse_key(b"k=ed25519; p=" + b64encode(octets))
    except KeyRecordError:
        return
    assert not found.verify(b"\x01" * 64, b"\x02" * 32)


@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
def test_a_key_that_we_make_is_read_and_published(algorithm: str) -> None:
    pem = generate(algorithm)
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    private = load_private_key(pem)
    found = parse_key(public_record(SigningKey("example.com", "s", algorithm, private)).encode())
    assert found.public == private.public_key()
    assert found.bits == (2048 if algorithm == "rsa" else 256)


@pytest.mark.parametrize(("first", "second"), [(521, 127), (2281, 2203)])
def test_a_private_rsa_key_of_a_wrong_size_is_refused(first: int, second: int) -> None:
    """Of two Mersenne primes: such a key is made at once, at any size."""
    p, q = 2**first - 1, 2**second - 1
    d = pow(65537, -1, (p - 1) * (q - 1))
    crt = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    private = rsa.RSAPrivateNumbers(p, q, d, *crt, rsa.RSAPublicNumbers(65537, p * q)).private_key()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match=r"1024 to 4096"):
        load_private_key(pem)


def test_what_is_no_key_is_refused_with_the_reason() -> None:
    wrong_kind = ec.generate_private_key(ec.SECP256R1())
    pem = wrong_kind.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="another kind"):
        load_private_key(pem)
    with pytest.raises(ValueError, match="no private key in PEM"):
        load_private_key(b"hello")
    with pytest.raises(ValueError, match="rsa or ed25519"):
        generate("dsa")


def test_a_key_with_a_password_is_refused_with_the_reason() -> None:
    private = load_private_key(generate("ed25519"))
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(ValueError, match="password"):
        load_private_key(pem)
