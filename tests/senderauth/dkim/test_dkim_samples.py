"""The samples of others: RFC 8463 appendix A bit for bit, and messages that real software signed."""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dkim_support import NOW, crlf, key, one, published, sign, split, verify, zone

from postlatch.senderauth.dkim.canon import BodyHash
from postlatch.senderauth.dkim.digest import header_digest
from postlatch.senderauth.dkim.fields import covered, split_fields
from postlatch.senderauth.dkim.sign import Signer, SignError, SigningKey, complete, public_record
from postlatch.senderauth.results import Result

# RFC 8463 appendix A.2: the private key, whose public one is 11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
_SEED = b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
_MAIL = (
    b"From: Joe SixPack <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\n"
    b"Subject: Is dinner ready?\r\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    b"Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\n"
    b"Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
)
_UNSIGNED = (
    b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n"
    b" q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : from : subject : date;\r\n"
    b" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n b="
)
_ED25519 = b"/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
_RSA = (
    b"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n d=football.example.com; i=@football.example.com;\r\n"
    b" q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n date : message-id : from : subject : date;\r\n"
    b" bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n"
    b" b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n"
    b" DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n"
    b" dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n"
)


def test_the_example_of_rfc_8463_is_reproduced_bit_for_bit() -> None:
    block, body = split(_MAIL)
    hashed = BodyHash("relaxed")
    hashed.feed(body)
    assert hashed.digest() == b64decode("2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=")
    names = [b"from", b"to", b"subject", b"date", b"message-id", b"from", b"subject", b"date"]
    digest = header_digest(covered(split_fields(block), names), _UNSIGNED, "relaxed")
    field = complete(_UNSIGNED, digest, Ed25519PrivateKey.from_private_bytes(_SEED))
    assert field.partition(b" b=")[2].replace(b"\r\n ", b"").strip() == _ED25519
    assert field.startswith(_UNSIGNED)


def test_the_public_record_of_rfc_8463_is_reproduced() -> None:
    key_of_joe = SigningKey("football.example.com", "brisbane", "ed25519", Ed25519PrivateKey.from_private_bytes(_SEED))
    assert public_record(key_of_joe) == "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def test_both_signatures_of_rfc_8463_verify(testdata: Path) -> None:
    """RSASSA-PKCS1-v1_5 has one signature only for a key and a message: that it verifies says that it is reproduced."""
    results = verify(_UNSIGNED + _ED25519 + b"\r\n" + _RSA + _MAIL, published(testdata))
    assert [(found.result, found.algorithm, found.identity) for found in results] == [
        (Result.PASS, "ed25519-sha256", "@football.example.com"),
        (Result.PASS, "rsa-sha256", "@football.example.com"),
    ]
    assert results[0].signature == "/gCrinpcQOoIfuHN"


@pytest.mark.parametrize(
    ("name", "domains"),
    [
        ("rfc6376.signed.msg", ["football.example.com", "football.example.com"]),
        ("ed25519test2.msg", ["test.ex"]),
        ("test2.message", ["gmail.com"]),
    ],
)
def test_the_signed_samples_pass(testdata: Path, name: str, domains: list[str]) -> None:
    message = crlf(testdata / "dkim" / name)
    results = verify(message, published(testdata))
    assert [(found.result, found.domain) for found in results] == [(Result.PASS, domain) for domain in domains], results


@pytest.mark.parametrize("name", ["rfc6376.signed.msg", "ed25519test2.msg", "test2.message"])
def test_a_signed_sample_fails_with_another_body(testdata: Path, name: str) -> None:
    results = verify(crlf(testdata / "dkim" / name) + b"more\r\n", published(testdata))
    assert {found.result for found in results} == {Result.FAIL}
    assert all("bh=" in found.reason for found in results)


@pytest.mark.parametrize("name", ["rfc6376.signed.msg", "test2.message"])
def test_a_signed_sample_fails_with_another_subject(testdata: Path, name: str) -> None:
    message = crlf(testdata / "dkim" / name).replace(b"Subject: ", b"Subject: Re: ")
    results = verify(message, published(testdata))
    assert {found.result for found in results} == {Result.FAIL}
    assert all("b=" in found.reason for found in results)


@pytest.mark.parametrize("name", ["rfc6376.msg", "test.message", "test_extra.message", "ed25519test.msg"])
@pytest.mark.parametrize("algorithm", ["rsa", "ed25519"])
def test_the_unsigned_samples_are_signed_by_us(testdata: Path, name: str, algorithm: str) -> None:
    message = crlf(testdata / "dkim" / name)
    assert verify(message) == ()
    assert one(verify(sign(message, key(algorithm)))).result is Result.PASS


def test_a_sample_without_from_is_not_signed(testdata: Path) -> None:
    block, _ = split(crlf(testdata / "dkim" / "test_nofrom.message"))
    with pytest.raises(SignError, match="no From"):
        Signer([key()], block, now=NOW, valid=None)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("badk.txt", "neither rsa nor ed25519"),
        ("badversion.txt", "version"),
        ("test_bad.txt", "no RSA key"),
        ("test_tlsrpt.txt", "not for mail"),
        ("ed25519test.dns", "another kind"),
    ],
)
def test_a_bad_key_record_is_a_permerror_with_its_reason(testdata: Path, name: str, reason: str) -> None:
    signer = SigningKey("example.com", "test", "rsa", key("rsa").private)
    message = sign(crlf(testdata / "dkim" / "test.message"), signer)
    record = (testdata / "dkim" / name).read_text().strip()
    found = one(verify(message, zone(signer, record=record)))
    assert found.result is Result.PERMERROR
    assert reason in found.reason


@pytest.mark.parametrize("name", ["test.txt", "test2.txt"])
def test_a_good_record_of_another_key_is_a_fail(testdata: Path, name: str) -> None:
    signer = SigningKey("example.com", "test", "rsa", key("rsa").private)
    message = sign(crlf(testdata / "dkim" / "test.message"), signer)
    record = (testdata / "dkim" / name).read_text().strip()
    assert one(verify(message, zone(signer, record=record))).result is Result.FAIL


def test_the_hash_of_an_empty_relaxed_body_is_that_of_nothing() -> None:
    """RFC 6376 section 3.4.4 gives it."""
    assert BodyHash("relaxed").digest() == sha256().digest() == b64decode("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")
    assert BodyHash("simple").digest() == b64decode("frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=")
