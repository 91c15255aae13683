"""The families that ask the DNS alone: good, bad, absent, and unknown where it does not answer."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from posture_world import DOMAIN, HOST, Web, found, look, with_mail

from postlatch.audit.posture.families.bimi import check_bimi
from postlatch.audit.posture.families.caa import check_caa
from postlatch.audit.posture.families.dane import check_dane, read_tlsa
from postlatch.audit.posture.families.dkim import check_dkim
from postlatch.audit.posture.families.dmarc import check_dmarc
from postlatch.audit.posture.families.dnsbl import check_dnsbl
from postlatch.audit.posture.families.dnssec import check_dnssec
from postlatch.audit.posture.families.fcrdns import check_fcrdns
from postlatch.audit.posture.families.ipv6 import check_ipv6
from postlatch.audit.posture.families.mta_sts import check_mta_sts
from postlatch.audit.posture.families.mx import check_mx
from postlatch.audit.posture.families.tls_rpt import check_tls_rpt
from postlatch.audit.posture.values import Check, State
from postlatch.model.fetch import Fetched

REJECT = {f"_dmarc.{DOMAIN}": {"TXT": ["v=DMARC1; p=reject; rua=mailto:d@example.com"]}}


def rsa(bits: int) -> str:
    der = generate_private_key(65_537, bits).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


TINY_KEY = (  # of 512 bits, which nothing makes any more
    "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAMxVsCKE0BStHzC0lCd8GMzrX2j3HyCFnCqEJTIg"
    "bnhVkRvAEhqGcnBJk5C5vwXTzq0yyQyKVpnTGaDQ8bZIvzMCAwEAAQ=="
)
GOOD_KEY, SHORT_KEY = rsa(2048), rsa(1024)

# MX


def test_a_host_with_addresses_is_good() -> None:
    checks = look(check_mx, with_mail())
    assert {name: check.state for name, check in checks.items()} == dict.fromkeys(
        ("mx.exists", "mx.names", "mx.addresses"), State.GOOD
    )


@pytest.mark.parametrize(
    ("zone", "check", "state", "finding"),
    [
        ({}, "mx.exists", State.ABSENT, "mx.no-domain"),
        ({DOMAIN: {}}, "mx.exists", State.ABSENT, "mx.none"),
        ({DOMAIN: {"A": ["11.22.33.44"]}}, "mx.exists", State.WARN, "mx.implicit"),
        ({DOMAIN: {"MX": ["0 .", "10 mx.example.com."]}}, "mx.exists", State.BAD, "mx.null-and-others"),
        ({DOMAIN: {"MX": ["10 11.22.33.44."]}}, "mx.names", State.BAD, "mx.no-name"),
        ({DOMAIN: {"MX": ["10 gone.example.com."]}}, "mx.addresses", State.BAD, "mx.no-address"),
        (with_mail({DOMAIN: {"MX": ["10 mx.example.com.", "20 mx.example.com."]}}), "mx.names", State.WARN, "mx.duplicate"),
        (
            with_mail({DOMAIN: {"MX": ["10 mx.example.com.", "20 b.example.com."]}, "b.example.com": {"A": ["11.22.33.44"]}}),
            "mx.addresses",
            State.WARN,
            "mx.same-address",
        ),
        (
            with_mail({DOMAIN: {"MX": ["10 alias.example.com."]}, "alias.example.com": {"CNAME": [HOST]}}),
            "mx.names",
            State.WARN,
            "mx.alias",
        ),
    ],
)
def test_mail_hosts_that_are_wrong_are_told(zone: dict[str, Any], check: str, state: State, finding: str) -> None:
    one = look(check_mx, zone)[check]
    assert (one.state, found(one)) == (state, {finding})


def test_a_domain_that_takes_no_mail_is_good() -> None:
    assert look(check_mx, {DOMAIN: {"MX": ["0 ."]}})["mx.exists"].state is State.GOOD


def test_mail_hosts_that_are_not_answered_for_are_unknown() -> None:
    assert look(check_mx, {DOMAIN: {"MX": "SERVFAIL"}})["mx.exists"].state is State.UNKNOWN
    assert look(check_mx, with_mail({HOST: {"A": "SERVFAIL", "AAAA": "SERVFAIL"}}))["mx.addresses"].state is State.UNKNOWN


# DKIM


def dkim(records: dict[str, Any], **request: Any) -> Check:
    zone = {f"_domainkey.{DOMAIN}": {}, **{f"{name}._domainkey.{DOMAIN}": {"TXT": text} for name, text in records.items()}}
    return look(check_dkim, with_mail(zone), **request)["dkim.keys"]


@pytest.mark.parametrize(
    ("record", "state", "finding"),
    [
        (f"v=DKIM1; p={GOOD_KEY}", State.GOOD, None),
        (f"v=DKIM1; k=ed25519; p={base64.b64encode(bytes(range(1, 33))).decode()}", State.GOOD, None),
        (f"v=DKIM1; p={SHORT_KEY}", State.WARN, "dkim.short-key"),
        (f"v=DKIM1; t=y; p={GOOD_KEY}", State.WARN, "dkim.testing"),
        (f"v=DKIM1; h=sha1; p={GOOD_KEY}", State.BAD, "dkim.sha1"),
        ("v=DKIM1; p=", State.BAD, "dkim.revoked"),
        ("v=DKIM1; p=!!!", State.BAD, "dkim.broken"),
        ("v=DKIM1; p=" + "A" * 64_000, State.BAD, "dkim.broken"),
        (
            f"v=DKIM1; p={TINY_KEY}",
            State.BAD,
            "dkim.weak-key",
        ),
    ],
)
def test_a_key_is_judged(record: str, state: State, finding: str | None) -> None:
    check = dkim({"mail": [record]})
    assert check.state is state
    assert finding is None or finding in found(check)
    assert (finding is None) == (not check.findings)


def test_a_revoked_key_beside_a_good_one_is_as_it_should_be() -> None:
    assert dkim({"mail": [f"v=DKIM1; p={GOOD_KEY}"], "k1": ["v=DKIM1; p="]}).state is State.INFO


def test_selectors_that_are_not_guessed_must_be_named() -> None:
    own = {"mail2026": [f"v=DKIM1; p={GOOD_KEY}"]}
    assert dkim(own).state is State.UNKNOWN
    assert dkim(own, selectors=("mail2026",)).state is State.GOOD
    missing = dkim(own, selectors=("mail2026", "other"))
    assert (missing.state, found(missing)) == (State.BAD, {"dkim.missing"})


def test_no_name_below_domainkey_is_no_key_for_certain() -> None:
    check = look(check_dkim, with_mail())["dkim.keys"]
    assert (check.state, found(check)) == (State.ABSENT, {"dkim.none"})


def test_a_record_for_every_name_is_no_key() -> None:
    every = {name: ["v=spf1 -all"] for name in ("mail", "no-such-selector-7f3a91")}
    assert dkim(every).state is State.UNKNOWN


def test_keys_that_are_not_answered_for_are_unknown() -> None:
    assert dkim({"mail": "SERVFAIL"}).state is State.UNKNOWN


# DMARC


def dmarc(*records: str, **names: Any) -> dict[str, Check]:
    return look(check_dmarc, with_mail({f"_dmarc.{DOMAIN}": {"TXT": list(records)}}, names))


def test_a_strict_policy_with_reports_is_good() -> None:
    checks = dmarc("v=DMARC1; p=reject; rua=mailto:d@example.com")
    assert {name: check.state for name, check in checks.items()} == {
        **dict.fromkeys(("dmarc.record", "dmarc.policy", "dmarc.subdomains", "dmarc.reports"), State.GOOD),
        "dmarc.alignment": State.INFO,
    }


@pytest.mark.parametrize(
    ("record", "check", "state", "finding"),
    [
        ("v=DMARC1; p=none; rua=mailto:d@example.com", "dmarc.policy", State.BAD, "dmarc.none"),
        ("v=DMARC1; p=reject; t=y; rua=mailto:d@example.com", "dmarc.policy", State.BAD, "dmarc.testing"),
        ("v=DMARC1; p=reject; sp=none", "dmarc.subdomains", State.BAD, "dmarc.sp-none"),
        ("v=DMARC1; p=reject; np=none", "dmarc.subdomains", State.BAD, "dmarc.np-none"),
        ("v=DMARC1; p=reject", "dmarc.reports", State.WARN, "dmarc.no-rua"),
        ("v=DMARC1; p=reject; rua=mailto:d@elsewhere.example", "dmarc.reports", State.WARN, "dmarc.report-permission"),
        ("v=DMARC1; p=reject; p=none; rua=mailto:d@example.com", "dmarc.record", State.BAD, "dmarc.doubled-tags"),
        ("v=DMARC1; p=reject; wish=1", "dmarc.record", State.INFO, "dmarc.unknown-tags"),
        ("v=DMARC1; p=wrong", "dmarc.record", State.ABSENT, "dmarc.unusable"),
        ("nothing", "dmarc.record", State.ABSENT, "dmarc.missing"),
    ],
)
def test_a_weak_dmarc_record_is_told(record: str, check: str, state: State, finding: str) -> None:
    one = dmarc(record)[check]
    assert (one.state, found(one)) == (state, {finding})


def test_tags_that_rfc_9989_removed_are_taken_out_in_the_change() -> None:
    check = dmarc("v=DMARC1; p=reject; pct=50; rua=mailto:d@example.com; ri=3600; rf=afrf")["dmarc.record"]
    assert (check.state, found(check)) == (State.WARN, {"dmarc.removed-tags"})
    assert check.findings[0].fix == 'publish: _dmarc.example.com. TXT "v=DMARC1; p=reject; rua=mailto:d@example.com"'


def test_reports_may_go_elsewhere_with_permission() -> None:
    permitted = {"example.com._report._dmarc.elsewhere.example": {"TXT": ["v=DMARC1"]}}
    assert dmarc("v=DMARC1; p=reject; rua=mailto:d@elsewhere.example", **permitted)["dmarc.reports"].state is State.GOOD


def test_two_dmarc_records_are_none() -> None:
    check = dmarc("v=DMARC1; p=reject", "v=DMARC1; p=none")["dmarc.record"]
    assert (check.state, found(check)) == (State.BAD, {"dmarc.several"})


def test_dmarc_that_is_not_answered_for_is_unknown() -> None:
    assert look(check_dmarc, with_mail({f"_dmarc.{DOMAIN}": {"TXT": "SERVFAIL"}}))["dmarc.record"].state is State.UNKNOWN


# MTA-STS and TLS-RPT

STS = {f"_mta-sts.{DOMAIN}": {"TXT": ["v=STSv1; id=20260101;"]}}
PAGE = b"version: STSv1\r\nmode: enforce\r\nmx: *.example.com\r\nmax_age: 604800\r\n"


def sts(page: bytes | Fetched | None, records: Any = STS) -> dict[str, Check]:
    answer = Fetched(200, "text/plain; charset=utf-8", page) if isinstance(page, bytes) else page
    return look(check_mta_sts, with_mail(records), web=Web(answer))


def test_an_enforced_policy_is_good() -> None:
    assert {check.state for check in sts(PAGE).values()} == {State.GOOD}
    assert set(sts(PAGE)) == {"mta-sts.record", "mta-sts.policy", "mta-sts.mx", "mta-sts.age"}


@pytest.mark.parametrize(
    ("page", "check", "state", "finding"),
    [
        (None, "mta-sts.policy", State.BAD, "mta-sts.fetch"),
        (Fetched(404, "text/plain", b""), "mta-sts.policy", State.BAD, "mta-sts.status"),
        (Fetched(200, "text/html", PAGE), "mta-sts.policy", State.WARN, "mta-sts.type"),
        (b"\xff\x00" * 30_000, "mta-sts.policy", State.BAD, "mta-sts.malformed"),
        (PAGE.replace(b"enforce", b"testing"), "mta-sts.policy", State.WARN, "mta-sts.not-enforced"),
        (PAGE.replace(b"*.example.com", b"other.example.com"), "mta-sts.mx", State.BAD, "mta-sts.mx"),
        (PAGE.replace(b"*.example.com", b"*.com"), "mta-sts.mx", State.BAD, "mta-sts.mx"),
        (PAGE.replace(b"604800", b"86400"), "mta-sts.age", State.WARN, "mta-sts.short-age"),
        (PAGE.replace(b"604800", b"soon"), "mta-sts.age", State.BAD, "mta-sts.age"),
    ],
)
def test_a_policy_that_is_wrong_is_told(page: bytes | Fetched | None, check: str, state: State, finding: str) -> None:
    one = sts(page)[check]
    assert (one.state, found(one)) == (state, {finding})


@pytest.mark.parametrize(
    ("texts", "state", "finding"),
    [
        ([], State.ABSENT, "mta-sts.missing"),
        (["v=STSv1; id=a", "v=STSv1; id=b"], State.BAD, "mta-sts.several"),
        (["v=STSv1; id=a-b"], State.BAD, "mta-sts.id"),
        (["v=STSv1"], State.BAD, "mta-sts.id"),
    ],
)
def test_a_record_of_mta_sts_is_judged(texts: list[str], state: State, finding: str) -> None:
    check = sts(PAGE, {f"_mta-sts.{DOMAIN}": {"TXT": texts}})["mta-sts.record"]
    assert (check.state, found(check)) == (state, {finding})


def test_a_policy_is_not_fetched_where_nothing_may_be_connected_to() -> None:
    assert look(check_mta_sts, with_mail(STS))["mta-sts.policy"].state is State.UNKNOWN
    assert look(check_mta_sts, with_mail({f"_mta-sts.{DOMAIN}": {"TXT": "SERVFAIL"}}))["mta-sts.record"].state is State.UNKNOWN


@pytest.mark.parametrize(
    ("texts", "state", "finding"),
    [
        (["v=TLSRPTv1; rua=mailto:t@example.com,https://r.example/x"], State.GOOD, None),
        ([], State.ABSENT, "tls-rpt.missing"),
        (["v=TLSRPTv1; rua=mailto:t@example.com", "v=TLSRPTv1; rua=mailto:u@example.com"], State.BAD, "tls-rpt.several"),
        (["v=TLSRPTv1"], State.BAD, "tls-rpt.rua"),
        (["v=TLSRPTv1; rua=t@example.com"], State.BAD, "tls-rpt.rua"),
        ("SERVFAIL", State.UNKNOWN, None),
    ],
)
def test_the_record_of_tls_reports_is_judged(texts: Any, state: State, finding: str | None) -> None:
    check = look(check_tls_rpt, with_mail({f"_smtp._tls.{DOMAIN}": {"TXT": texts}}))["tls-rpt.record"]
    assert (check.state, found(check)) == (state, {finding} - {None})


# DNSSEC and DANE

ROOT = {"": {"SOA": ["."]}}
TLSA = f"_25._tcp.{HOST}"


@pytest.mark.parametrize(
    ("signed", "extra", "domain", "finding"),
    [
        (("", DOMAIN), {}, State.GOOD, None),
        (("",), {}, State.ABSENT, "dnssec.unsigned"),
        (("",), {DOMAIN: {"DNSKEY": ["257 3 13 AAAA"]}}, State.ABSENT, "dnssec.no-ds"),
        ((), {}, State.UNKNOWN, None),
        (("", DOMAIN), {DOMAIN: {"SOA": "SERVFAIL"}}, State.UNKNOWN, None),
    ],
)
def test_a_zone_is_signed_or_not_or_the_resolver_cannot_tell(
    signed: tuple[str, ...], extra: Any, domain: State, finding: str | None
) -> None:
    check = look(check_dnssec, with_mail(ROOT, extra), signed=signed)["dnssec.domain"]
    assert (check.state, found(check)) == (domain, {finding} - {None})


def test_a_mail_host_in_an_unsigned_zone_is_told() -> None:
    elsewhere = {DOMAIN: {"MX": ["10 mx.hosting.example."]}, "mx.hosting.example": {"A": ["11.22.33.44"], "SOA": []}}
    check = look(check_dnssec, with_mail(ROOT, elsewhere), signed=("", DOMAIN))["dnssec.mx"]
    assert (check.state, found(check)) == (State.WARN, {"dnssec.mx-unsigned"})
    assert look(check_dnssec, with_mail(ROOT), signed=("", DOMAIN))["dnssec.mx"].state is State.GOOD


@pytest.mark.parametrize(
    ("records", "signed", "state", "finding"),
    [
        ([f"3 1 1 {'ab' * 32}"], (DOMAIN,), State.GOOD, None),
        ([], (DOMAIN,), State.ABSENT, "dane.missing"),
        ([f"3 1 1 {'ab' * 32}"], (), State.WARN, "dane.unproven"),
        ([f"1 1 1 {'ab' * 32}"], (DOMAIN,), State.BAD, "dane.unusable"),
        ([f"1 1 1 {'ab' * 32}", f"3 1 1 {'ab' * 32}"], (DOMAIN,), State.WARN, "dane.unusable"),
        ("SERVFAIL", (DOMAIN,), State.BAD, "dane.no-answer"),
    ],
)
def test_dane_records_are_judged(records: Any, signed: tuple[str, ...], state: State, finding: str | None) -> None:
    checks = look(check_dane, with_mail({TLSA: {"TLSA": records}}), signed=signed)
    assert (checks["dane.records"].state, found(checks["dane.records"])) == (state, {finding} - {None})
    if "dane.match" in checks:
        assert checks["dane.match"].state is State.UNKNOWN  # nothing was connected to


def test_one_dane_record_alone_is_no_roll_over() -> None:
    for records, state in (([f"3 1 1 {'ab' * 32}"], State.INFO), ([f"3 1 1 {'ab' * 32}", f"3 1 1 {'cd' * 32}"], State.GOOD)):
        assert look(check_dane, with_mail({TLSA: {"TLSA": records}}), signed=(DOMAIN,))["dane.rollover"].state is state


@pytest.mark.parametrize("text", ["", "3 1", "3 1 1 xyz", "-1 1 1 ab", "9999 1 1 ab", "3 1 1 " + "ab" * 20_000])
def test_what_is_no_tlsa_record_is_none(text: str) -> None:
    assert read_tlsa(text) is None


# Addresses and their names

PTR4, PTR6 = "44.33.22.11.in-addr.arpa", "5.2.0.0." + "0." * 24 + "9.9.a.2.ip6.arpa"


@pytest.mark.parametrize(
    ("v4", "state", "finding"),
    [
        ({"PTR": [f"{HOST}."]}, State.GOOD, None),
        ({}, State.BAD, "fcrdns.no-ptr"),
        ({"PTR": ["other.example."]}, State.BAD, "fcrdns.unconfirmed"),
        ({"PTR": ["host-11-22-33-44.dyn.example."]}, State.WARN, "fcrdns.generic"),
        ({"PTR": "SERVFAIL"}, State.UNKNOWN, None),
    ],
)
def test_reverse_names_are_judged(v4: dict[str, Any], state: State, finding: str | None) -> None:
    names = {PTR4: v4, PTR6: {"PTR": [f"{HOST}."]}, "host-11-22-33-44.dyn.example": {"A": ["11.22.33.44"]}}
    checks = look(check_fcrdns, with_mail(names))
    assert (checks["fcrdns.ptr"].state, found(checks["fcrdns.ptr"])) == (state, {finding} - {None})
    assert checks["fcrdns.banner"].state is State.UNKNOWN  # nothing was connected to


def test_ipv6_is_seen_and_its_absence_told() -> None:
    assert look(check_ipv6, with_mail())["ipv6.mx"].state is State.GOOD
    assert look(check_ipv6, with_mail())["ipv6.reach"].state is State.UNKNOWN
    without = look(check_ipv6, with_mail({HOST: {"AAAA": []}}))["ipv6.mx"]
    assert (without.state, found(without)) == (State.ABSENT, {"ipv6.none"})
    assert look(check_ipv6, with_mail({HOST: {"A": "SERVFAIL", "AAAA": "SERVFAIL"}}))["ipv6.mx"].state is State.UNKNOWN


@pytest.mark.parametrize(
    ("records", "state", "finding"),
    [
        (['0 issue "letsencrypt.org"'], State.GOOD, None),
        ([], State.ABSENT, "caa.missing"),
        (['128 wish "x"'], State.BAD, "caa.critical"),
        (["nonsense"], State.GOOD, None),
        ("SERVFAIL", State.UNKNOWN, None),
    ],
)
def test_caa_is_found_at_the_nearest_name_above(records: Any, state: State, finding: str | None) -> None:
    check = look(check_caa, with_mail({DOMAIN: {"CAA": records}}))["caa.records"]
    assert (check.state, found(check)) == (state, {finding} - {None})


BIMI = "v=BIMI1; l=https://example.com/mark.svg; a=https://example.com/mark.pem"


@pytest.mark.parametrize(
    ("texts", "policy", "state", "finding"),
    [
        ([BIMI], REJECT, State.GOOD, None),
        ([], REJECT, State.ABSENT, None),
        (["v=BIMI1; l=; a="], REJECT, State.INFO, None),
        (["v=BIMI1; l=https://example.com/mark.svg"], REJECT, State.INFO, "bimi.no-certificate"),
        (["v=BIMI1; l=http://example.com/mark.svg; a=https://example.com/mark.pem"], REJECT, State.WARN, "bimi.l"),
        (["v=BIMI1; l=https://example.com/mark.svg; a=https://example.com/mark.txt"], REJECT, State.WARN, "bimi.a"),
        ([BIMI], {f"_dmarc.{DOMAIN}": {"TXT": ["v=DMARC1; p=none"]}}, State.WARN, "bimi.no-enforcement"),
        ([BIMI, BIMI], REJECT, State.WARN, "bimi.several"),
        ("SERVFAIL", REJECT, State.UNKNOWN, None),
    ],
)
def test_bimi_needs_a_mark_and_an_enforcing_policy(texts: Any, policy: Any, state: State, finding: str | None) -> None:
    check = look(check_bimi, with_mail({f"default._bimi.{DOMAIN}": {"TXT": texts}}, policy))["bimi.record"]
    assert (check.state, found(check)) == (state, {finding} - {None})


# Block lists


def listed(*names: str, test: str = "127.0.0.2", code: str = "127.0.0.2") -> Check:
    zone = {"2.0.0.127.bl.example": {"A": [test]}, **{f"{name}.bl.example": {"A": [code], "TXT": ["spam"]} for name in names}}
    return look(check_dnsbl, with_mail(zone), dnsbl=("bl.example",))["dnsbl.listed"]


def test_an_address_in_a_list_is_told_with_what_the_list_says() -> None:
    check = listed("44.33.22.11")
    assert (check.state, found(check)) == (State.BAD, {"dnsbl.listed"})
    assert "11.22.33.44 is in bl.example: spam" in check.detail
    assert listed().state is State.GOOD


def test_a_list_that_does_not_work_or_refuses_us_says_nothing() -> None:
    assert listed("44.33.22.11", test="127.255.255.254").state is State.UNKNOWN
    refused = listed("44.33.22.11", code="127.255.255.254")
    assert (refused.state, found(refused)) == (State.UNKNOWN, set())
    dead = look(check_dnsbl, with_mail(), dnsbl=("gone.example",))["dnsbl.listed"]
    assert (dead.state, found(dead)) == (State.UNKNOWN, set())
    assert "does not list its test entry" in dead.detail


def test_a_list_that_lists_everybody_says_nothing() -> None:
    assert listed("44.33.22.11", "1.0.0.127").state is State.UNKNOWN
