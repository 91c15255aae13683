"""One fault in the DNS at a time: where it is said, in which words, and that doing what is said mends it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from dns_records_support import (
    CERTIFICATE,
    CHAIN,
    DOMAIN,
    GOOD,
    HOST,
    KEY,
    OTHER_V4,
    PTR4,
    PTR6,
    SITE,
    V4,
    V6,
    by_place,
    key_text,
    looked_at,
    mended,
    spoiled,
)

from postlatch.app.dns_records.wanted import KeyRecord


class Fault(NamedTuple):
    """``changes`` spoil the good zone; ``words`` are in the sentence. ``mends``: publishing the fragment is all it takes."""

    changes: dict[str, Any]
    place: tuple[str, str]
    status: str
    words: str
    site: Mapping[str, Any] = MappingProxyType({})
    mends: bool = True


SPF, DMARC, DKIM = (DOMAIN, "TXT"), ("_dmarc.example.com", "TXT"), ("s1._domainkey.example.com", "TXT")
STS, RPT, DANE = ("_mta-sts.example.com", "TXT"), ("_smtp._tls.example.com", "TXT"), ("_25._tcp.mail.example.com", "TLSA")
MX, A, PTR, CERT = (DOMAIN, "MX"), (HOST, "A"), (PTR4, "PTR"), (HOST, "certificate")


def _spf(record: str, *more: str) -> dict[str, Any]:
    return {DOMAIN: {"TXT": [record, *more]}}


def _dmarc(*records: str) -> dict[str, Any]:
    return {"_dmarc.example.com": {"TXT": list(records)}}


def _dkim(*records: str) -> dict[str, Any]:
    return {"s1._domainkey.example.com": {"TXT": list(records)}}


BACKUP = {"backup.example.net": {"A": [OTHER_V4]}}
INCLUDED = {f"i{n}.example.net": {"TXT": [f"v=spf1 ip4:11.0.0.{n} -all"]} for n in range(11)}

FAULTS = {
    # The way in
    "no MX": Fault({DOMAIN: {"MX": None}}, MX, "missing", "There is no MX record."),
    "null MX": Fault({DOMAIN: {"MX": ["0 ."]}}, MX, "wrong", "takes no mail at all (RFC 7505)"),
    "MX elsewhere": Fault(
        {DOMAIN: {"MX": ["10 backup.example.net."]}, **BACKUP}, MX, "wrong", "goes to backup.example.net, and not to this relay"
    ),
    "MX that is an address": Fault(
        {DOMAIN: {"MX": ["10 mail.example.com.", "20 11.22.33.44."]}}, MX, "extra", "It must be the name of a host"
    ),
    "MX that is an alias": Fault(
        {DOMAIN: {"MX": ["10 mail.example.com.", "20 mx2.example.com."]}, "mx2.example.com": {"CNAME": "mail.example.com."}},
        MX,
        "extra",
        "mx2.example.com is an alias (CNAME) of mail.example.com. An MX record must name the host itself",
    ),
    "MX without an address": Fault(
        {DOMAIN: {"MX": ["10 mail.example.com.", "20 gone.example.net."]}}, MX, "extra", "gone.example.net has no address"
    ),
    "MX with a private address": Fault(
        {DOMAIN: {"MX": ["10 mail.example.com.", "20 in.example.com."]}, "in.example.com": {"A": ["10.0.0.5"]}},
        MX,
        "extra",
        "has no public address (10.0.0.5)",
    ),
    "domain that is an alias": Fault(
        {DOMAIN: {"CNAME": "www.example.net.", "MX": ["10 mail.example.com."]}},
        MX,
        "wrong",
        "example.com is an alias (CNAME) of www.example.net, and",
        mends=False,
    ),
    "wildcard MX": Fault(
        {"*.example.com": {"MX": ["10 mail.example.com."]}},
        ("*.example.com", "MX"),
        "extra",
        "also for names that you never made",
    ),
    "no address": Fault(
        {HOST: {"A": None, "AAAA": None}, DOMAIN: {"TXT": ["v=spf1 mx ip4:11.22.33.44 -all"]}},
        A,
        "missing",
        "mail.example.com has no address",
        {"bound": (), "own": ()},
        mends=False,
    ),
    "no IPv4 address": Fault({HOST: {"A": None}}, A, "missing", "has no IPv4 address", mends=False),
    "private address": Fault(
        {HOST: {"A": ["192.168.1.25", V4]}}, A, "wrong", "192.168.1.25 is not an address of the public internet"
    ),
    "address of a version that nothing listens on": Fault(
        {}, (HOST, "AAAA"), "wrong", "No listener of role mx takes IPv6", {"versions": frozenset({4})}
    ),
    "no PTR": Fault({PTR4: None}, PTR, "missing", "11.22.33.44 has no name.", mends=False),
    "PTR to another name": Fault(
        {PTR4: {"PTR": ["static-44.isp.example."]}, "static-44.isp.example": {"A": [V4]}},
        PTR,
        "wrong",
        "11.22.33.44 is called static-44.isp.example, but this relay greets as mail.example.com. Receivers compare",
        mends=False,
    ),
    "PTR to a name that leads elsewhere": Fault(
        {PTR4: {"PTR": ["old.example.net."]}, "old.example.net": {"A": [OTHER_V4]}},
        PTR,
        "wrong",
        "That name does not lead back to the address either",
        mends=False,
    ),
    # SPF
    "no SPF": Fault({DOMAIN: {"TXT": ["site-verification=1"]}}, SPF, "missing", "There is no SPF record"),
    "two SPF records": Fault(
        _spf("v=spf1 mx -all", "v=spf1 ip4:11.22.33.99 -all"),
        SPF,
        "wrong",
        "There are 2 SPF records, and only one may",
    ),
    "SPF in quotation marks": Fault(_spf('"v=spf1 mx -all"'), SPF, "wrong", "without quotation marks of its own"),
    "SPF for another server": Fault(
        _spf("v=spf1 ip4:11.22.33.99 -all"),
        SPF,
        "wrong",
        "does not permit 11.22.33.44 and 2a99::25, from where",
    ),
    "SPF for one of two addresses": Fault(
        _spf("v=spf1 ip4:11.22.33.44 -all"), SPF, "wrong", "does not permit 2a99::25, from where this relay sends"
    ),
    "SPF that permits everybody": Fault(_spf("v=spf1 mx +all"), SPF, "wrong", "permits everybody by +all"),
    "SPF that permits all addresses": Fault(
        _spf("v=spf1 mx ip4:0.0.0.0/0 -all"), SPF, "wrong", "permits everybody by ip4:0.0.0.0/0", mends=False
    ),
    "SPF that leaves all others open": Fault(_spf("v=spf1 mx ?all"), SPF, "wrong", "It should end with -all."),
    "SPF without an end": Fault(_spf("v=spf1 mx"), SPF, "wrong", "It should end with -all."),
    "SPF with a spelling mistake": Fault(_spf("v=spf1 mx ipv4:11.22.33.99 -all"), SPF, "wrong", "The record is in error"),
    "SPF with eleven look-ups": Fault(
        {**_spf(" ".join(["v=spf1", *(f"include:{name}" for name in INCLUDED), "-all"])), **INCLUDED},
        SPF,
        "wrong",
        "The record is in error",
    ),
    "SPF of the host that denies it": Fault(
        {HOST: {"TXT": ["v=spf1 -all"]}}, (HOST, "TXT"), "wrong", "does not permit this relay, so its bounces are refused"
    ),
    "SPF without the smarthost": Fault(
        {HOST: {"TXT": None}},
        SPF,
        "wrong",
        "ask its provider what to include",
        {"smarthost": "relay.isp.example"},
        mends=False,
    ),
    # DKIM
    "key in use that is not there": Fault({"s1._domainkey.example.com": None}, DKIM, "missing", "nobody can look it up"),
    "key that is new": Fault(
        {"s1._domainkey.example.com": None},
        DKIM,
        "missing",
        "it signs once it is seen on all name servers",
        {"keys": (KEY._replace(state="new"),)},
    ),
    "key that is retired and gone": Fault(
        {"s1._domainkey.example.com": None},
        DKIM,
        "missing",
        "still under way",
        {"keys": (KEY._replace(state="retired"),)},
    ),
    "another key": Fault(_dkim(key_text(2)), DKIM, "wrong", "Another key than ours is published here"),
    "key in use that is revoked": Fault(_dkim("v=DKIM1; k=ed25519; p="), DKIM, "wrong", "the key is revoked"),
    "key with quotation marks": Fault(
        _dkim(f'"{KEY.record[:20]}" "{KEY.record[20:]}"'), DKIM, "wrong", "Quotation marks or backslashes were pasted with it."
    ),
    "key that is there twice": Fault(_dkim(KEY.record, key_text(2)), DKIM, "wrong", "several TXT records"),
    "key that is a trial": Fault(_dkim(f"{KEY.record}; t=y"), DKIM, "wrong", "t=y calls it a trial"),
    # DMARC
    "no DMARC": Fault({"_dmarc.example.com": None}, DMARC, "missing", "Begin with p=none"),
    "two DMARC records": Fault(
        _dmarc("v=DMARC1; p=reject; rua=mailto:dmarc@example.com", "v=DMARC1; p=none"), DMARC, "wrong", "none counts"
    ),
    "DMARC in lower case": Fault(_dmarc("v=dmarc1; p=none"), DMARC, "wrong", 'must begin with exactly "v=DMARC1;"'),
    "DMARC without a policy": Fault(
        _dmarc("v=DMARC1; rua=mailto:dmarc@example.com"), DMARC, "wrong", "it has no p=, which says what is to be done"
    ),
    "DMARC with a policy that is none": Fault(
        _dmarc("v=DMARC1; p=refuse"), DMARC, "wrong", "p=refuse is not one of none, quarantine, reject."
    ),
    "DMARC with an address without mailto": Fault(
        _dmarc("v=DMARC1; p=none; rua=dmarc@example.com"), DMARC, "wrong", "rua=dmarc@example.com is no address for reports"
    ),
    "DMARC that is no tag list": Fault(_dmarc("v=DMARC1; p=none; reject"), DMARC, "wrong", "is not name=value"),
    "DMARC whose reports go elsewhere": Fault(
        _dmarc("v=DMARC1; p=none; rua=mailto:other@example.com"),
        DMARC,
        "wrong",
        "[reports] dmarc waits for reports at dmarc@example.com",
    ),
    "reports to somebody who did not agree": Fault(
        _dmarc("v=DMARC1; p=reject; rua=mailto:dmarc@example.com,mailto:x@reports.example.net"),
        ("example.com._report._dmarc.reports.example.net", "TXT"),
        "missing",
        "reports.example.net does not say that it takes reports about example.com",
        mends=False,
    ),
    # TLS
    "MTA-STS without an id": Fault({"_mta-sts.example.com": {"TXT": ["v=STSv1;"]}}, STS, "wrong", "its id= must be"),
    "MTA-STS without a web server": Fault(
        {"mta-sts.example.com": None}, STS, "wrong", "nobody can fetch the policy", mends=False
    ),
    "MTA-STS with a certificate of our own making": Fault(
        {}, STS, "wrong", "ours is signed by itself", {"certificate": CERTIFICATE._replace(self_signed=True)}, mends=False
    ),
    "no TLS-RPT for the reports that are waited for": Fault(
        {"_smtp._tls.example.com": None}, RPT, "missing", "[reports] tls waits"
    ),
    "TLS-RPT without an address": Fault(
        {"_smtp._tls.example.com": {"TXT": ["v=TLSRPTv1; rua=tls@example.com"]}}, RPT, "wrong", "its rua= must name addresses"
    ),
    "TLS-RPT to another address": Fault(
        {"_smtp._tls.example.com": {"TXT": ["v=TLSRPTv1; rua=mailto:t@example.net"]}}, RPT, "wrong", "sends them elsewhere"
    ),
    "TLSA of another key": Fault(
        {"_25._tcp.mail.example.com": {"TLSA": ["3 1 1 " + "ab" * 32]}},
        DANE,
        "wrong",
        "their mail waits, and then bounces",
    ),
    "TLSA of a usage that is not for mail": Fault(
        {"_25._tcp.mail.example.com": {"TLSA": ["1" + GOOD["_25._tcp.mail.example.com"]["TLSA"][0][1:]]}},
        DANE,
        "wrong",
        "none of them matches the certificate",
    ),
    "CAA of another authority": Fault(
        {HOST: {"CAA": ['0 issue "digicert.com"']}}, (HOST, "CAA"), "wrong", "so its renewal will be refused"
    ),
    "certificate of another host": Fault(
        {"_mta-sts.example.com": None},
        CERT,
        "wrong",
        "it names www.example.com, and this relay is mail.example.com",
        {"certificate": CERTIFICATE._replace(names=("www.example.com",))},
        mends=False,
    ),
    "certificate that has expired": Fault(
        {"_mta-sts.example.com": None},
        CERT,
        "wrong",
        "it has expired",
        {"certificate": CERTIFICATE._replace(not_after=1_700_000_000.0)},
        mends=False,
    ),
}


def test_a_domain_whose_records_are_right_is_ok_and_has_nothing_to_paste() -> None:
    rows, text = looked_at(GOOD)
    assert {(row.name, row.type): row.why for row in rows if row.status != "ok"} == {}
    assert {MX, A, PTR, SPF, DKIM, DMARC, STS, RPT, DANE, CERT} <= {(row.name, row.type) for row in rows}
    assert text == ""


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_said_where_it_is_and_in_words(name: str) -> None:
    fault = FAULTS[name]
    rows, _ = looked_at(spoiled(fault.changes), SITE._replace(**fault.site))
    found = {place: row for place, row in by_place(rows).items() if row.status != "optional"}
    assert list(found) == [fault.place], {place: row.why for place, row in found.items()}
    row = found[fault.place]
    assert row.status == fault.status
    assert fault.words in row.why
    assert row.why[-1] in ".)" or row.why.endswith("example.com"), row.why


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.mends])
def test_publishing_the_fragment_mends_the_fault(name: str) -> None:
    fault = FAULTS[name]
    site = SITE._replace(**fault.site)
    zone = spoiled(fault.changes)
    _, text = looked_at(zone, site)
    after, rest = looked_at(mended(zone, text), site)
    assert {place: row.why for place, row in by_place(after).items() if row.status != "optional"} == {}, text
    assert all(line.startswith(";") for line in rest.splitlines())


@pytest.mark.parametrize("kind", ["SERVFAIL", "TIMEOUT"])
@pytest.mark.parametrize(
    "place",
    [MX, A, (HOST, "AAAA"), PTR, SPF, DKIM, DMARC, STS, RPT, DANE, (HOST, "CAA")],
    ids=lambda place: f"{place[0]} {place[1]}",
)
def test_what_the_dns_does_not_answer_is_unknown_and_never_wrong(place: tuple[str, str], kind: str) -> None:
    rows, _ = looked_at(spoiled({place[0]: {place[1]: kind}}))
    assert by_place(rows)[place].status == "unknown"
    assert "try again" in by_place(rows)[place].why
    assert {row.status for row in rows} <= {"ok", "unknown"}, by_place(rows)


def test_hints_are_said_of_what_is_right() -> None:
    def why(changes: dict[str, Any], place: tuple[str, str], **site: Any) -> str:
        rows, _ = looked_at(spoiled(changes), SITE._replace(**site))
        [row] = [row for row in rows if (row.name, row.type) == place and row.status == "ok"]
        return row.why

    assert "-all is clearer" in why(_spf("v=spf1 mx ~all"), SPF)
    assert "go on to p=quarantine" in why(_dmarc("v=DMARC1; p=none; rua=mailto:dmarc@example.com"), DMARC)
    assert "go on to p=reject" in why(_dmarc("v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com"), DMARC)
    assert "pct= is no longer in use" in why(_dmarc("v=DMARC1; p=reject; pct=50; rua=mailto:dmarc@example.com"), DMARC)
    assert "does not sign for the domain" in why({}, DMARC, keys=())
    assert "nobody tells you anything" in why(_dmarc("v=DMARC1; p=none"), DMARC, dmarc_reports="")
    assert "It needs 9 of the 10 look-ups" in why(
        {**_spf(" ".join(["v=spf1 mx", *(f"include:i{n}.example.net" for n in range(8)), "-all"])), **INCLUDED}, SPF
    )
    assert "signed by itself" in why({"_mta-sts.example.com": None}, CERT, certificate=CERTIFICATE._replace(self_signed=True))
    assert "1 other does not match" in why({DANE[0]: {"TLSA": [*GOOD[DANE[0]]["TLSA"], "3 1 1 " + "ab" * 32]}}, DANE)


def test_other_hosts_in_mx_that_work_are_only_named() -> None:
    zone = spoiled({DOMAIN: {"MX": ["10 mail.example.com.", "20 backup.example.net."]}, **BACKUP})
    rows, text = looked_at(zone)
    [_, other] = [row for row in rows if row.type == "MX"]
    assert (other.status, other.published) == ("ok", ("20 backup.example.net.",))
    assert "backup.example.net takes mail for this domain too" in other.why
    assert text == ""
    zone[DOMAIN]["MX"] = ["10 mail.example.com.", "5 backup.example.net."]
    assert any("goes to backup.example.net first" in row.why for row in looked_at(zone)[0])


def test_everything_else_may_stay_away() -> None:
    zone = {name: GOOD[name] for name in ("com", PTR4, PTR6, DOMAIN, "s1._domainkey.example.com", "_dmarc.example.com")}
    zone[HOST] = {"A": [V4], "AAAA": [V6]}
    rows, text = looked_at(zone, SITE._replace(tls_reports=""))
    assert {row.status for row in rows} == {"ok", "optional"}
    assert all(line.startswith(";") for line in text.splitlines())
    assert "version: STSv1" in text
    after, _ = looked_at({**mended(zone, text, optional=True), "mta-sts.example.com": {"A": [V4]}})
    assert {row.status for row in after if row.type != "TXT" or row.name != RPT[0]} == {"ok"}


def test_a_selector_that_is_not_ours_is_nobodys_business() -> None:
    zone = spoiled({"old._domainkey.example.com": {"TXT": ["v=DKIM1; p="]}})
    foreign = KeyRecord("example.org", "s9", key_text(9), "active")
    gone = KeyRecord(DOMAIN, "s0", key_text(3), "removable")
    rows, _ = looked_at(zone, SITE._replace(keys=(KEY, foreign, gone)))
    assert by_place(rows) == {}
    assert not [row for row in rows if "s9" in row.name or "old" in row.name or "s0" in row.name]


def test_a_key_that_is_out_of_use_may_be_removed() -> None:
    gone = KeyRecord(DOMAIN, "s0", key_text(3), "removable")
    rows, _ = looked_at(spoiled({"s0._domainkey.example.com": {"TXT": [gone.record]}}), SITE._replace(keys=(KEY, gone)))
    assert by_place(rows) == {}
    assert any(row.name.startswith("s0.") and "may be removed" in row.why for row in rows)


def test_the_dmarc_record_of_the_parent_holds_for_a_subdomain() -> None:
    site = SITE._replace(domain="news.example.com", keys=())
    zone = spoiled({"news.example.com": {"MX": ["10 mail.example.com."], "TXT": ["v=spf1 mx -all"]}})
    rows, _ = looked_at(zone, site)
    row = by_place(rows)[("_dmarc.news.example.com", "TXT")]
    assert row.status == "optional"
    assert "The record of example.com holds here too, with the policy reject" in row.why


def test_reports_to_another_domain_that_agreed_are_fine() -> None:
    zone = spoiled(
        {
            **_dmarc("v=DMARC1; p=reject; rua=mailto:dmarc@example.com,mailto:x@reports.example.net"),
            "example.com._report._dmarc.reports.example.net": {"TXT": ["v=DMARC1"]},
        }
    )
    assert by_place(looked_at(zone)[0]) == {}


def test_a_domain_that_is_only_relayed_to_is_asked_for_nothing_of_its_senders() -> None:
    zone = {name: types for name, types in GOOD.items() if "dmarc" not in name and "domainkey" not in name}
    zone[DOMAIN] = {"MX": ["10 primary.example.net.", "20 mail.example.com."]}
    zone["primary.example.net"] = {"A": [OTHER_V4]}
    rows, _ = looked_at(zone, SITE._replace(backup=True))
    assert by_place(rows) == {}


def test_a_relay_that_takes_no_mail_from_outside_needs_no_mx() -> None:
    rows, _ = looked_at(
        spoiled({DOMAIN: {"MX": None, "TXT": ["v=spf1 a:mail.example.com -all"]}}), SITE._replace(receives=False)
    )
    assert by_place(rows) == {}


def test_without_an_mx_of_ours_spf_names_this_host() -> None:
    site = SITE._replace(receives=False)
    rows, _ = looked_at(spoiled({DOMAIN: {"MX": ["10 backup.example.net."], "TXT": None}, **BACKUP}), site)
    assert by_place(rows)[SPF].publish == "v=spf1 a:mail.example.com -all"
    zone = spoiled({DOMAIN: {"MX": ["10 backup.example.net."], "TXT": ["v=spf1 mx -all"]}, **BACKUP})
    rows, text = looked_at(zone, site)
    assert by_place(rows)[SPF].publish == "v=spf1 a:mail.example.com mx -all"
    assert by_place(looked_at(mended(zone, text), site)[0]) == {}


def test_behind_a_smarthost_nobody_looks_for_the_name_of_our_address() -> None:
    zone = spoiled(
        {PTR4: None, DOMAIN: {"TXT": ["v=spf1 mx include:isp.example -all"]}, "isp.example": {"TXT": ["v=spf1 -all"]}}
    )
    rows, _ = looked_at(zone, SITE._replace(smarthost="relay.isp.example"))
    assert {place: row.status for place, row in by_place(rows).items()} == {PTR: "optional"}
    [spf] = [row for row in rows if (row.name, row.type) == SPF]
    assert "Compare with what the provider of relay.isp.example tells you" in spf.why


def test_the_dmarc_record_without_a_fault_is_kept() -> None:
    rows, _ = looked_at(spoiled(_dmarc("v=DMARC1; p=often", "v=DMARC1; p=reject")))
    assert by_place(rows)[DMARC].publish == "v=DMARC1; p=reject"
    assert by_place(rows)[DMARC].remove == ("v=DMARC1; p=often",)


def test_usage_two_of_tlsa_matches_the_authority() -> None:
    zone = spoiled({DANE[0]: {"TLSA": [f"2 0 0 {CHAIN[1].whole.hex()}"]}})
    assert by_place(looked_at(zone)[0]) == {}
