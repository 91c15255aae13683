"""What passes, what does not, and why: RFC 6376 section 6 and RELIABILITY cases 10, 32, 36, 37 and 38."""

from __future__ import annotations

import asyncio
import re
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dkim_support import DAY, MESSAGE, NOW, key, one, sign, split, verify, zone
from hypothesis import given
from hypothesis import strategies as st

from postlatch.senderauth.dkim.canon import BodyHash, header
from postlatch.senderauth.dkim.digest import header_digest
from postlatch.senderauth.dkim.fields import covered, split_fields
from postlatch.senderauth.dkim.sign import SigningKey, complete, public_record
from postlatch.senderauth.dkim.signature import without_value
from postlatch.senderauth.dkim.tags import parse_tags
from postlatch.senderauth.dkim.text import decode_base64
from postlatch.senderauth.dkim.verify import MAX_RESULTS, Verifier
from postlatch.senderauth.results import DkimResult, Result
from postlatch.testing.dns import FakeResolver

NAME = "ed25519._domainkey.example.com"


def signed_with(**changes: str) -> bytes:
    """A message whose signature has these tags instead: whoever reads it must decide before it looks at b=."""
    tags = {
        "v": "1",
        "a": "ed25519-sha256",
        "c": "relaxed/relaxed",
        "d": "example.com",
        "s": "ed25519",
        "h": "From:To",
        "bh": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "b": "AAAA",
    } | changes
    text = "; ".join(f"{name}={value}" for name, value in tags.items() if value != "ABSENT")
    return f"DKIM-Signature: {text}\r\n".encode() + MESSAGE


def test_a_message_without_a_signature_has_no_result_and_asks_nothing() -> None:
    resolver = FakeResolver({})
    assert verify(MESSAGE, resolver) == ()
    assert resolver.queries == []


def test_a_pass_says_whose_key_it_was() -> None:
    found = one(verify(sign(MESSAGE, identity="alice@mail.example.com")))
    assert found.result is Result.PASS
    assert (found.domain, found.selector, found.algorithm) == ("example.com", "ed25519", "ed25519-sha256")
    assert found.identity == "alice@mail.example.com"
    assert re.fullmatch(r"[A-Za-z0-9+/]{16}", found.signature)
    assert len(found.body_hash) == 44
    assert not found.testing


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bh": "ABSENT"}, "no bh="),  # case 36
        ({"h": "To:Subject"}, "does not cover From"),  # case 36
        ({"h": ""}, "not a list of field names"),
        ({"h": "From::To"}, "not a list of field names"),
        ({"h": "from:" + "a:" * 1000 + "to"}, "work capped"),
        ({"v": "2"}, "version"),
        ({"v": "ABSENT"}, "no v="),
        ({"a": "rsa-sha1"}, "SHA-1"),
        ({"a": "dsa-sha256"}, "neither"),
        ({"a": "RSA-SHA256"}, "neither"),
        ({"c": "nowsp"}, "canonicalisation"),
        ({"c": "Relaxed/relaxed"}, "canonicalisation"),
        ({"c": "relaxed/relaxed/simple"}, "canonicalisation"),
        ({"d": "exa mple.com"}, "d="),
        ({"d": "192.0.2.1"}, "d="),
        ({"d": "x" * 64 + ".example"}, "d="),
        ({"s": ""}, "s="),
        ({"s": "a..b"}, "s="),
        ({"s": ".".join(["a" * 60] * 4)}, "s="),
        ({"i": "alice@example.org"}, "not in the domain"),
        ({"i": "alice@badexample.com"}, "not in the domain"),
        ({"i": "alice"}, "no domain"),
        ({"q": "http/txt"}, "dns/txt"),
        ({"t": "soon"}, "t= is not a number"),
        ({"t": "1" * 13}, "t= is not a number"),
        ({"x": "-1"}, "x= is not a number"),
        ({"t": "1767225600", "x": "1767225599"}, "before it begins"),
        ({"b": ""}, "b= is not base64"),
        ({"b": "$"}, "b= is not base64"),
        ({"bh": "AAAA"}, "not a SHA-256 hash"),
        ({"l": "much"}, "l= is not a number"),
        ({"z z": "1"}, "malformed"),
        ({"y": "1;y=2"}, "malformed"),
    ],
)
def test_a_signature_that_breaks_the_rules_is_a_permerror_and_asks_nothing(changes: dict[str, str], reason: str) -> None:
    resolver = FakeResolver({})
    found = one(verify(signed_with(**changes), resolver))
    assert (found.result, resolver.queries) == (Result.PERMERROR, [])
    assert reason in found.reason


