"""Records as they are written: which is one, what is malformed in it, and what decides."""

from __future__ import annotations

import contextlib
import time

import pytest
from spf_samples import CLIENT, checked, checked_helo, checked_record, record

from postlatch.senderauth.results import Result
from postlatch.senderauth.spf.parse import MAX_RECORD, parse_record, spf_records
from postlatch.senderauth.spf.problem import RecordError


@pytest.mark.parametrize("text", [b"v=spf1", b"V=SPF1 -all", b"v=spf1 "])
def test_a_record_begins_with_its_version(text: bytes) -> None:
    assert spf_records([b"x", text, b"\xff"]) == [text]


@pytest.mark.parametrize("text", [b"", b"v=spf10", b"v=spf1\t-all", b" v=spf1", b"v=spf2.0/pra", b'"v=spf1 -all"'])
def test_anything_else_is_no_record(text: bytes) -> None:
    assert spf_records([text]) == []


@pytest.mark.parametrize(
    ("term", "section"),
    [
        ("moo", "4.6.1"),
        ("-", "4.6.1"),
        ("+-all", "4.6.1"),
        ("=all", "4.6.1"),
        ("1a=b", "4.6.1"),
        ("-x=y", "4.6.1"),
        ("all:x", "5.1"),
        ("all/8", "5.1"),
        ("include", "5.2"),
        ("include:", "7.1"),
        ("include:x.example/24", "7.1"),
        ("a:", "7.1"),
        ("a/", "5.3"),
        ("a/33", "5.6"),
        ("a//129", "5.6"),
        ("a/08", "5.6"),
        ("a/00", "5.6"),
        ("a/24/64", "5.6"),
        ("a/24/32", "5.3"),
        ("a/9999999999999999999999", "5.6"),
        ("mx:x.example/-1", "7.1"),
        ("ptr/24", "5.5"),
        ("ptr:", "7.1"),
        ("exists", "5.7"),
        ("ip4", "5.6"),
        ("ip4:", "5.6"),
        ("ip4:192.0.2", "5.6"),
        ("ip4:192.0.2.01", "5.6"),
        ("ip4:192.0.2.256", "5.6"),
        ("ip4:192.0.2.1/33", "5.6"),
        ("ip4:192.0.2.1/", "5.6"),
        ("ip4:192.0.2.1//24", "5.6"),
        ("ip4:2001:db8::1", "5.6"),
        ("ip4/24", "5.6"),
        ("ip6:192.0.2.1", "5.6"),
        ("ip6:2001:db8::1%eth0", "5.6"),
        ("ip6:2001:db8::1/129", "5.6"),
        ("redirect=", "7.1"),
        ("exp=", "7.1"),
        ("exp=%{c}.example", "7.1 and 7.2"),
        ("x=%{r}", "7.1 and 7.2"),
        ("x=%", "7.1"),
        ("a:%{d0}", "7.1"),
        ("a:x\x7f.example", "7.1"),
    ],
)
def test_a_malformed_term_anywhere_is_a_permerror_that_names_it_and_its_section(term: str, section: str) -> None:
    found = checked_record(f"v=spf1 ip4:{CLIENT} -all {term}")
    assert found.result is Result.PERMERROR
    assert found.mechanism == term.replace("\x7f", "\\x7f")
    assert f"section {section})" in found.reason.replace("sections", "section")


@pytest.mark.parametrize("name", ["redirect", "exp", "EXP"])
def test_a_modifier_that_stands_twice_is_a_permerror(name: str) -> None:
    found = checked_record(f"v=spf1 {name}=a.example -all {name.lower()}=a.example")
    assert found.result is Result.PERMERROR
    assert "only once" in found.reason


@pytest.mark.parametrize(
    ("term", "client"),
    [
        ("ALL", CLIENT),
        ("ip4:192.0.2.1", CLIENT),
        ("IP4:192.0.2.128/25", "192.0.2.200"),
        ("ip4:203.0.113.9/0", CLIENT),
        ("ip6:2001:DB8::/32", "2001:db8:1::1"),
        ("ip6:2001:db8::1", "2001:db8::1"),
        ("ip6:::ffff:0:0/0", "2001:db8::1"),
        ("ip4:192.0.2.0/24", "::ffff:192.0.2.7"),
        ("a:h.example.org", CLIENT),
        ("A:H.Example.ORG.", CLIENT),
        ("a:other.example.org/24", CLIENT),
        ("a:other.example.org//32", "2001:db8:9::1"),
        ("a:other.example.org/32//32", "2001:db8:9::1"),
        ("mx:example.org", CLIENT),
        ("mx/24//64", CLIENT),
        ("include:inc.example.org", CLIENT),
        ("exists:h.example.org", "2001:db8::1"),
        ("exists:%{d}", CLIENT),
        ("ptr:example.org", CLIENT),
    ],
)
def test_a_mechanism_that_matches_decides(term: str, client: str) -> None:
    zone = {
        "example.org": record(
            f"v=spf1 ?ip4:198.51.100.7 {term} -all", MX=["10 other.example.org", "5 h.example.org"], A=["10.0.0.1"]
        ),
        "h.example.org": {"A": [CLIENT]},
        "other.example.org": {"A": ["192.0.2.77"], "AAAA": ["2001:db8::77"]},
        "inc.example.org": record(f"v=spf1 ip4:{CLIENT} -all"),
        "1.2.0.192.in-addr.arpa": {"PTR": ["h.example.org"]},
    }
    found = checked(zone, client)
    assert (found.result, found.mechanism) == (Result.PASS, term)
    assert term in found.reason


