"""One fault in the DNS at a time: where it is said, in which words, and that doing what is said mends it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from dns_records_support import (
    BACKUP,
    CERT,
    CERTIFICATE,
    DANE,
    DKIM,
    DMARC,
    DOMAIN,
    GOOD,
    HOST,
    INCLUDED,
    KEY,
    MX,
    OTHER_V4,
    PTR,
    PTR4,
    RPT,
    SITE,
    SPF,
    STS,
    V4,
    A,
    by_place,
    dkim_of,
    dmarc_of,
    key_text,
    looked_at,
    mended,
    spf_of,
    spoiled,
)


class Fault(NamedTuple):
    """``changes`` spoil the good zone; ``words`` are in the sentence. ``mends``: publishing the fragment is all it takes."""

    changes: dict[str, Any]
    place: tuple[str, str]
    status: str
    words: str
    site: Mapping[str, Any] = MappingProxyType({})
    mends: bool = True


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
        spf_of("v=spf1 mx -all", "v=spf1 ip4:11.22.33.99 -all"),
        SPF,
        "wrong",
        "There are 2 SPF records, and only one may",
    ),
    "SPF in quotation marks": Fault(spf_of('"v=spf1 mx -all"'), SPF, "wrong", "without quotation marks of its own"),
    "SPF for another server": Fault(
        spf_of("v=spf1 ip4:11.22.33.99 -all"),
        SPF,
        "wrong",
        "does not permit 11.22.33.44 and 2a99::25, from where",
    ),
    "SPF for one of two addresses": Fault(
        spf_of("v=spf1 ip4:11.22.33.44 -all"), SPF, "wrong", "does not permit 2a99::25, from where this relay sends"
    ),
    "SPF that permits everybody": Fault(spf_of("v=spf1 mx +all"), SPF, "wrong", "permits everybody by +all"),
    "SPF that permits all addresses": Fault(
        spf_of("v=spf1 mx ip4:0.0.0.0/0 -all"), SPF, "wrong", "permits everybody by ip4:0.0.0.0/0", mends=False
    ),
    "SPF that leaves all others open": Fault(spf_of("v=spf1 mx ?all"), SPF, "wrong", "It should end with -all."),
    "SPF without an end": Fault(spf_of("v=spf1 mx"), SPF, "wrong", "It should end with -all."),
    "SPF with a spelling mistake": Fault(spf_of("v=spf1 mx ipv4:11.22.33.99 -all"), SPF, "wrong", "The record is in error"),
    "SPF with eleven look-ups": Fault(
        {**spf_of(" ".join(["v=spf1", *(f"include:{name}" for name in INCLUDED), "-all"])), **INCLUDED},
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
    "another key": Fault(dkim_of(key_text(2)), DKIM, "wrong", "Another key than ours is published here"),
    "key in use that is revoked": Fault(dkim_of("v=DKIM1; k=ed25519; p="), DKIM, "wrong", "the key is revoked"),
    "key with quotation marks": Fault(
        dkim_of(f'"{KEY.record[:20]}" "{KEY.record[20:]}"'),
        DKIM,
        "wrong",
        "Quotation marks or backslashes were pasted with it.",
    ),
    "key that is there twice": Fault(dkim_of(KEY.record, key_text(2)), DKIM, "wrong", "several TXT records"),
    "key that is a trial": Fault(dkim_of(f"{KEY.record}; t=y"), DKIM, "wrong", "t=y calls it a trial"),
    # DMARC
    "no DMARC": Fault({"_dmarc.example.com": None}, DMARC, "missing", "Begin with p=none"),
    "two DMARC records": Fault(
        dmarc_of("v=DMARC1; p=reject; rua=mailto:dmarc@example.com", "v=DMARC1; p=none"), DMARC, "wrong", "none counts"
    ),
    "DMARC in lower case": Fault(dmarc_of("v=dmarc1; p=none"), DMARC, "wrong", 'must begin with exactly "v=DMARC1;"'),
    "DMARC without a policy": Fault(
        dmarc_of("v=DMARC1; rua=mailto:dmarc@example.com"), DMARC, "wrong", "it has no p=, which says what is to be done"
    ),
    "DMARC with a policy that is none": Fault(
        dmarc_of("v=DMARC1; p=refuse"), DMARC, "wrong", "p=refuse is not one of none, quarantine, reject."
    ),
    "DMARC with an address without mailto": Fault(
        dmarc_of("v=DMARC1; p=none; rua=dmarc@example.com"), DMARC, "wrong", "rua=dmarc@example.com is no address for reports"
    ),
    "DMARC that is no tag list": Fault(dmarc_of("v=DMARC1; p=none; reject"), DMARC, "wrong", "is not name=value"),
    "DMARC whose reports go elsewhere": Fault(
        dmarc_of("v=DMARC1; p=none; rua=mailto:other@example.com"),
        DMARC,
        "wrong",
        "[reports] dmarc waits for reports at dmarc@example.com",
    ),
    "reports to somebody who did not agree": Fault(
        dmarc_of("v=DMARC1; p=reject; rua=mailto:dmarc@example.com,mailto:x@reports.example.net"),
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
