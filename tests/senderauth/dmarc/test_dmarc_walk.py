"""The tree walk: which names are asked, which record applies, and which domain is the organisation's. RFC 9989 section 4.10."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.senderauth.dmarc.walk import Policy, discover, targets
from postlatch.senderauth.results import Disposition, Result
from postlatch.testing.dns import FakeResolver, Zone

NONE, QUARANTINE, REJECT = Disposition.NONE, Disposition.QUARANTINE, Disposition.REJECT


def zone(**records: str) -> dict[str, dict[str, list[str] | str]]:
    """``example_com="v=DMARC1…"`` is the record of example.com; SERVFAIL fails."""
    texts = {name.replace("_", "."): text for name, text in records.items()}
    return {f"_dmarc.{name}": {"TXT": text if text in {"SERVFAIL", "TIMEOUT"} else [text]} for name, text in texts.items()}


def found(domain: str, names: Zone) -> Policy:
    return asyncio.run(discover(FakeResolver(names), domain))


LONG = "a.b.c.d.e.f.g.h.i.j.mail.example.com"


def test_a_long_name_is_asked_eight_times_as_in_the_example_of_the_rfc() -> None:
    resolver = FakeResolver({})
    policy = asyncio.run(discover(resolver, LONG))
    assert policy.problem is Result.NONE
    assert resolver.queries == [
        (f"_dmarc.{name}", "TXT")
        for name in (
            LONG,
            "g.h.i.j.mail.example.com",
            "h.i.j.mail.example.com",
            "i.j.mail.example.com",
            "j.mail.example.com",
            "mail.example.com",
            "example.com",
            "com",
        )
    ]


@pytest.mark.parametrize(("labels", "queries"), [(1, 1), (2, 2), (7, 7), (8, 8), (9, 8), (50, 8), (120, 8)])
def test_never_more_than_eight_names_are_asked(labels: int, queries: int) -> None:
    names = targets(".".join(["a"] * labels))
    assert len(names) == queries
    assert names[-1].count(".") == 0
    assert all(name.count(".") <= 7 for name in names[1:])


def test_the_record_of_the_authors_own_domain_applies() -> None:
    names = zone(mail_example_com="v=DMARC1; p=quarantine; sp=none", example_com="v=DMARC1; p=reject; sp=reject")
    policy = found("mail.example.com", names)
    assert (policy.problem, policy.domain, policy.asked_for) == (None, "mail.example.com", QUARANTINE)
    assert policy.organizational == "example.com"
    assert not policy.inherited


def test_without_one_that_of_the_organisational_domain_applies_and_not_one_between() -> None:
    names = zone(mail_example_com="v=DMARC1; p=reject", example_com="v=DMARC1; p=none; sp=quarantine")
    policy = found("a.mail.example.com", names)
    assert (policy.domain, policy.organizational, policy.asked_for) == ("example.com", "example.com", QUARANTINE)
    assert policy.inherited


def test_psd_n_ends_the_walk_and_is_the_organisation() -> None:
    names = zone(mail_example_com="v=DMARC1; p=reject; psd=n", example_com="v=DMARC1; p=none")
    policy = found("a.mail.example.com", names)
    assert (policy.domain, policy.organizational, policy.asked_for) == ("mail.example.com", "mail.example.com", REJECT)


def test_psd_y_makes_the_name_below_it_the_organisation_whether_it_has_a_record_or_not() -> None:
    suffix = zone(com="v=DMARC1; psd=y; p=reject; sp=quarantine")
    policy = found("a.mail.example.com", suffix)
    assert (policy.domain, policy.organizational, policy.asked_for) == ("com", "example.com", QUARANTINE)
    policy = found("a.mail.example.com", {**suffix, **zone(mail_example_com="v=DMARC1; p=none")})
    assert (policy.domain, policy.organizational) == ("com", "example.com")
    policy = found("a.mail.example.com", {**suffix, **zone(example_com="v=DMARC1; p=none")})
    assert (policy.domain, policy.organizational, policy.asked_for) == ("example.com", "example.com", NONE)


def test_below_a_public_suffix_of_a_long_name_the_organisation_has_one_label_more_although_it_was_not_asked() -> None:
    suffix = "g.h.i.j.mail.example.com"
    policy = found(LONG, {f"_dmarc.{suffix}": {"TXT": ["v=DMARC1; psd=y; p=reject"]}})
    assert (policy.domain, policy.organizational) == (suffix, f"f.{suffix}")


def test_a_public_suffix_that_is_itself_the_author_is_its_own_organisation() -> None:
    policy = found("co.example", zone(co_example="v=DMARC1; psd=y; p=reject"))
    assert (policy.domain, policy.organizational, policy.asked_for) == ("co.example", "co.example", REJECT)


def test_no_record_anywhere_is_none_and_a_second_record_makes_both_void() -> None:
    assert found("example.com", {}).problem is Result.NONE
    twice = {"_dmarc.example.com": {"TXT": ["v=DMARC1; p=reject", "v=DMARC1; p=none"]}}
    assert found("example.com", twice).problem is Result.NONE
    policy = found(
        "a.example.com", {"_dmarc.a.example.com": twice["_dmarc.example.com"], **zone(example_com="v=DMARC1; p=reject")}
    )
    assert policy.domain == "example.com"


def test_a_record_without_policy_and_without_reports_means_no_dmarc_and_no_other_is_taken() -> None:
    names = zone(a_example_com="v=DMARC1; p=nonsense", example_com="v=DMARC1; p=reject")
    assert found("a.example.com", names).problem is Result.NONE


@pytest.mark.parametrize("failure", ["SERVFAIL", "TIMEOUT"])
def test_a_name_that_does_not_answer_is_a_temperror_unless_the_authors_own_record_is_known(failure: str) -> None:
    assert found("example.com", zone(example_com=failure)).problem is Result.TEMPERROR
    assert found("a.example.com", zone(a_example_com="v=spf1", example_com=failure)).problem is Result.TEMPERROR
    assert found("a.example.com", zone(example_com="v=DMARC1; p=reject", com=failure)).problem is Result.TEMPERROR
    known = found("example.com", zone(example_com="v=DMARC1; p=reject", com=failure))
    assert (known.problem, known.asked_for, known.organizational) == (None, REJECT, None)
    above = found("a.example.com", zone(example_com="v=DMARC1; p=reject; psd=n", com=failure))
    assert (above.problem, above.organizational) == (None, "example.com"), "what is above psd=n does not count"


def test_np_is_for_names_that_do_not_exist_sp_for_those_that_do() -> None:
    record = zone(example_com="v=DMARC1; p=none; sp=quarantine; np=reject")
    assert found("no.example.com", record).asked_for is REJECT
    assert found("is.example.com", {**record, "is.example.com": {"MX": ["10 x.example."]}}).asked_for is QUARANTINE
    assert found("is.example.com", {**record, "is.example.com": {"A": "SERVFAIL"}}).asked_for is None
    assert found("example.com", record).asked_for is NONE, "the domain itself has p, existing or not"


def test_whether_the_domain_exists_is_asked_only_where_it_matters() -> None:
    for record in ("v=DMARC1; p=none; sp=reject", "v=DMARC1; p=reject; np=reject"):
        resolver = FakeResolver(zone(example_com=record))
        asyncio.run(discover(resolver, "a.example.com"))
        assert {kind for _, kind in resolver.queries} == {"TXT"}


@pytest.mark.parametrize(
    ("domain", "problem"),
    [
        ("", Result.PERMERROR),
        (".", Result.PERMERROR),
        ("a..example", Result.PERMERROR),
        ("a" * 64 + ".example", Result.PERMERROR),
        (".".join(["a" * 60] * 4) + ".example", Result.PERMERROR),
        ("b\u00fccher.example", Result.PERMERROR),
        ("a\n.example", Result.PERMERROR),
        ("a\\046b.example", Result.PERMERROR),
        ("*.example", Result.PERMERROR),
        ("-.example", Result.PERMERROR),
        ("[192.0.2.1]", Result.NONE),
    ],
)
def test_what_is_no_name_is_not_asked(domain: str, problem: Result) -> None:
    resolver = FakeResolver({})
    policy = asyncio.run(discover(resolver, domain))
    assert policy.problem is problem
    assert policy.from_domain.isascii()
    assert resolver.queries == []


def test_case_and_a_final_dot_do_not_matter() -> None:
    assert found("Example.COM.", zone(example_com="v=DMARC1; p=reject")).domain == "example.com"


LABEL = st.sampled_from(["a", "b", "com", "", "\xff", "x" * 63])
ANSWER = st.one_of(
    st.sampled_from(["SERVFAIL", "TIMEOUT"]),
    st.lists(st.sampled_from(["v=DMARC1", "v=DMARC1; p=reject; psd=y", "v=DMARC1; p=none; psd=n", "x"]), max_size=2),
)


@given(st.lists(LABEL, max_size=12).map(".".join), st.dictionaries(st.lists(LABEL, max_size=4).map(".".join), ANSWER))
@settings(deadline=None)
def test_any_name_and_any_zone_are_a_policy_within_nine_questions(domain: str, answers: dict[str, list[str] | str]) -> None:
    resolver = FakeResolver({f"_dmarc.{name}": {"TXT": answer} for name, answer in answers.items()})
    policy = asyncio.run(discover(resolver, domain))
    assert len(resolver.queries) <= 9
    assert policy.organizational is None or f".{policy.from_domain}".endswith(f".{policy.organizational}")