@pytest.mark.parametrize(
    ("term", "client"),
    [
        ("ip4:192.0.2.2", CLIENT),
        ("ip4:192.0.2.0/25", "192.0.2.200"),
        ("ip4:0.0.0.0/0", "2001:db8::1"),
        ("ip6:::/0", CLIENT),
        ("ip6:::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("a:other.example.org//0", CLIENT),
        ("exists:six.example.org", "2001:db8::1"),
        ("exists:a..example", CLIENT),
        ("mx:h.example.org", CLIENT),
        ("mx:null.example.org", CLIENT),
        ("include:no.example.org", CLIENT),
        ("include:soft.example.org", CLIENT),
        ("include:neutral.example.org", CLIENT),
        ("include:empty.example.org", CLIENT),
        ("ptr:other.example", CLIENT),
    ],
)
def test_one_that_does_not_match_leaves_the_rest_to_decide(term: str, client: str) -> None:
    zone = {
        "example.org": record(f"v=spf1 -{term} ~all"),
        "h.example.org": {"A": [CLIENT]},
        "other.example.org": {"A": ["192.0.2.77"]},
        "six.example.org": {"AAAA": ["2001:db8::1"]},
        "null.example.org": {"MX": ["0 ."]},
        "no.example.org": record("v=spf1 -all"),
        "soft.example.org": record("v=spf1 ~all"),
        "neutral.example.org": record("v=spf1 ?all"),
        "empty.example.org": record("v=spf1"),
        "1.2.0.192.in-addr.arpa": {"PTR": ["h.example.org", "x.notother.example", "h.other.example"]},
        "x.notother.example": {"A": [CLIENT]},
    }
    found = checked(zone, client)
    assert (found.result, found.mechanism) == (Result.SOFTFAIL, "~all")


@pytest.mark.parametrize(
    ("qualifier", "result"),
    [("", Result.PASS), ("+", Result.PASS), ("-", Result.FAIL), ("~", Result.SOFTFAIL), ("?", Result.NEUTRAL)],
)
def test_the_qualifier_is_the_result_of_a_match(qualifier: str, result: Result) -> None:
    found = checked_record(f"v=spf1 {qualifier}ip4:192.0.2.0/24 {qualifier}all")
    assert (found.result, found.mechanism) == (result, f"{qualifier}ip4:192.0.2.0/24")


def test_a_redirect_gives_the_result_and_the_term_of_the_other_domain() -> None:
    zone = {
        "example.org": record("v=spf1 redirect=%{d}.spf.example"),
        "example.org.spf.example": record("v=spf1 -ip4:192.0.2.1"),
    }
    found = checked(zone)
    assert (found.result, found.mechanism, found.domain, found.lookups) == (Result.FAIL, "-ip4:192.0.2.1", "example.org", 1)


@pytest.mark.parametrize("term", ["include:gone.example", "redirect=gone.example", "include:%{d1}", "include:a..b.example"])
def test_a_record_that_leads_to_none_is_a_permerror(term: str) -> None:
    found = checked_record(f"v=spf1 {term}")
    assert (found.result, found.mechanism) == (Result.PERMERROR, term)
    assert "has no SPF record" in found.reason


def test_an_error_in_an_included_record_is_told_of_with_the_term_that_includes_it() -> None:
    found = checked_record("v=spf1 include:b.example -all", b_example=record("v=spf1 moo"))
    assert (found.result, found.mechanism) == (Result.PERMERROR, "include:b.example")
    assert "the SPF record of b.example is malformed" in found.reason


def test_two_records_are_a_permerror() -> None:
    found = checked({"example.org": {"TXT": ["v=spf1 +all", "else", "v=spf1 +all"]}})
    assert found.result is Result.PERMERROR
    assert "more than one SPF record" in found.reason


# Whose domain is asked


def test_without_a_sender_the_name_of_the_client_is_asked() -> None:
    zone = {"mail.example.org": record("v=spf1 ip4:192.0.2.1 -all")}
    for sender in (None, "", "<>"):
        found = checked(zone, sender=sender)
        assert (found.result, found.domain, found.scope) == (Result.PASS, "mail.example.org", "helo")
    assert checked_helo(zone, "Mail.Example.ORG.").scope == "helo"
    assert checked(zone, sender="a@mail.example.org").scope == "mfrom"


def test_the_sender_of_a_check_of_the_name_is_its_postmaster() -> None:
    zone = {"mail.example.org": record("v=spf1 -all exp=why.example.org"), "why.example.org": record("%{s} %{l} %{o}")}
    assert checked_helo(zone, "mail.example.org").explanation == "postmaster@mail.example.org postmaster mail.example.org"


@pytest.mark.parametrize(
    "domain", ["[192.0.2.1]", "localhost", "a..example", "", "x" * 64 + ".example", "a." * 127 + "example", "a b\n.c"]
)
def test_what_is_no_domain_has_no_result_and_asks_nothing(domain: str) -> None:
    found = checked({}, sender=f"alice@{domain}")
    assert found.result is Result.NONE
    assert found.domain.isprintable()
    assert "section 4.3" in found.reason


def test_a_domain_without_record_has_no_result() -> None:
    found = checked({"example.org": {"TXT": ["hello"]}})
    assert (found.result, found.domain) == (Result.NONE, "example.org")
    assert "section 4.5" in found.reason


@pytest.mark.parametrize(
    "domain", ["b\u00fccher.example", "B\u00dcCHER.example", "xn--bcher-kva.example", "XN--Bcher-KVA.Example"]
)
def test_an_internationalised_domain_is_asked_for_by_its_a_labels(domain: str) -> None:
    zone = {
        "xn--bcher-kva.example": record("v=spf1 exists:%{o}.list.example -all"),
        "xn--bcher-kva.example.list.example": {"A": ["127.0.0.2"]},
    }
    found = checked(zone, sender=f"jos\u00e9@{domain}")
    assert (found.result, found.domain) == (Result.PASS, "xn--bcher-kva.example")


def test_a_sender_with_quotes_is_cut_at_its_last_at_sign() -> None:
    zone = {"example.org": record("v=spf1 -all exp=why.example.org"), "why.example.org": record("not %{l}")}
    assert checked(zone, sender='"a@b c"@example.org').explanation == 'not "a@b c"'


# Explanations


@pytest.mark.parametrize(
    "texts",
    [[], ["one", "two"], ["caf\u00e9"], ["tab\there"], ["%{x}"], ["50 % off"], [""]],
)
def test_an_explanation_that_is_not_one_well_formed_ascii_text_is_ignored(texts: list[str]) -> None:
    found = checked_record("v=spf1 -all exp=why.example", why_example={"TXT": texts})
    assert (found.result, found.explanation) == (Result.FAIL, None)


def test_an_explanation_is_printable_ascii_of_bounded_length() -> None:
    zone = {"example.org": record("v=spf1 -all exp=why.example.org"), "why.example.org": record("go %{l} " + "x" * 60_000)}
    text = checked(zone, sender="a\r\nb\u00e9\x1b@example.org").explanation
    assert text is not None
    assert text.startswith("go a\\x0d\\x0ab\\xe9\\x1b xxx")
    assert (len(text), text[-3:]) == (500, "...")


@pytest.mark.parametrize("qualifier", ["+", "~", "?"])
def test_only_a_fail_is_explained(qualifier: str) -> None:
    assert checked_record(f"v=spf1 {qualifier}all exp=why.example", why_example=record("because")).explanation is None


def test_the_explanation_of_the_record_that_decided_counts() -> None:
    zone = {
        "example.org": record("v=spf1 include:inc.example redirect=to.example exp=no.example"),
        "inc.example": record("v=spf1 -all exp=no.example"),
        "to.example": record("v=spf1 -all exp=%{d}.why.example"),
        "no.example": record("no"),
        "to.example.why.example": record("%{d} says no to %{o}"),
    }
    assert checked(zone).explanation == "to.example says no to example.org"


# Cost


@pytest.mark.parametrize(
    "unit",
    [
        "a ",
        "x=% ",
        "x=%{d} ",
        "%",
        "%{",
        "a:%{d}",
        "a//",
        "/1",
        "ip6::::::::",
        "ip4:1.2.3.4 ",
        "exp=a.b ",
        ":",
        "=",
        "-",
        " ",
        "a:" + "." * 99 + "b ",
    ],
)
def test_parsing_takes_time_in_proportion_to_length(unit: str) -> None:
    text = ("v=spf1 " + unit * MAX_RECORD)[:MAX_RECORD].encode()
    began = time.thread_time()
    with contextlib.suppress(RecordError):
        parse_record(text)
    assert time.thread_time() - began < 0.5