def test_case_36_a_part_of_the_body_never_passes() -> None:
    """Case 36: whatever l= says, and though the key is right."""
    for length in ("0", "9", "999999999999999"):
        found = one(verify(signed_with(l=length)))
        assert found.result is Result.POLICY
        assert "l=" in found.reason


@pytest.mark.parametrize("bits", [1023, 8193])
def test_case_37_a_key_of_a_wrong_size_is_a_permerror(bits: int) -> None:

    public = RSAPublicNumbers(65537, (1 << bits) - 255).public_key()
    octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    found = one(verify(sign(MESSAGE, key("rsa")), zone(key("rsa"), record="p=" + b64encode(octets).decode())))
    assert found.result is Result.PERMERROR
    assert f"{bits} bit" in found.reason


def test_case_37_of_fifty_signatures_eight_are_checked() -> None:
    message = MESSAGE
    for _ in range(50):
        message = sign(message)
    resolver = FakeResolver(zone(key()))
    results = verify(message, resolver)
    assert [found.result for found in results] == [Result.PASS] * 8 + [Result.POLICY] * 42
    assert all("work capped" in found.reason and found.domain == "example.com" for found in results[8:])
    assert resolver.queries == [(NAME, "TXT")]


def test_case_37_fifty_signatures_of_fifty_domains_ask_for_eight_keys() -> None:
    keys = [SigningKey(f"d{n}.example", "s", "ed25519", key().private) for n in range(50)]
    resolver = FakeResolver(zone(*keys))
    verify(sign(MESSAGE, *keys), resolver)
    assert len(resolver.queries) == 8


def test_ten_thousand_signatures_have_a_bounded_number_of_results() -> None:
    assert len(verify(b"DKIM-Signature:\r\n" * 10_000 + MESSAGE)) == MAX_RESULTS


def test_case_38_a_second_subject_breaks_the_signature() -> None:
    """Case 38: what is covered once more than it occurs cannot be added, at the top or at the bottom."""
    message = sign(MESSAGE)
    for name in (b"From", b"To", b"Cc", b"Subject", b"Date", b"Message-ID", b"Content-Type"):
        extra = name + b": x@example.net\r\n"
        assert one(verify(extra + message)).result is Result.FAIL
        block, body = split(message)
        assert one(verify(block + extra + b"\r\n" + body)).result is Result.FAIL
    assert one(verify(b"Received: from elsewhere\r\nX-Other: x\r\n" + message)).result is Result.PASS


def test_case_38_a_signature_ends() -> None:
    message = sign(MESSAGE, valid=10 * DAY)
    assert one(verify(message, now=NOW + 10 * DAY)).result is Result.PASS
    late = one(verify(message, now=NOW + 10 * DAY + 1))
    assert late.result is Result.FAIL
    assert "expired" in late.reason


def test_case_38_a_replayed_signature_keeps_its_body_hash() -> None:
    message = sign(MESSAGE)
    first, again = one(verify(message)), one(verify(b"Received: again\r\n" + message))
    assert (first.body_hash, first.signature) == (again.body_hash, again.signature)


def test_a_signature_from_the_future_fails_beyond_five_minutes() -> None:
    assert one(verify(sign(MESSAGE, now=NOW + 300))).result is Result.PASS
    assert "future" in one(verify(sign(MESSAGE, now=NOW + 301))).reason


@pytest.mark.parametrize("failure", ["SERVFAIL", "TIMEOUT"])
def test_case_10_a_failing_dns_is_a_temperror(failure: str) -> None:
    found = one(verify(sign(MESSAGE), {NAME: {"TXT": failure}}))
    assert (found.result, found.domain) == (Result.TEMPERROR, "example.com")


@pytest.mark.parametrize("names", [{"other.example": {}}, {NAME: {"A": ["192.0.2.1"]}}])
def test_case_10_a_key_that_is_not_there_is_a_permerror(names: dict[str, dict[str, list[str]]]) -> None:
    found = one(verify(sign(MESSAGE), names))
    assert found.result is Result.PERMERROR
    assert "no key" in found.reason


