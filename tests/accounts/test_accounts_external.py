"""EXTERNAL: whom a certificate stands for, and who may be who."""

from __future__ import annotations

import datetime as dt
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from postlatch.accounts.external import CertificateLogins, External
from postlatch.accounts.sasl import Challenge, Failure, Success

ALICE = "alice@example.com"
KEY = ec.generate_private_key(ec.SECP256R1())
DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def certificate(*names: x509.GeneralName) -> bytes:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.EMAIL_ADDRESS, "boss@example.com")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(DAY)
        .not_valid_after(DAY + dt.timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def addresses(*texts: str) -> bytes:
    return certificate(*map(x509.RFC822Name, texts))


BY_ADDRESS = CertificateLogins(by_address=True)


def test_a_listed_certificate_stands_for_its_login() -> None:
    der = addresses(ALICE)
    listed = CertificateLogins({hashlib.sha256(der).hexdigest(): "Printer@Example.com"}, by_address=True)
    assert listed.of(der) == {"printer@example.com"}, "the list is before the addresses"
    assert listed.of(addresses(ALICE, "other@example.com")) == {ALICE, "other@example.com"}


def test_a_certificate_that_is_listed_for_nobody_is_refused() -> None:
    """This is how one certificate is taken back, while the others of its authority go on."""
    der = addresses(ALICE)
    assert CertificateLogins({hashlib.sha256(der).hexdigest(): ""}, by_address=True).of(der) == frozenset()


def test_addresses_count_only_where_they_are_asked_for() -> None:
    assert CertificateLogins().of(addresses(ALICE)) == frozenset()
    assert BY_ADDRESS.of(addresses("Alice@EXAMPLE.com")) == {ALICE}


def test_other_names_in_a_certificate_are_no_logins() -> None:
    """Neither its subject, nor a host, nor a text in the place of an address that is one of our short logins."""
    assert BY_ADDRESS.of(certificate()) == frozenset()
    assert BY_ADDRESS.of(certificate(x509.DNSName("alice.example.com"))) == frozenset()
    assert BY_ADDRESS.of(addresses("printer-3")) == frozenset()
    assert BY_ADDRESS.of(addresses(*(f"a{n}@example.com" for n in range(17)))) == frozenset(), "a list without end is nobody"


@given(st.binary(max_size=400), st.integers(0, 500), st.integers(0, 255))
def test_no_octets_raise(noise: bytes, place: int, octet: int) -> None:
    spoiled = bytearray(addresses(ALICE))
    spoiled[place % len(spoiled)] = octet
    for der in (noise, bytes(spoiled)):
        assert all("@" in login for login in BY_ADDRESS.of(der))


@pytest.mark.parametrize("message", [b"", b"alice@example.com", b"ALICE@example.com"])
def test_the_owner_logs_in_by_name_or_without(message: bytes) -> None:
    mechanism = External(frozenset({ALICE}))
    assert mechanism.start(None) == Challenge(b"")
    assert mechanism.respond(message) == Success(ALICE)


def test_another_account_is_refused() -> None:
    answer = External(frozenset({ALICE})).start(b"bob@example.com")
    assert answer == Failure("bob@example.com", malformed=False, reason="the certificate is not that account's")


def test_where_there_is_a_choice_it_must_be_made() -> None:
    both = frozenset({ALICE, "sales@example.com"})
    assert External(both).start(b"sales@example.com") == Success("sales@example.com")
    answer = External(both).start(b"")
    assert isinstance(answer, Failure)
    assert not answer.malformed


@pytest.mark.parametrize("message", [b"\xff", b"alice@example.com\0", b"\0"])
def test_nonsense_is_malformed(message: bytes) -> None:
    answer = External(frozenset({ALICE})).start(message)
    assert isinstance(answer, Failure)
    assert answer.malformed
