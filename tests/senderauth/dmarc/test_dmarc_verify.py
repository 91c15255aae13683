"""DMARC's judgement: alignment, policies, failures of the DNS, and what one message may cost. RFC 9989 section 5.3."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.senderauth.dmarc.verify import check_dmarc, none_for
from postlatch.senderauth.dmarc.walk import discover
from postlatch.senderauth.results import Disposition, DkimResult, DmarcResult, Result, SpfResult
from postlatch.testing.dns import FakeResolver, Zone

NONE, QUARANTINE, REJECT = Disposition.NONE, Disposition.QUARANTINE, Disposition.REJECT
NO_SPF = SpfResult(Result.NONE, "", "mfrom")
Names = dict[str, dict[str, list[str] | str]]
RECORD: Names = {"_dmarc.example.com": {"TXT": ["v=DMARC1; p=reject"]}}


def spf(domain: str, result: Result = Result.PASS, scope: str = "mfrom") -> SpfResult:
    return SpfResult(result, domain, scope)


def dkim(domain: str, result: Result = Result.PASS) -> DkimResult:
    return DkimResult(result, domain, "s1", "rsa-sha256", "")


def judged(
    zone: Zone, from_domain: str = "example.com", spf: SpfResult = NO_SPF, dkim: Sequence[DkimResult] = ()
) -> DmarcResult:
    return asyncio.run(check_dmarc(FakeResolver(zone), from_domain=from_domain, spf=spf, dkim=dkim))


def record(text: str, name: str = "example.com") -> Names:
    return {f"_dmarc.{name}": {"TXT": [text]}}


# Alignment


@pytest.mark.parametrize(
    ("identifier", "relaxed", "strict"),
    [
        ("example.com", True, True),
        ("EXAMPLE.com", True, True),
        ("mail.example.com", True, False),
        ("a.b.c.example.com", True, False),
        ("com", False, False),
        ("badexample.com", False, False),
        ("example.com.evil.example", False, False),
        ("example.org", False, False),
        ("", False, False),
        ("e\u0445ample.com", False, False),
    ],
)
def test_which_identifiers_are_aligned(identifier: str, relaxed: bool, strict: bool) -> None:
    loose, tight = record("v=DMARC1; p=reject"), record("v=DMARC1; p=reject; adkim=s; aspf=s")
    for zone, aligned in ((loose, relaxed), (tight, strict)):
        by_dkim = judged(zone, dkim=[dkim(identifier)])
        assert (by_dkim.dkim_aligned, by_dkim.spf_aligned) == (aligned, False)
        assert by_dkim.result is (Result.PASS if aligned else Result.FAIL)
        by_spf = judged(zone, spf=spf(identifier))
        assert (by_spf.dkim_aligned, by_spf.spf_aligned) == (False, aligned)
        assert by_spf.disposition is (NONE if aligned else REJECT)


def test_each_mechanism_has_its_own_strictness() -> None:
    zone = record("v=DMARC1; p=reject; adkim=s")
    assert judged(zone, dkim=[dkim("a.example.com")]).result is Result.FAIL
    assert judged(zone, spf=spf("a.example.com")).result is Result.PASS


def test_sisters_are_aligned_through_their_organisation() -> None:
    result = judged(RECORD, "news.example.com", dkim=[dkim("foo.example.com")])
    assert (result.result, result.policy_domain, result.dkim_aligned) == (Result.PASS, "example.com", True)


def test_the_organisation_of_an_identifier_is_found_by_its_own_walk() -> None:
    zone: Names = {**RECORD, **record("v=DMARC1; p=none; psd=n", "dep.example.com")}
    assert judged(zone, dkim=[dkim("a.dep.example.com")]).result is Result.FAIL, "psd=n makes it another organisation"
    assert judged(zone, "x.dep.example.com", dkim=[dkim("example.com")]).result is Result.FAIL
    assert judged(zone, "x.dep.example.com", dkim=[dkim("a.dep.example.com")]).result is Result.PASS


def test_customers_of_a_public_suffix_are_not_aligned_with_each_other() -> None:
    zone = record("v=DMARC1; p=reject; psd=y", "co.example")
    assert judged(zone, "a.co.example", dkim=[dkim("b.co.example")]).result is Result.FAIL
    assert judged(zone, "a.co.example", dkim=[dkim("co.example")]).result is Result.FAIL
    assert judged(zone, "a.co.example", dkim=[dkim("x.a.co.example")]).result is Result.PASS


def test_a_parent_without_a_record_is_not_the_organisation() -> None:
    zone = record("v=DMARC1; p=reject", "mail.example.com")
    assert judged(zone, "mail.example.com", dkim=[dkim("example.com")]).result is Result.FAIL


@pytest.mark.parametrize("bad", [result for result in Result if result not in {Result.PASS, Result.TEMPERROR}])
def test_only_a_pass_counts(bad: Result) -> None:
    assert judged(RECORD, spf=spf("example.com", bad), dkim=[dkim("example.com", bad)]).result is Result.FAIL


def test_one_good_signature_among_bad_ones_is_enough() -> None:
    signatures = [dkim("example.com", Result.FAIL), dkim("other.example"), dkim("example.com")]
    result = judged(RECORD, spf=spf("example.com"), dkim=signatures)
    assert (result.result, result.spf_aligned, result.dkim_aligned) == (Result.PASS, True, True)
    assert "SPF and DKIM" in result.reason


def test_helo_counts_for_a_bounce_whose_spf_it_is() -> None:
    assert judged(RECORD, spf=spf("example.com", scope="helo")).spf_aligned


# Policy


@pytest.mark.parametrize(
    ("text", "asked_for", "testing"),
    [
        ("p=reject", REJECT, False),
        ("p=quarantine", QUARANTINE, False),
        ("p=none", NONE, False),
        ("p=reject; t=y", QUARANTINE, True),
        ("p=quarantine; t=y", NONE, True),
        ("p=none; t=y", NONE, True),
        ("p=reject; t=n", REJECT, False),
        ("p=nonsense; rua=mailto:a@example.com", NONE, False),
    ],
)
def test_what_a_policy_asks_for(text: str, asked_for: Disposition, testing: bool) -> None:
    failed = judged(record(f"v=DMARC1; {text}"))
    assert (failed.result, failed.disposition, failed.policy, failed.testing) == (Result.FAIL, asked_for, asked_for, testing)
    passed = judged(record(f"v=DMARC1; {text}"), spf=spf("example.com"))
    assert (passed.result, passed.disposition, passed.policy) == (Result.PASS, NONE, asked_for)


def test_np_rejects_what_does_not_exist_and_a_pass_needs_no_existence() -> None:
    zone: Names = {**record("v=DMARC1; p=none; np=reject"), "is.example.com": {"A": ["192.0.2.1"]}}
    assert judged(zone, "no.example.com").disposition is REJECT
    assert judged(zone, "is.example.com").disposition is NONE
    zone["maybe.example.com"] = {"A": "SERVFAIL"}
    unknown = judged(zone, "maybe.example.com")
    assert (unknown.result, unknown.disposition) == (Result.TEMPERROR, NONE)
    assert judged(zone, "maybe.example.com", spf=spf("example.com")).result is Result.PASS


def test_where_no_record_applies_nothing_is_judged() -> None:
    result = judged({}, spf=spf("example.com"), dkim=[dkim("example.com")])
    assert (result.result, result.disposition, result.policy_domain) == (Result.NONE, NONE, "")
    assert "4.10.1" in result.reason


def test_a_message_without_exactly_one_author_has_no_dmarc() -> None:
    result = none_for("From names two domains (RFC 9989 section 5.3.1)", "a\x00.example")
    assert (result.result, result.disposition, result.from_domain) == (Result.NONE, NONE, "a\\x00.example")


# Failures of the DNS: temperror, never pass


@pytest.mark.parametrize("failure", ["SERVFAIL", "TIMEOUT"])
def test_a_record_that_is_not_answered_is_a_temperror_whatever_passed(failure: str) -> None:
    zone = {"_dmarc.example.com": {"TXT": failure}}
    result = judged(zone, spf=spf("example.com"), dkim=[dkim("example.com")])
    assert (result.result, result.disposition) == (Result.TEMPERROR, NONE)


def test_an_aligned_identifier_that_was_not_answered_is_a_temperror_and_not_a_fail() -> None:
    assert judged(RECORD, spf=spf("example.com", Result.TEMPERROR)).result is Result.TEMPERROR
    assert judged(RECORD, dkim=[dkim("a.example.com", Result.TEMPERROR)]).result is Result.TEMPERROR
    assert judged(RECORD, dkim=[dkim("", Result.TEMPERROR)]).result is Result.TEMPERROR, "all that is known is that some failed"
    assert judged(RECORD, dkim=[dkim("example.org", Result.TEMPERROR)]).result is Result.FAIL
    strict = record("v=DMARC1; p=reject; adkim=s")
    assert judged(strict, dkim=[dkim("a.example.com", Result.TEMPERROR)]).result is Result.FAIL
    assert judged(RECORD, spf=spf("example.com", Result.TEMPERROR), dkim=[dkim("example.com")]).result is Result.PASS


def test_a_walk_of_an_identifier_that_fails_is_a_temperror_unless_another_passes() -> None:
    zone: Names = {**RECORD, "_dmarc.a.example.com": {"TXT": "SERVFAIL"}}
    assert judged(zone, dkim=[dkim("a.example.com")]).result is Result.TEMPERROR
    assert judged(zone, dkim=[dkim("a.example.com"), dkim("example.com")]).result is Result.PASS


def test_where_the_tree_above_does_not_answer_only_the_same_name_is_aligned() -> None:
    zone: Names = {**RECORD, "_dmarc.com": {"TXT": "SERVFAIL"}}
    assert judged(zone, dkim=[dkim("example.com")]).result is Result.PASS
    assert judged(zone, dkim=[dkim("a.example.com")]).result is Result.TEMPERROR
    assert judged(zone, dkim=[dkim("example.org")]).result is Result.FAIL


# Bounds


def test_a_policy_that_was_found_early_is_not_asked_for_again() -> None:
    resolver = FakeResolver(RECORD)

    async def scenario() -> DmarcResult:
        policy = await discover(resolver, "example.com")
        return await check_dmarc(resolver, from_domain="example.com", spf=spf("a.example.com"), dkim=(), policy=policy)

    assert asyncio.run(scenario()).result is Result.PASS
    assert [name for name, _ in resolver.queries] == ["_dmarc.example.com", "_dmarc.com", "_dmarc.a.example.com"]


def test_no_name_is_asked_twice_and_what_cannot_be_aligned_is_not_asked_at_all() -> None:
    resolver = FakeResolver(RECORD)
    signatures = [dkim(f"{i}.example.org") for i in range(100)] + [dkim("b.example.com"), dkim("B.example.com.")]
    result = asyncio.run(check_dmarc(resolver, from_domain="a.example.com", spf=spf("x.example.net"), dkim=signatures))
    assert result.result is Result.PASS
    assert sorted(set(resolver.queries)) == sorted(resolver.queries)
    assert len(resolver.queries) == 4


def test_one_message_costs_at_most_51_questions() -> None:
    author = ".".join(["a"] * 20) + ".example"
    resolver = FakeResolver(record("v=DMARC1; p=none; np=reject", "example"))
    signatures = [dkim(f"a.b.c.d.e.f.g.{i}.example") for i in range(100)]
    result = asyncio.run(check_dmarc(resolver, from_domain=author, spf=spf("a.b.c.d.e.f.g.h.example"), dkim=signatures))
    assert result.result is Result.PASS
    assert len(resolver.queries) == 51


def test_signatures_that_cannot_be_checked_do_not_use_up_the_walks_of_those_that_passed() -> None:
    signatures = [*(dkim(f"{i}.example.com", Result.TEMPERROR) for i in range(50)), dkim("good.example.com")]
    assert judged(RECORD, dkim=signatures).result is Result.PASS


NAMES = st.sampled_from(
    ["example.com", "a.example.com", "b.a.example.com", "com", "example.org", "", "\xff", "x..y", "a" * 300]
)
RESULTS = st.sampled_from(list(Result))
TEXTS = st.sampled_from(
    ["v=DMARC1", "v=DMARC1; p=reject", "v=DMARC1; p=quarantine; psd=n", "v=DMARC1; p=reject; psd=y; np=none", "v=DMARC1; t=y"]
)
ANSWERS = st.one_of(st.sampled_from(["SERVFAIL", "TIMEOUT"]), st.lists(TEXTS, max_size=2))


@given(
    NAMES,
    st.dictionaries(NAMES, ANSWERS, max_size=4),
    st.builds(spf, NAMES, RESULTS),
    st.lists(st.builds(dkim, NAMES, RESULTS), max_size=4),
)
@settings(deadline=None)
def test_whatever_comes_together_is_a_result_and_only_an_aligned_pass_is_a_pass(
    domain: str, answers: dict[str, list[str] | str], one: SpfResult, others: list[DkimResult]
) -> None:
    result = judged({f"_dmarc.{name}": {"TXT": answer} for name, answer in answers.items()}, domain, one, others)
    assert (result.result is Result.PASS) == (result.spf_aligned or result.dkim_aligned)
    assert not result.spf_aligned or one.result is Result.PASS
    assert not result.dkim_aligned or any(other.result is Result.PASS for other in others)
    assert result.disposition is NONE or result.result is Result.FAIL
    assert result.from_domain.isascii()
    assert len(result.reason) <= 500
