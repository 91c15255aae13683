"""Sendmail: each fault is found, and its repaired twin is closed."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lint_folder import Case, written

from postlatch.audit.lint.problem import LintError
from postlatch.audit.lint.sendmail import lint
from postlatch.audit.values import Verdict

MC = """\
divert(-1)dnl
dnl FEATURE(`promiscuous_relay')
# FEATURE(`relay_local_from')
divert(0)dnl
include(`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(`debian')dnl
define(`confPRIVACY_FLAGS', `goaway,restrictqrun')dnl
TRUST_AUTH_MECH(`DIGEST-MD5 PLAIN')dnl
define(`confAUTH_OPTIONS', `A p y')dnl
FEATURE(`access_db', `hash -T<TMPF> /etc/mail/access')dnl
FEATURE(`use_cw_file')dnl
DAEMON_OPTIONS(`Family=inet, Name=MTA-v4, Port=smtp')dnl
DAEMON_OPTIONS(`Family=inet, Name=MSP, Port=submission, M=Ea')dnl
MAILER(`smtp')dnl
"""
ACCESS = "Connect:192.0.2 RELAY\nConnect:IPv6:2001:db8:1:2 RELAY\nTo:backup.example.net RELAY\nSpam:a@b.example FRIEND\n"
GOOD = {"sendmail.mc": MC, "access": ACCESS, "relay-domains": "192.0.2.77\n", "local-host-names": "example.com\n"}


def _mc(old: str, new: str) -> dict[str, str]:
    assert old in MC
    return {**GOOD, "sendmail.mc": MC.replace(old, new)}


def _feature(name: str) -> dict[str, str]:
    return _mc("MAILER(", f"FEATURE({name})dnl\nMAILER(")


def _access(line: str) -> dict[str, str]:
    return {**GOOD, "access": ACCESS + line + "\n"}


CASES = [
    Case("promiscuous", _feature("`promiscuous_relay'"), "sendmail.promiscuous-relay", "open", GOOD),
    Case("local from", _feature("relay_local_from"), "sendmail.relay-local-from", "open", GOOD),
    Case(
        "mail from",
        _feature("`relay_mail_from'") | {"access": "From:boss@x.org RELAY\n"},
        "sendmail.relay-mail-from",
        "open",
        GOOD,
    ),
    Case(
        "mail from a domain",
        _feature("`relay_mail_from', `domain'") | {"access": "From:x.org RELAY\n"},
        "sendmail.relay-mail-from",
        "open",
        _feature("`relay_mail_from'") | {"access": "From:x.org RELAY\n"},
    ),
    Case("by MX", _feature("`relay_based_on_MX'"), "sendmail.relay-based-on-mx", "open", GOOD),
    Case("a class A", _access("Connect:198 RELAY"), "sendmail.access-relay", "open", _access("Connect:198.51.100 RELAY")),
    Case("a provider's network", _access("203.0 RELAY"), "lint.wide-network", "unknown", _access("203.0.113 RELAY")),
    Case("IPv6 in short", _access("Connect:IPv6:2001 RELAY"), "sendmail.access-relay", "open", GOOD),
    Case("a top-level domain", _access("com RELAY"), "sendmail.access-relay", "open", GOOD),
    Case("short list", {**GOOD, "relay-domains": "198\n"}, "sendmail.relay-domains", "open", GOOD),
    Case("list of a top-level domain", {**GOOD, "relay-domains": "org\n"}, "sendmail.relay-domains", "open", GOOD),
    Case("in the mc", _mc("MAILER(", "RELAY_DOMAIN(`198 com')dnl\nMAILER("), "sendmail.relay-domains", "open", GOOD),
    Case("no map beside", {"sendmail.mc": MC}, "sendmail.access-missing", "unknown", GOOD),
    Case("loose", _feature("`loose_relay_check'"), "sendmail.loose-relay-check", "closed", GOOD),
    Case("entire domain", _feature("`relay_entire_domain'"), "sendmail.relay-entire-domain", "closed", GOOD),
    Case("unresolvable", _feature("accept_unresolvable_domains"), "sendmail.accept-unresolvable-domains", "closed", GOOD),
    Case("unqualified", _feature("accept_unqualified_senders"), "sendmail.accept-unqualified-senders", "closed", GOOD),
    Case("M=u", _mc("Port=smtp'", "Port=smtp, M=u'"), "sendmail.unqualified", "closed", GOOD),
    Case("no login asked", _mc(", M=Ea", ", M=E"), "sendmail.submission-without-login", "closed", GOOD),
    Case(
        "anonymous",
        _mc(
            "DIGEST-MD5 PLAIN')dnl\ndefine(`confAUTH_OPTIONS', `A p y')",
            "ANONYMOUS PLAIN')dnl\ndefine(`confAUTH_OPTIONS', `A p')",
        ),
        "sendmail.anonymous",
        "unknown",
        _mc("DIGEST-MD5 PLAIN", "ANONYMOUS PLAIN"),
    ),
    Case("clear passwords", _mc("`A p y'", "`A y'"), "sendmail.clear-password", "closed", GOOD),
    Case("privacy", _mc("goaway,restrictqrun", "authwarnings"), "sendmail.privacy", "closed", GOOD),
    Case(
        "blame",
        _mc("MAILER(", "define(`confDONT_BLAME_SENDMAIL', `GroupWritableFile')\nMAILER("),
        "sendmail.unsafe-files",
        "closed",
        GOOD,
    ),
    Case(
        "no tag",
        _access("trusted.example.org RELAY"),
        "sendmail.untagged",
        "closed",
        _access("Connect:trusted.example.org RELAY"),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_fault_is_found_and_its_repair_is_closed(case: Case, tmp_path: Path) -> None:
    result = lint(written(tmp_path / "bad", case.files), None)
    assert result.verdict == case.verdict, result
    assert case.finding in {finding.id for finding in result.findings}
    assert all(finding.fix for finding in result.findings)
    repaired = lint(written(tmp_path / "good", case.repaired), None)
    assert repaired.verdict is Verdict.CLOSED
    assert case.finding not in {finding.id for finding in repaired.findings}


def test_a_refusal_of_a_narrower_network_wins(tmp_path: Path) -> None:
    folder = written(tmp_path, _access("Connect:198 RELAY\nConnect:198.51.100 REJECT"))
    assert lint(folder, ip_address("198.51.100.7")).verdict is Verdict.CLOSED
    assert lint(folder, ip_address("198.51.101.7")).verdict is Verdict.OPEN


def test_groups_are_whole_octets(tmp_path: Path) -> None:
    folder = written(tmp_path, GOOD)
    assert lint(folder, ip_address("192.0.2.200")).verdict is Verdict.OPEN
    assert lint(folder, ip_address("192.0.20.1")).verdict is Verdict.CLOSED
    assert lint(folder, ip_address("2001:db8:1:2::9")).verdict is Verdict.OPEN
    assert lint(folder, ip_address("2001:db8:1:3::9")).verdict is Verdict.CLOSED


def test_an_access_map_that_is_not_turned_on_says_nothing(tmp_path: Path) -> None:
    files = _mc("FEATURE(`access_db', `hash -T<TMPF> /etc/mail/access')dnl\n", "") | {"access": "Connect:198 RELAY\n"}
    assert lint(written(tmp_path, files), None).verdict is Verdict.CLOSED


def test_a_made_configuration_tells_its_features_by_their_traces(tmp_path: Path) -> None:
    text = "#####  $Id: promiscuous_relay.m4,v 8.13 2013-11-22 20:51:11 ca Exp $  #####\nV10/Berkeley\nSlocal_check_mail\n"
    result = lint(written(tmp_path / "a", {"sendmail.cf": text}), None)
    assert result.verdict is Verdict.OPEN
    closed = "V10/Berkeley\nCR192.0.2.1\nO PrivacyOptions=goaway\nSlocal_check_mail\n# made by linuxconf\n"
    result = lint(written(tmp_path / "b", {"sendmail.cf": closed}), None)
    assert result.verdict is Verdict.CLOSED
    assert [finding.id for finding in result.findings] == ["sendmail.linuxconf"]


def test_the_finding_names_the_line_of_the_map(tmp_path: Path) -> None:
    finding = lint(written(tmp_path, _access("Connect:198 RELAY")), None).findings[0]
    assert (finding.line, finding.file.endswith("access")) == (5, True)


@pytest.mark.parametrize("text", ["", "hello\n", "FEATURE(" + "(" * 500])
def test_what_is_no_configuration_is_an_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(LintError):
        lint(written(tmp_path, {"sendmail.mc": text}), None)


_PIECES = st.one_of(
    st.sampled_from(
        ["FEATURE(", "`", "'", "define(", ")", ",", "dnl ", "\n", "access_db", "RELAY_DOMAIN(", "10", "M=u", "DAEMON_OPTIONS("]
    ),
    st.text(max_size=8),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(_PIECES, max_size=50), st.text(max_size=80), st.text(max_size=80))
def test_any_text_gives_a_result_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str], access: str, relay: str
) -> None:
    files = {
        "sendmail.mc": "MAILER(`smtp')\nFEATURE(`access_db')\n" + "".join(pieces),
        "access": access,
        "relay-domains": relay,
    }
    clean = {name: text.encode("utf-8", "replace").decode() for name, text in files.items()}
    try:
        result = lint(written(tmp_path_factory.mktemp("mail"), clean), None)
    except LintError:
        return
    assert result.verdict in Verdict
    assert all(finding.message.isascii() and len(finding.message) <= 500 for finding in result.findings)
