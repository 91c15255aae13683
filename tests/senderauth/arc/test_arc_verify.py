"""ARC chains of our own making: who sealed, how far back the message is unchanged, and what breaks a chain. RFC 8617."""

from __future__ import annotations

import asyncio
import time

import pytest
from arc_chains import BODY, MESSAGE, Chain, zone
from hypothesis import example, given, settings
from hypothesis import strategies as st

from postlatch.senderauth.arc.verify import MAX_KEYS, ArcVerifier
from postlatch.senderauth.dkim.canon import header
from postlatch.senderauth.dkim.fields import split_fields
from postlatch.senderauth.results import ArcResult, Result
from postlatch.testing.dns import FakeResolver, Zone

NOW = 1_767_225_600.0
A, B, C = "a.example", "b.example", "c.example"
ZONE = zone(A, B, C)


def checked(
    block: bytes, body: bytes = BODY, names: Zone = ZONE, pieces: int = 1 << 20
) -> tuple[ArcResult, int | None, FakeResolver]:
    resolver = FakeResolver(names)

    async def scenario() -> tuple[ArcResult, int | None]:
        verifier = ArcVerifier(block, now=NOW)
        verifier.start(resolver)
        for start in range(0, len(body), pieces):
            verifier.feed(body[start : start + pieces])
        return await verifier.finish(resolver, timeout=5), verifier.oldest_pass

    result, oldest = asyncio.run(scenario())
    return result, oldest, resolver


def result_of(chain: Chain) -> ArcResult:
    return checked(chain.block, chain.body)[0]


def test_a_message_without_arc_fields_has_no_chain() -> None:
    result, oldest, resolver = checked(MESSAGE)
    assert (result.result, result.instance, oldest, resolver.queries) == (Result.NONE, 0, None, [])


def test_a_chain_tells_its_sealers_the_oldest_first_and_what_the_newest_saw() -> None:
    chain = Chain().seal(A).seal(B, results="spf=fail (what (a) list) smtp.mailfrom=x.example;\r\n\tarc=pass")
    result = result_of(chain)
    assert (result.result, result.instance, result.sealers) == (Result.PASS, 2, (A, B))
    assert result.results == "b.example; spf=fail smtp.mailfrom=x.example; arc=pass"


def test_how_the_body_is_cut_does_not_matter() -> None:
    chain = Chain(body=b"a  b \r\n\r\n\r\n").seal(A)
    for pieces in (1, 2, 3, 100):
        assert checked(chain.block, chain.body, pieces=pieces)[0].result is Result.PASS


def test_only_the_newest_message_signature_must_fit_and_the_oldest_that_does_is_found() -> None:
    unchanged = Chain().seal(A).seal(B).seal(C)
    assert checked(unchanged.block, unchanged.body)[:2] == (result_of(unchanged), 0)
    for changed, oldest in (
        (Chain().seal(A).change(b"list footer\r\n").seal(B).seal(C), 2),
        (Chain().seal(A).seal(B).change(b"list footer\r\n").seal(C), 3),
    ):
        result, found, _ = checked(changed.block, changed.body)
        assert (result.result, found) == (Result.PASS, oldest)


def test_the_body_changed_behind_the_newest_seal_fails_and_waits_for_no_key() -> None:
    chain = Chain().seal(A).change(b"x\r\n")
    slow = {f"s._domainkey.{A}": {"TXT": "TIMEOUT"}}
    result, oldest, _ = checked(chain.block, chain.body, slow)
    assert (result.result, oldest) == (Result.FAIL, None)
    assert "bh=" in result.reason
    assert result.sealers == (), "nobody vouches for a chain that fails"


def test_a_header_field_that_was_changed_or_a_second_from_fails() -> None:
    chain = Chain().seal(A)
    assert checked(chain.block.replace(b"Subject: x", b"Subject: y"), chain.body)[0].result is Result.FAIL
    assert checked(chain.block.replace(b"alice@", b"mallory@"), chain.body)[0].result is Result.FAIL
    assert checked(b"From: mallory@example.net\r\n" + chain.block, chain.body)[0].result is Result.FAIL
    assert checked(chain.block + b"X: y\r\n", chain.body)[0].result is Result.PASS


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("instance", [0, 1])
def test_any_change_of_any_field_of_the_chain_breaks_a_seal(instance: int, part: int) -> None:
    chain = Chain().seal(A).seal(B)
    raw = chain.sets[instance][part]
    changed = raw.replace(b"; d=", b"; x1=y; d=") if part else raw.replace(b"spf=pass", b"spf=fail")
    assert changed != raw
    assert checked(chain.block.replace(raw, changed), chain.body)[0].result is Result.FAIL


