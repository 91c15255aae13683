"""The macro language: the examples of RFC 7208 section 7.4, its grammar, and its bounds."""

from __future__ import annotations

import time
from ipaddress import ip_address

import pytest
from spf_samples import NOW, checked, record

from postlatch.senderauth.results import Result
from postlatch.senderauth.spf.identity import Identity, Letters
from postlatch.senderauth.spf.macro import expand_name, expand_text, parse_domain_spec, parse_explanation
from postlatch.senderauth.spf.problem import TermError


def letters(client: str = "192.0.2.3", domain: str = "email.example.com", local_part: str = "strong-bad") -> Letters:
    identity = Identity(ip_address(client), local_part, "email.example.com", "mail.example.org", "mx.example.net", NOW)
    return Letters(identity, domain, "mx.example.org")


def expanded(text: str, who: Letters | None = None) -> str:
    return expand_text(parse_explanation(text), who or letters(), 500)


@pytest.mark.parametrize(
    ("macro", "value"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
    ],
)
def test_the_examples_of_section_7_4(macro: str, value: str) -> None:
    assert expanded(macro) == value
    assert expand_name(parse_domain_spec(macro), letters()) == value


def test_the_example_of_section_7_4_for_ipv6() -> None:
    name = expand_name(parse_domain_spec("%{ir}.%{v}._spf.%{d2}"), letters("2001:db8::cb01"))
    assert name == "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"


@pytest.mark.parametrize(
    ("macro", "value"),
    [
        ("%{c} %{r} %{t}", "192.0.2.3 mx.example.net 1767225600"),
        ("%{h} %{p} %{i} %{v}", "mail.example.org mx.example.org 192.0.2.3 in-addr"),
        ("100%% sure,%_%-", "100% sure, %20"),
        ("%{L}", "a%20b%2Bc%2Fd~e_f%3D%40"),
        ("%{S}", "a%20b%2Bc%2Fd~e_f%3D%40%40email.example.com"),
        ("%{l+/}", "a b.c.d~e_f=@"),
        ("%{l1+/=}", "@"),
        ("%{l2r+/=_}", "c.a b"),
        ("%{dR}", "com.example.email"),
        ("%{d002}", "example.com"),
        ("%{d99999999999999999999}", "email.example.com"),
        ("", ""),
    ],
)
def test_every_letter_and_transformer(macro: str, value: str) -> None:
    assert expanded(macro, letters(local_part="a b+c/d~e_f=@")) == value


def test_what_is_not_ascii_is_escaped_as_utf_8() -> None:
    assert expanded("%{L}", letters(local_part="jos\u00e9\udce9")) == "jos%C3%A9%3F"


@pytest.mark.parametrize(
    "text",
    [
        "%",
        "%%%",
        "%{",
        "%{}",
        "%{d",
        "%{x}",
        "%{d0}",
        "%{d00r}",
        "%{dr2}",
        "%{d-r}",
        "%{d:}",
        "%{dd}",
        "%(d)",
        "%a",
        "\u00e9",
        "\t",
        "a\0",
    ],
)
def test_what_is_no_macro_string_is_refused(text: str) -> None:
    with pytest.raises(TermError, match=r"\(RFC 7208 section"):
        parse_explanation(text)


@pytest.mark.parametrize("letter", "crtCRT")
def test_three_letters_are_for_explanations_alone(letter: str) -> None:
    parse_explanation(f"%{{{letter}}}")
    with pytest.raises(TermError):
        parse_domain_spec(f"%{{{letter}}}.example.org")


@pytest.mark.parametrize(
    "text",
    [
        "a.example",
        "a.example.",
        ".example",
        "%{d}",
        "x%{d}",
        "a%%",
        "a%_",
        "a%-",
        "%{d}.example",
        "a/b:c=d.example",
        "a.1-2",
        "a.x1",
        "a.1x",
    ],
)
def test_a_name_ends_in_a_top_level_label_or_a_macro(text: str) -> None:
    parse_domain_spec(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "example",
        "example.",
        "%{d}example",
        "%{d}.",
        "a.1",
        "a.-b",
        "a.b-",
        "a.b..",
        "a.b_c",
        "a.b c",
        "a b.example",
        "a.b:80",
    ],
)
def test_a_name_that_ends_in_anything_else_is_refused(text: str) -> None:
    with pytest.raises(TermError):
        parse_domain_spec(text)


def test_a_name_that_is_too_long_loses_labels_on_the_left() -> None:
    labels = [f"label{number:04d}" for number in range(40)]
    text = ".".join([*labels, "example"])
    name = expand_name(parse_domain_spec(text), letters())
    assert text.endswith("." + name)
    assert 253 - 10 < len(name) <= 253
    exact = "a" * 62 + "." + "b" * 62 + "." + "c" * 62 + "." + "d" * 56 + ".example"
    assert len(exact) == 253
    assert expand_name(parse_domain_spec(exact), letters()) == exact
    assert expand_name(parse_domain_spec("x" + exact), letters()) == exact.partition(".")[2]
    assert expand_name(parse_domain_spec("y." + exact + "."), letters()) == exact


def test_a_thousand_macros_cost_no_more_than_a_name() -> None:
    spec = parse_domain_spec("%{S}" * 4000)
    who = letters(local_part="x" * 60_000)
    began = time.thread_time()
    assert len(expand_name(spec, who)) <= 253
    assert len(expand_text(spec.parts, who, 500)) < 300_000
    assert time.thread_time() - began < 0.5


@pytest.mark.parametrize(
    ("names", "value"),
    [
        (["other.example", "sub.example.org", "example.org"], "example.org"),
        (["other.example", "sub.example.org"], "sub.example.org"),
        (["other.example", "liar.example.org"], "other.example"),
        (["liar.example.org"], "unknown"),
        ([], "unknown"),
    ],
)
def test_the_name_of_the_client_is_one_that_leads_back_and_rather_one_in_the_domain(names: list[str], value: str) -> None:
    here = {"A": ["192.0.2.1"]}
    zone = {
        "example.org": record("v=spf1 -all exp=why.example.org", A=["192.0.2.1"]),
        "why.example.org": record("%{p}"),
        "1.2.0.192.in-addr.arpa": {"PTR": names},
        "other.example": here,
        "sub.example.org": here,
        "liar.example.org": {"A": ["198.51.100.1"]},
    }
    assert checked(zone).explanation == value
    zone["example.org"] = record("v=spf1 exists:%{p}.list.example.org -all", A=["192.0.2.1"])
    zone[f"{value}.list.example.org"] = here
    assert checked(zone).result is Result.PASS


def test_a_local_part_that_no_zone_can_hold_matches_nothing_and_asks_nothing() -> None:
    zone = {"example.org": record("v=spf1 exists:%{l}.example.org -exists:%{L}.example.org ?all")}
    assert checked(zone, sender="jos\u00e9@example.org").mechanism == "?all"
    assert checked(zone, sender="a\\b@example.org").mechanism == "?all"