def test_case_10_garbage_in_the_dns_is_a_permerror() -> None:
    for record in ("", "\udcff\udcfe", "v=DKIM1", "x" * 60_000, ";;;", "v=DKIM1; p=" + "A" * 500):
        assert one(verify(sign(MESSAGE), {NAME: {"TXT": [record]}})).result is Result.PERMERROR


def test_case_32_one_failing_domain_does_not_spoil_another() -> None:
    other = SigningKey("other.example", "s", "ed25519", key().private)
    message = sign(sign(MESSAGE), other)
    results = verify(message, {**zone(key()), "s._domainkey.other.example": {"TXT": "SERVFAIL"}})
    assert [found.result for found in results] == [Result.TEMPERROR, Result.PASS]


def test_case_32_a_resolver_that_never_answers_is_a_temperror_in_time() -> None:
    async def run() -> tuple[DkimResult, ...]:
        block, body = split(sign(MESSAGE))
        verifier = Verifier(block, now=NOW)
        verifier.feed(body)
        return await verifier.finish(NeverResolver(), timeout=0.01)

    found = one(asyncio.run(run()))
    assert found.result is Result.TEMPERROR
    assert "too long" in found.reason


def test_another_body_fails_without_waiting_for_the_key() -> None:
    async def run() -> tuple[DkimResult, ...]:
        block, body = split(sign(MESSAGE))
        verifier = Verifier(block, now=NOW)
        verifier.start(NeverResolver())
        verifier.feed(body + b"more\r\n")
        return await verifier.finish(NeverResolver())

    assert one(asyncio.run(run())).result is Result.FAIL


def test_look_ups_start_early_and_end_with_the_verifier() -> None:
    async def run() -> None:
        before = asyncio.all_tasks()
        verifier = Verifier(split(sign(MESSAGE))[0], now=NOW)
        assert verifier.wanted == (("ed25519", "example.com"),)
        verifier.abandon()
        verifier.start(NeverResolver())
        verifier.start(NeverResolver())
        assert len(asyncio.all_tasks() - before) == 1
        verifier.abandon()
        verifier.abandon()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before

    asyncio.run(run())


def test_a_check_that_is_cancelled_leaves_nothing_behind() -> None:
    async def run() -> None:
        block, body = split(sign(MESSAGE))
        verifier = Verifier(block, now=NOW)
        verifier.feed(body)
        before = asyncio.all_tasks()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(verifier.finish(NeverResolver()), 0.01)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == before

    asyncio.run(run())


def test_each_key_is_asked_for_once() -> None:
    resolver = FakeResolver(zone(key(), key("rsa")))
    results = verify(sign(sign(MESSAGE, key(), key("rsa")), key()), resolver)
    assert [found.result for found in results] == [Result.PASS] * 3
    assert len(resolver.queries) == 2


def test_two_records_at_the_name_are_a_permerror() -> None:
    record = public_record(key())
    found = one(verify(sign(MESSAGE), {NAME: {"TXT": [record, record]}}))
    assert found.result is Result.PERMERROR
    assert "several TXT records" in found.reason


def test_a_revoked_key_is_a_permerror() -> None:
    assert "revoked" in one(verify(sign(MESSAGE), zone(key(), record="v=DKIM1; p="))).reason


def test_the_owner_of_a_key_may_be_testing() -> None:
    record = public_record(key()) + "; t=y"
    assert one(verify(sign(MESSAGE), zone(key(), record=record))).testing
    assert one(verify(b"Subject: other\r\n" + sign(MESSAGE), zone(key(), record=record))).testing


def test_an_exact_key_permits_no_subdomain() -> None:
    names = zone(key(), record=public_record(key()) + "; t=s")
    assert one(verify(sign(MESSAGE, identity="alice@example.com"), names)).result is Result.PASS
    assert one(verify(sign(MESSAGE, identity="alice@mail.example.com"), names)).result is Result.PERMERROR
    assert one(verify(sign(MESSAGE), names)).result is Result.PASS


def test_domains_in_unicode_are_those_in_a_labels() -> None:
    """RFC 8616: d=, i= and s= may be written either way."""
    resolver = FakeResolver({})
    found = one(verify(signed_with(d="b\u00fccher.example", i="a@B\u00dcCHER.example", s="schl\u00fcssel"), resolver))
    assert (found.domain, found.selector) == ("xn--bcher-kva.example", "xn--schlssel-95a")
    assert resolver.queries == []  # the body is another
    assert "body" in found.reason
    mixed = one(verify(signed_with(d="xn--bcher-kva.example", i="a@x.b\u00fccher.example")))
    assert "body" in mixed.reason
    assert found.identity.isascii()