# RELIABILITY 39: structure


def test_fifty_instances_pass_and_fifty_one_fail() -> None:
    chain = Chain()
    for _ in range(50):
        chain.seal(A)
    result, oldest, resolver = checked(chain.block, chain.body)
    assert (result.result, result.instance, oldest) == (Result.PASS, 50, 0)
    assert len(resolver.queries) == 1, "one key, asked once"
    chain.seal(A)
    result, _, resolver = checked(chain.block, chain.body)
    assert (result.result, resolver.queries) == (Result.FAIL, [])
    assert "50" in result.reason


def test_at_most_51_keys_are_asked_for() -> None:
    domains = [f"d{i}.example" for i in range(50)]
    chain = Chain()
    for domain in domains:
        chain.seal(domain)
    result, oldest, resolver = checked(chain.block, chain.body, zone(*domains))
    assert (result.result, oldest) == (Result.PASS, 0)
    assert len(resolver.queries) == 50 < MAX_KEYS


@pytest.mark.parametrize("instance", [0, 1, 2])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_field_that_is_missing_or_there_twice_fails(instance: int, part: int) -> None:
    chain = Chain().seal(A).seal(B).seal(C)
    raw = chain.sets[instance][part]
    for block in (chain.block.replace(raw, b""), raw + chain.block, chain.block + raw):
        result, _, resolver = checked(block, chain.body)
        assert (result.result, resolver.queries) == (Result.FAIL, [])


def test_a_seal_may_hold_unknown_tags_but_no_list_of_fields() -> None:
    assert result_of(Chain().seal(A, seal_extra="v=1; x=y; t=1; ")).result is Result.PASS
    result = result_of(Chain().seal(A, seal_extra="h=from; "))
    assert (result.result, "h=" in result.reason) == (Result.FAIL, True)


def test_what_the_newest_sealer_found_broken_is_not_looked_at_again() -> None:
    result, _, resolver = checked(Chain().seal(A).seal(B, cv="fail").block)
    assert (result.result, resolver.queries) == (Result.FAIL, [])
    assert "failed before" in result.reason


def test_a_gap_fails() -> None:
    assert result_of(Chain().seal(A).seal(B, instance=3)).result is Result.FAIL
    assert result_of(Chain().seal(A, instance=2)).result is Result.FAIL
    assert "from 1 to 50" in result_of(Chain().seal(A, instance=51)).reason


