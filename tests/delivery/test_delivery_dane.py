"""DANE without a network: which records are of use, and which certificates they let in (RFC 6698, 7671, 7672)."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from postlatch.delivery.dane import MAX_RECORDS, Tlsa, parse, usable, verify

NOW = time.time()
NAME = "mx.site.example"


class Made(NamedTuple):
    """A certificate with its key."""

    certificate: x509.Certificate
    key: EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def spki(self) -> bytes:
        return self.certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def made(
    name: str,
    issuer: Made | None = None,
    *,
    authority: bool | None = None,
    length: int | None = None,
    names: tuple[str, ...] = (),
    days: tuple[int, int] = (-1, 30),
    signs: bool | None = None,
    purpose: ObjectIdentifier | None = None,
) -> Made:
    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    moment = datetime.fromtimestamp(NOW, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment + timedelta(days=days[0]))
        .not_valid_after(moment + timedelta(days=days[1]))
    )
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(authority, length), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(text) for text in names]), critical=False)
    if signs is not None:
        usage = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = builder.add_extension(x509.KeyUsage(digital_signature=True, key_cert_sign=signs, **usage), critical=True)
    if purpose is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return Made(builder.sign((issuer or Made(None, key)).key, SHA256()), key)  # type: ignore[arg-type]


ROOT = made("root", authority=True)
MIDDLE = made("middle", ROOT, authority=True)
LEAF = made("leaf", MIDDLE, names=(NAME,))
CHAIN = (LEAF.der, MIDDLE.der, ROOT.der)


def record(usage: int, selector: int, matching: int, of: Made) -> Tlsa:
    data = of.der if selector == 0 else of.spki
    if matching:
        data = {1: hashlib.sha256, 2: hashlib.sha512}[matching](data).digest()
    return Tlsa(usage, selector, matching, data)


def result(records: list[Tlsa], chain: tuple[bytes, ...], names: tuple[str, ...] = (NAME,)) -> str:
    failure = verify(records, chain, names, NOW)
    return failure.result if failure is not None else ""


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
def test_every_form_of_record_lets_in_what_it_names_and_nothing_else(selector: int, matching: int) -> None:
    other = made("other", MIDDLE, names=(NAME,))
    assert result([record(3, selector, matching, LEAF)], CHAIN) == ""
    assert result([record(3, selector, matching, other)], CHAIN) == "validation-failure"
    for anchor in (ROOT, MIDDLE):
        assert result([record(2, selector, matching, anchor)], CHAIN) == ""
    stranger = made("root", authority=True)
    assert result([record(2, selector, matching, stranger)], CHAIN) != ""


def test_an_end_entity_record_looks_at_neither_names_nor_dates() -> None:
    old = made("old", names=("quite.another.example",), days=(-30, -2))
    assert result([record(3, 1, 1, old)], (old.der,)) == ""


def test_an_end_entity_record_does_not_match_a_certificate_further_up() -> None:
    assert result([record(3, 1, 1, MIDDLE)], CHAIN) == "validation-failure"


def test_an_authority_record_does_not_match_the_servers_own_certificate() -> None:
    own = made("self", authority=True, names=(NAME,))
    assert result([record(2, 1, 1, own)], (own.der,)) == "validation-failure"


def test_an_authority_that_the_server_does_not_send_is_known_only_if_the_dns_holds_it_whole() -> None:
    assert result([record(2, 0, 0, ROOT)], CHAIN[:2]) == ""
    assert result([record(2, 0, 1, ROOT)], CHAIN[:2]) == "validation-failure"


def test_any_of_several_records_is_enough() -> None:
    other = made("other")
    assert result([record(3, 1, 1, other), record(2, 1, 1, ROOT), record(3, 0, 1, other)], CHAIN) == ""


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (NAME, ""),
        ("site.example", "certificate-host-mismatch"),
        ("evil.mx.site.example", "certificate-host-mismatch"),
        ("evilmx.site.example", "certificate-host-mismatch"),
    ],
)
def test_an_authority_record_wants_the_hosts_name(name: str, wanted: str) -> None:
    assert result([record(2, 1, 1, ROOT)], CHAIN, (name,)) == wanted


def test_one_of_the_names_is_enough_and_a_wildcard_is_one_label() -> None:
    wild = made("wild", ROOT, names=("*.site.example",))
    chain = (wild.der, ROOT.der)
    assert result([record(2, 1, 1, ROOT)], chain, ("no.example", NAME)) == ""
    assert result([record(2, 1, 1, ROOT)], chain, ("a.b.site.example",)) == "certificate-host-mismatch"


def below(issuer: Made, **how: object) -> tuple[bytes, ...]:
    leaf = made("below", issuer, names=(NAME,), **how)  # type: ignore[arg-type]
    return (leaf.der, issuer.der, ROOT.der)


def test_an_expired_certificate_under_an_authority_is_refused_wherever_it_is() -> None:
    assert result([record(2, 1, 1, ROOT)], below(MIDDLE, days=(-30, -2))) == "certificate-expired"
    assert result([record(2, 1, 1, ROOT)], below(made("old", ROOT, authority=True, days=(-30, -2)))) != ""
    old = made("old", authority=True, days=(-30, -2))
    assert result([record(2, 1, 1, old)], (made("x", old, names=(NAME,)).der, old.der)) == "certificate-expired"
    assert result([record(2, 1, 1, ROOT)], below(MIDDLE, days=(2, 30))) != ""


@pytest.mark.parametrize(
    "issuer",
    [
        made("no constraints", ROOT),
        made("no authority", ROOT, authority=False),
        made("may not sign", ROOT, authority=True, signs=False),
        made("root", authority=True),  # the name of the authority with another key
    ],
    ids=["no-constraints", "no-authority", "may-not-sign", "another-key"],
)
def test_a_chain_through_what_is_no_authority_is_refused(issuer: Made) -> None:
    assert result([record(2, 1, 1, ROOT)], below(issuer)) == "certificate-not-trusted"


def test_an_authority_that_may_sign_is_taken_and_one_past_its_path_length_is_not() -> None:
    assert result([record(2, 1, 1, ROOT)], below(made("signs", ROOT, authority=True, signs=True))) == ""
    short = made("short", authority=True, length=0)
    middle = made("middle", short, authority=True)
    leaf = made("leaf", middle, names=(NAME,))
    assert result([record(2, 1, 1, short)], (leaf.der, middle.der, short.der)) == "certificate-not-trusted"


def test_a_certificate_of_a_client_is_no_servers() -> None:
    assert result([record(2, 1, 1, ROOT)], below(MIDDLE, purpose=ExtendedKeyUsageOID.SERVER_AUTH)) == ""
    assert result([record(2, 1, 1, ROOT)], below(MIDDLE, purpose=ExtendedKeyUsageOID.CLIENT_AUTH)) != ""


def test_a_chain_of_fifty_is_looked_at_only_so_far_and_octets_that_are_no_certificate_match_nothing() -> None:
    assert result([record(2, 1, 1, ROOT)], (LEAF.der, *[MIDDLE.der] * 50, ROOT.der)) == "validation-failure"
    assert result([record(3, 1, 1, LEAF)], (b"\x30\x82", b"")) == "validation-failure"
    assert result([record(3, 0, 1, LEAF)], ()) == "validation-failure"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3 1 1",
        "0 1 1 " + "ab" * 32,  # PKIX-TA
        "1 1 1 " + "ab" * 32,  # PKIX-EE
        "4 1 1 " + "ab" * 32,
        "255 1 1 " + "ab" * 32,
        "3 2 1 " + "ab" * 32,
        "3 1 3 " + "ab" * 32,
        "3 1 1 " + "ab" * 31,
        "3 1 1 " + "ab" * 33,
        "3 1 2 " + "ab" * 32,
        "3 1 0 ",
        "3 1 1 zz",
        "3 -1 1 " + "ab" * 32,
        "3 1 1 \\# 4 deadbeef",
        "٣ 1 1 " + "ab" * 32,
        "3 0 0 " + "ab" * 9000,
    ],
)
def test_a_record_of_no_use_is_none(text: str) -> None:
    assert parse(text) is None


def test_only_the_strongest_digest_of_each_kind_is_looked_at() -> None:
    weak, strong = "3 1 1 " + "ab" * 32, "3 1 2 " + "cd" * 64
    other = "2 1 1 " + "ef" * 32
    assert {str(found) for found in usable([weak, strong, other])} == {strong, other}
    assert len(usable([f"3 1 1 {number:064x}" for number in range(1000)])) == MAX_RECORDS


def test_data_may_be_in_pieces() -> None:
    assert parse("3 1 1 " + "ab" * 16 + " " + "AB" * 16) == Tlsa(3, 1, 1, b"\xab" * 32)


@given(st.lists(st.text(max_size=80), max_size=5), st.lists(st.binary(max_size=200), max_size=4))
def test_any_text_and_any_octets_give_a_result(texts: list[str], chain: list[bytes]) -> None:
    records = usable(texts)
    assert all(record.usage in {2, 3} for record in records)
    assert verify([*records, record(2, 0, 0, ROOT)], chain, (NAME,), NOW) is not None