def test_what_a_stranger_wrote_is_printable_and_short_in_the_result() -> None:
    ugly = "\u202e<script>\u00e9" * 200
    found = one(verify(signed_with(d=ugly, s=ugly, i=ugly, a=ugly, b=ugly, bh=ugly)))
    for text in (found.domain, found.selector, found.identity, found.algorithm, found.signature, found.body_hash, found.reason):
        assert text.isascii()
        assert text.isprintable()
        assert len(text) <= 500


def test_a_second_from_that_is_not_covered_is_no_pass() -> None:
    """RFC 6376 section 8.15: who reads the other From would believe it signed."""
    block, body = split(MESSAGE)
    message = _signed_without_oversigning(block, body)
    assert one(verify(message)).result is Result.PASS
    found = one(verify(b"From: Mallory <m@example.net>\r\n" + message))
    assert found.result is Result.POLICY
    assert "8.15" in found.reason


def test_simple_headers_do_not_forgive_a_space() -> None:
    block, body = split(MESSAGE)
    message = _signed_without_oversigning(block, body, "simple/simple")
    assert one(verify(message)).result is Result.PASS
    assert one(verify(message.replace(b"Subject: ", b"Subject:  "))).result is Result.FAIL
    relaxed = _signed_without_oversigning(block, body, "relaxed/simple")
    assert one(verify(relaxed.replace(b"Subject: ", b"SUBJECT :\r\n \t "))).result is Result.PASS
    assert one(verify(relaxed.replace(b"noon?", b"noon? "))).result is Result.FAIL


def _signed_without_oversigning(block: bytes, body: bytes, canon: str = "relaxed/relaxed") -> bytes:

    header_canon, body_canon = canon.split("/")
    hashed = BodyHash(body_canon)
    hashed.feed(body)
    unsigned = (
        f"DKIM-Signature: v=1; a=ed25519-sha256; c={canon}; d=example.com; s=ed25519;\r\n h=from:subject;"
        f" bh={b64encode(hashed.digest()).decode()};\r\n b="
    ).encode()
    digest = header_digest(covered(split_fields(block), [b"from", b"subject"]), unsigned, header_canon)
    return complete(unsigned, digest, key().private) + block + b"\r\n" + body


_PARTS = [b"DKIM-Signature:", b"v=1;", b"a=ed25519-sha256;", b"d=example.com;", b"s=s;", b"h=from;", b"bh=", b"b=AA==;"]
_NOISE = [
    b"\r\n",
    b" ",
    b";",
    b"=",
    b"l=1;",
    b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;",
    b"From: a\r\n",
    b"\xff",
    b"t=9;",
]


@given(st.lists(st.sampled_from(_PARTS + _NOISE), max_size=40).map(b"".join) | st.binary(max_size=300))
def test_any_octets_have_results(message: bytes) -> None:
    for found in verify(message) + verify(b"DKIM-Signature: " + message):
        assert found.result is not Result.PASS
        assert found.reason


@given(st.integers(0), st.integers(1, 255))
def test_no_octet_of_a_signed_message_can_change_unseen(place: int, difference: int) -> None:
    """But what relaxed forgives: the case of field names, a tab for a space; and the spare bits of base64."""
    original = sign(MESSAGE)
    message = bytearray(original)
    message[place % len(message)] ^= difference
    if any(found.result is Result.PASS for found in verify(bytes(message))):
        assert meaning(bytes(message)) == meaning(original)


def meaning(message: bytes) -> tuple[object, ...]:
    """All that a signature says and covers, in canonical form."""
    block, body = split(message)
    fields = split_fields(block)
    signature = fields[0]
    hashed = BodyHash("relaxed")
    hashed.feed(body)
    tags = parse_tags(signature.raw.partition(b":")[2].removesuffix(b"\r\n"))
    relaxed = [header(field.raw, "relaxed") for field in fields[1:]]
    return header(without_value(signature.raw), "relaxed"), decode_base64(tags["b"]), relaxed, hashed.digest()


class NeverResolver(FakeResolver):
    """Does not answer."""

    def __init__(self) -> None:
        super().__init__({})

    async def txt(self, name: str) -> list[bytes]:
        await asyncio.Event().wait()
        raise AssertionError(name)
