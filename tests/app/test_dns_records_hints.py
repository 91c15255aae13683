"""What is said of records that are right, and of domains and relays that are unlike most."""

from __future__ import annotations

from typing import Any

from dns_records_support import (
    BACKUP,
    CERT,
    CERTIFICATE,
    CHAIN,
    DANE,
    DMARC,
    DOMAIN,
    GOOD,
    HOST,
    INCLUDED,
    KEY,
    OTHER_V4,
    PTR,
    PTR4,
    PTR6,
    RPT,
    SITE,
    SPF,
    V4,
    V6,
    by_place,
    dmarc_of,
    key_text,
    looked_at,
    mended,
    spf_of,
    spoiled,
)

from postlatch.app.dns_records.wanted import KeyRecord


def test_hints_are_said_of_what_is_right() -> None:
    def why(changes: dict[str, Any], place: tuple[str, str], **site: Any) -> str:
        rows, _ = looked_at(spoiled(changes), SITE._replace(**site))
        [row] = [row for row in rows if (row.name, row.type) == place and row.status == "ok"]
        return row.why

    assert "-all is clearer" in why(spf_of("v=spf1 mx ~all"), SPF)
    assert "go on to p=quarantine" in why(dmarc_of("v=DMARC1; p=none; rua=mailto:dmarc@example.com"), DMARC)
    assert "go on to p=reject" in why(dmarc_of("v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com"), DMARC)
    assert "pct= is no longer in use" in why(dmarc_of("v=DMARC1; p=reject; pct=50; rua=mailto:dmarc@example.com"), DMARC)
    assert "does not sign for the domain" in why({}, DMARC, keys=())
    assert "nobody tells you anything" in why(dmarc_of("v=DMARC1; p=none"), DMARC, dmarc_reports="")
    assert "It needs 9 of the 10 look-ups" in why(
        {**spf_of(" ".join(["v=spf1 mx", *(f"include:i{n}.example.net" for n in range(8)), "-all"])), **INCLUDED}, SPF
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


def test_a_parent_that_does_not_answer_leaves_the_policy_of_a_subdomain_unknown() -> None:
    site = SITE._replace(domain="news.example.com", keys=())
    own = {"MX": ["10 mail.example.com."], "TXT": ["v=spf1 mx -all"]}
    zone = spoiled({"news.example.com": own, "_dmarc.example.com": {"TXT": "SERVFAIL"}})
    assert by_place(looked_at(zone, site)[0])[("_dmarc.news.example.com", "TXT")].status == "unknown"


def test_reports_to_another_domain_that_agreed_are_fine() -> None:
    zone = spoiled(
        {
            **dmarc_of("v=DMARC1; p=reject; rua=mailto:dmarc@example.com,mailto:x@reports.example.net"),
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
    rows, _ = looked_at(spoiled(dmarc_of("v=DMARC1; p=often", "v=DMARC1; p=reject")))
    assert by_place(rows)[DMARC].publish == "v=DMARC1; p=reject"
    assert by_place(rows)[DMARC].remove == ("v=DMARC1; p=often",)


def test_usage_two_of_tlsa_matches_the_authority() -> None:
    zone = spoiled({DANE[0]: {"TLSA": [f"2 0 0 {CHAIN[1].whole.hex()}"]}})
    assert by_place(looked_at(zone)[0]) == {}