@pytest.mark.parametrize("position", ["0", "", "-1", "+1", "1.0", "051", "001", "1 1", "x", "\u0661", "99999999999999999999"])
def test_an_instance_is_a_number_from_1_to_50(position: str) -> None:
    chain = Chain().seal(A)
    for name in (b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results"):
        block = chain.block.replace(name + b": i=1;", name + b": i=" + position.encode() + b";")
        assert block != chain.block
        assert checked(block, chain.body)[0].result is Result.FAIL


@pytest.mark.parametrize(
    "cvs",
    [("pass",), ("fail",), ("none", "none"), ("none", "fail"), ("fail", "pass"), ("pass", "pass"), ("maybe",), ("none", "")],
)
def test_only_none_and_then_pass_may_stand_in_the_seals(cvs: tuple[str, ...]) -> None:
    chain = Chain()
    for number, cv in enumerate(cvs):
        chain.seal(A, cv=cv or " ")
        assert number < 2
    assert result_of(chain).result is Result.FAIL


@pytest.mark.parametrize(
    ("headers", "extra"),
    [
        ("to:subject", ""),
        ("", ""),
        ("from:arc-seal", ""),
        ("from", "l=5; "),
        ("from", "x=1; "),
        ("from", "t=99999999999; "),
        ("from", "t=x; "),
        ("from:a b", ""),
    ],
)
def test_a_message_signature_that_leaves_room_is_none(headers: str, extra: str) -> None:
    assert result_of(Chain().seal(A, headers=headers, extra=extra)).result is Result.FAIL


def test_an_older_message_signature_may_be_what_it_likes() -> None:
    chain = Chain().seal(A, headers="to", extra="l=5; ").seal(B)
    result, oldest, _ = checked(chain.block, chain.body)
    assert (result.result, oldest) == (Result.PASS, 2)


def test_results_begin_with_their_instance_and_may_hold_comments() -> None:
    chain = Chain().seal(A)
    value = b"ARC-Authentication-Results: i=1;"
    good = {
        b"ARC-Authentication-Results: (c;) i (=) = (d) 1 (e) ;": "the seal 1 does not fit",  # read, and the change noticed
        b"ARC-Authentication-Results:\r\n\ti=1;": "all seals fit",  # the same in relaxed form
    }
    for written, reason in good.items():
        raw = chain.sets[0][0].replace(value, written)
        assert reason in checked(chain.block.replace(chain.sets[0][0], raw), chain.body)[0].reason
    for bad in (
        b"ARC-Authentication-Results: (i=1;",
        b"ARC-Authentication-Results: x; i=1;",
        b"ARC-Authentication-Results: i=1",
    ):
        block = chain.block.replace(chain.sets[0][0], chain.sets[0][0].replace(value, bad))
        result = checked(block, chain.body)[0]
        assert (result.result, "RFC 8617 section 4" in result.reason) == (Result.FAIL, True)


# Keys


@pytest.mark.parametrize(
    "answer",
    [
        {"TXT": "SERVFAIL"},
        {"TXT": "TIMEOUT"},
        {"TXT": []},
        {"TXT": ["v=DKIM1; p="]},
        {"TXT": ["v=DKIM1; k=ed25519; p=AAAA"]},
        {"TXT": ["\xff"]},
        None,
    ],
)
def test_a_chain_whose_keys_are_not_there_fails(answer: dict[str, list[str] | str] | None) -> None:
    chain = Chain().seal(A).seal(B)
    names = {name: types for name, types in ZONE.items() if A not in name}
    if answer is not None:
        names[f"s._domainkey.{A}"] = answer
    result, oldest, _ = checked(chain.block, chain.body, names)
    assert (result.result, oldest) == (Result.FAIL, None)


def test_a_key_of_somebody_else_does_not_fit() -> None:
    names = {**ZONE, f"s._domainkey.{A}": ZONE[f"s._domainkey.{B}"]}
    chain = Chain().seal(A)
    assert checked(chain.block, chain.body, names)[0].result is Result.FAIL


def test_a_key_that_does_not_come_is_waited_for_no_longer_than_said() -> None:
    class Silent(FakeResolver):
        async def txt(self, name: str) -> list[bytes]:
            await asyncio.sleep(3600)
            return await super().txt(name)

    chain = Chain().seal(A)

    async def scenario() -> ArcResult:
        verifier = ArcVerifier(chain.block, now=NOW)
        verifier.start(Silent({}))
        verifier.feed(chain.body)
        return await verifier.finish(Silent({}), timeout=0.01)

    result = asyncio.run(scenario())
    assert result.result is Result.FAIL
    assert "too long" in result.reason


def test_a_check_may_be_given_up_at_any_time() -> None:
    async def scenario() -> None:
        verifier = ArcVerifier(Chain().seal(A).block, now=NOW)
        verifier.abandon()
        verifier.start(FakeResolver(ZONE))
        verifier.abandon()
        verifier.abandon()

    asyncio.run(scenario())


# Bounds and any octets


@pytest.mark.parametrize(
    "field",
    [
        b"ARC-Seal: i=1; cv=none\r\n",
        b"ARC-Authentication-Results: i=1; " + b"(" * 200 + b"\r\n",
        b"ARC-Authentication-Results: " + b"(" * 60_000 + b"\r\n",
        b"ARC-Message-Signature: i=1; " + b"x=y;" * 10_000 + b"\r\n",
        b"ARC-Seal: " + b"a" * 60_000 + b"\r\n",
    ],
    ids=lambda field: field[:40].decode(),
)
def test_a_header_full_of_arc_fields_costs_little(field: bytes) -> None:
    block = field * (262_000 // len(field))
    began = time.thread_time()
    assert checked(block)[0].result is Result.FAIL
    assert time.thread_time() - began < 0.25


WHOLE = Chain().seal(A).seal(B).block
PIECE = st.sampled_from(
    [b"ARC-Seal: ", b"ARC-Message-Signature:", b"ARC-Authentication-Results: i=1;", b"i=1; ", b"\r\n", b"\xff"]
)


@given(
    st.one_of(st.binary(max_size=100), st.lists(PIECE, max_size=12).map(b"".join)),
    st.integers(0, len(WHOLE)),
    st.binary(max_size=9),
)
@settings(deadline=None)
@example(b"", 0, b"")
def test_any_octets_are_a_result_and_no_change_of_a_chain_makes_it_pass(junk: bytes, place: int, body: bytes) -> None:
    assert checked(junk, body)[0].result in {Result.NONE, Result.FAIL}
    spoilt = WHOLE[:place] + junk + WHOLE[place:]
    result = checked(spoilt, BODY)[0]
    assert result.results.isascii()
    assert result.reason.isprintable()
    assert len(result.reason) <= 500
    if result.result is Result.PASS:
        authors = [header(field.raw, "relaxed") for field in split_fields(spoilt) if field.name == b"from"]
        assert authors == [b"from:alice@example.com\r\n"]
