"""What the linter says of a configuration of Postfix, and why."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from postlatch.audit.lint.postfix import lint
from postlatch.audit.lint.postfix.changes import patch
from postlatch.audit.lint.problem import LintError
from postlatch.audit.values import LintResult, Severity, Verdict

STRANGER = "198.51.100.7"
SAFE = "smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination\n"
NETWORKS = "mynetworks = 127.0.0.0/8 [::1]/128\n"
LEVEL = "compatibility_level = 3.6\n"
SMTP = "smtp inet n - n - - smtpd\n"
RELAY, RCPT = "smtpd_relay_restrictions = ", "smtpd_recipient_restrictions = "
ANYBODY = RELAY + "permit, reject\n" + RCPT + "check_sender_access static:OK, reject\n"
OPEN, CLOSED, UNKNOWN = Verdict.OPEN, Verdict.CLOSED, Verdict.UNKNOWN


def _lint(folder: Path, main: str, master: str = SMTP, client: str | None = None, **tables: str) -> LintResult:
    (folder / "main.cf").write_text(main)
    (folder / "master.cf").write_text(master)
    for name, text in tables.items():
        (folder / name).write_text(text)
    return lint(folder, ip_address(client) if client else None)


def _guarded(first: str) -> str:
    return f"{RELAY}{first}, reject_unauth_destination\n"


def _ids(result: LintResult) -> set[str]:
    return {finding.id for finding in result.findings}


def test_the_default_configuration_is_closed_and_says_who_may_relay(tmp_path: Path) -> None:
    result = _lint(tmp_path, LEVEL + NETWORKS)
    assert result.verdict is CLOSED
    assert result.can_relay[0].startswith(
        "127.0.0.0/8, not logged in, could send to elsewhere.example because service smtp (master.cf:1)"
    )
    assert _lint(tmp_path, LEVEL + NETWORKS, client=STRANGER).can_relay == ()
    assert _lint(tmp_path, LEVEL + NETWORKS, client="127.0.0.1").verdict is OPEN  # for that client


@pytest.mark.parametrize(
    ("main", "verdict", "finding"),
    [
        (RELAY + "permit\n" + RCPT + "permit, reject\n", CLOSED, "postfix.no-refusal"),
        (RELAY + "permit\n" + RCPT + "warn_if_reject reject, defer\n", CLOSED, None),
        (RELAY + "warn_if_reject reject_unauth_destination, permit_auth_destination, permit, reject\n"
         + "smtpd_recipient_restrictions = check_sender_access static:permit, reject\n", OPEN, "postfix.relay-restrictions"),
        (RELAY + "\n" + RCPT + "permit_mynetworks, reject_unauth_destination\n", CLOSED, None),
        (RELAY + "\n" + RCPT + "check_sender_access inline:{corp.example=OK}, reject_unauth_destination\n",
         OPEN, "postfix.access-permit"),
        (SAFE + "smtpd_recipient_restrictions = check_sender_access inline:{corp.example=OK}, permit\n", CLOSED, None),
        (_guarded("check_helo_access pcre:{{/^mail\\d+\\.corp\\.example$/ OK}}"), OPEN,
         "postfix.access-permit"),
        (_guarded("check_recipient_access inline:{postmaster@=OK}"), OPEN, "postfix.access-permit"),
        (_guarded("check_recipient_access inline:{partner.example=OK}"), CLOSED, None),
        (_guarded("check_client_access inline:{mail.partner.example=OK}"), CLOSED,
         "postfix.client-name"),
        (_guarded("check_client_access inline:{com=OK}"), OPEN, "postfix.access-permit"),
        (_guarded("check_client_access inline:{unknown=OK}"), OPEN, "postfix.access-permit"),
        (_guarded("check_reverse_client_hostname_access static:OK"), CLOSED, None),
        (_guarded("check_client_access cidr:{{0.0.0.0/0 OK}}"), OPEN, "postfix.access-permit"),
        (RELAY + "check_sender_access regexp:{{/./ REJECT} {/^boss/ OK}}, check_sender_access inline:{boss@=OK}, "
         + "reject_unauth_destination\n", CLOSED, None),
        (_guarded("permit_naked_ip_address"), OPEN, "postfix.relay-restrictions"),
        (_guarded("check_recipient_access inline:{elsewhere.example=REJECT, abuse@=OK}"), OPEN, "postfix.access-permit"),
        (_guarded("reject_invalid_helo_hostname, permit_naked_ip_address"), OPEN, "postfix.relay-restrictions"),
        (_guarded("reject_non_fqdn_helo_hostname, permit_naked_ip_address"), CLOSED, None),
        (_guarded("reject_non_fqdn_helo_hostname, check_helo_access inline:{printer=OK}"), CLOSED, None),
        (RELAY + "friends, reject_unauth_destination\nsmtpd_restriction_classes = friends\n"
         + "friends = check_sender_access inline:{<>=OK}\n", OPEN, "postfix.access-permit"),
        (_guarded("check_sender_access inline:{boss@=friends}")
         + "smtpd_restriction_classes = friends\nfriends = permit_mynetworks, reject\n", CLOSED, None),
        (ANYBODY + "smtpd_data_restrictions = check_recipient_access static:REJECT\n", OPEN, None),  # two recipients at once
        (ANYBODY + "smtpd_data_restrictions = reject_unauth_destination, reject\n", CLOSED, None),
        (SAFE + "relay_domains = static:all\n", OPEN, "postfix.relay-domains"),
        (SAFE + "relay_domains = com\n", OPEN, "postfix.relay-domains"),
        (SAFE + "relay_domains = partner.example\n", CLOSED, None),
        (SAFE + "relay_domains = regexp:{{/^partner\\.example$/ x}}\n", CLOSED, "postfix.relay-domains-pattern"),
        (SAFE + "relay_domains = regexp:{{/^partner/ x}}\n", OPEN, "postfix.relay-domains"),
        (SAFE + "relay_domains = regexp:{{/e/ x}}\n", OPEN, "postfix.relay-domains"),
        (SAFE + "mynetworks = 0.0.0.0/0\n", OPEN, "postfix.mynetworks"),
        (SAFE + "mynetworks = !198.51.100.0/24, 10.0.0.0/8\n", CLOSED, "postfix.mynetworks"),
        (SAFE + "smtpd_authorized_xclient_hosts = 0.0.0.0/0\n", OPEN, "postfix.xclient"),
        (SAFE + "smtpd_upstream_proxy_protocol = haproxy\n", UNKNOWN, "postfix.proxy-protocol"),
        (_guarded("check_policy_service inet:127.0.0.1:10023"), UNKNOWN, "postfix.undecided"),
        (SAFE + "smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:10023\n", CLOSED, None),
        (_guarded("check_sender_access mysql:/etc/postfix/x.cf"), UNKNOWN, "postfix.table-unread"),
        (_guarded("permit_mx_backup"), UNKNOWN, "postfix.mx-backup"),
        (_guarded("check_client_mx_access static:OK"), CLOSED, None),
        ("smtpd_relay_restrictions = no_such_restriction, permit\nsmtpd_recipient_restrictions = reject\n", CLOSED, None),
        (RELAY + "permit\n" + RCPT + "defer_if_permit\n", CLOSED, None),
        (RELAY + "permit\n" + RCPT + "check_sender_access static:DISCARD, reject\n", CLOSED, None),
        (_guarded("check_sender_access static:550"), OPEN, "postfix.access-permit"),
        (_guarded("check_sender_access static:{550 no}"), CLOSED, None),
        ("smtpd_sasl_auth_enable = yes\nsmtpd_sasl_security_options =\n", UNKNOWN, "postfix.sasl-anonymous"),
        (SAFE + "allow_untrusted_routing = yes\n", CLOSED, "postfix.allow-untrusted-routing"),
        (SAFE + "smtpd_forbid_bare_newline = no\n", CLOSED, "postfix.forbid-bare-newline"),
        (SAFE + "smtpd_reject_unlisted_recipient = no\n", CLOSED, "postfix.smtpd-reject-unlisted-recipient"),
        (SAFE + "mynetworks_style = class\n", CLOSED, None),
    ],
)  # fmt: skip
def test_the_lists_are_walked_as_smtpd_walks_them(tmp_path: Path, main: str, verdict: Verdict, finding: str | None) -> None:
    result = _lint(tmp_path, LEVEL + NETWORKS + main)
    assert result.verdict is verdict, result
    if finding is not None:
        assert finding in _ids(result)
    asked = _lint(tmp_path, LEVEL + NETWORKS + main, client=STRANGER)
    by_name = "{com=" in main or "{mail.partner" in main  # which name the DNS gives to one client does not stand here
    assert asked.verdict is (UNKNOWN if by_name else verdict)
    assert bool(asked.can_relay) == (asked.verdict is OPEN)


def test_an_open_table_is_named_with_its_line_and_what_has_to_be_said(tmp_path: Path) -> None:
    main = (
        LEVEL
        + NETWORKS
        + "smtpd_relay_restrictions =\n  check_sender_access hash:/etc/postfix/senders,\n  reject_unauth_destination\n"
    )
    result = _lint(tmp_path, main, senders="# ours\nother@x.example REJECT\nBoss@Corp.example OK\n", client=STRANGER)
    finding = result.findings[0]
    assert (finding.severity, finding.file, finding.line) == (Severity.CRITICAL, "senders", 3)
    assert "MAIL FROM boss@corp.example" in result.can_relay[0]
    assert "(senders:3)" in result.can_relay[0]


def test_each_service_is_judged_with_its_own_options(tmp_path: Path) -> None:
    master = (
        SMTP
        + "2525 inet n - n - - smtpd\n  -o { smtpd_relay_restrictions = check_sender_access static:OK, reject }\n"
        + "127.0.0.1:10025 inet n - n - - smtpd\n  -o mynetworks=0.0.0.0/0\n"
        + "open unix n - n - - smtpd -o mynetworks=0.0.0.0/0\n"
    )
    result = _lint(tmp_path, LEVEL + NETWORKS + SAFE, master, client=STRANGER)
    assert result.verdict is OPEN
    assert "service 2525 (master.cf:2)" in result.can_relay[0]
    assert "10025" not in result.can_relay[0]
    assert "10025" in _lint(tmp_path, LEVEL + NETWORKS + SAFE, master, client="127.0.0.2").can_relay[0]


def test_a_service_behind_postscreen_is_reached_through_it(tmp_path: Path) -> None:
    main = LEVEL + NETWORKS + ANYBODY
    passed = "smtpd pass - - n - - smtpd\n"
    assert _lint(tmp_path, main, passed, client=STRANGER).verdict is CLOSED
    assert _lint(tmp_path, main, passed + "smtp inet n - n - 1 postscreen\n", client=STRANGER).verdict is OPEN


def test_lists_that_run_before_the_recipient_is_known_do_not_see_it(tmp_path: Path) -> None:
    main = LEVEL + NETWORKS + ANYBODY
    client = "smtpd_client_restrictions = reject_unauth_destination\n"
    assert _lint(tmp_path, main + client, client=STRANGER).verdict is CLOSED
    assert _lint(tmp_path, main + client + "smtpd_delay_reject = no\n", client=STRANGER).verdict is OPEN


def test_references_conditions_and_the_last_assignment_count(tmp_path: Path) -> None:
    main = LEVEL + NETWORKS + (
        "smtpd_relay_restrictions = permit, reject\nguard = reject_unauth_destination\nyes = 1\n"
        "smtpd_relay_restrictions = permit_mynetworks,\n# a comment\n\n  ${yes?{$guard}:{permit}} ${no:${guard}} $(guard)\n"
    )  # fmt: skip
    result = _lint(tmp_path, main)
    assert result.verdict is CLOSED
    assert "smtpd_relay_restrictions (main.cf:6)" in result.can_relay[0]


def test_old_defaults_follow_the_compatibility_level(tmp_path: Path) -> None:
    assert "postfix.no-refusal" in _ids(_lint(tmp_path, NETWORKS))
    assert "postfix.mynetworks-style" in _ids(_lint(tmp_path, SAFE))
    assert "postfix.mynetworks-style" not in _ids(_lint(tmp_path, LEVEL + SAFE))


@pytest.mark.parametrize(
    ("main", "master", "problem"),
    [
        ("nonsense\n", SMTP, "main.cf:1: expected NAME = VALUE"),
        ("a = $b\nb = $a\n", SMTP, "refers to itself"),
        ("a = 1\n", "smtp inet n - n\n", "master.cf:1: expected SERVICE TYPE"),
        ("a = 1\n", SMTP.strip() + " -o broken\n", "expected NAME=VALUE after -o"),
        ("a = 1\n", "# nothing\n", "has no services"),
        ("a = \0\n", SMTP, "NUL"),
    ],
)
def test_what_is_no_configuration_is_an_error_with_its_place(tmp_path: Path, main: str, master: str, problem: str) -> None:
    with pytest.raises(LintError, match=problem):
        _lint(tmp_path, main, master)


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LintError, match=r"nowhere/main\.cf"):
        lint(tmp_path / "nowhere", None)


@pytest.mark.parametrize(
    ("main", "master"),
    [
        (
            RELAY + "permit, reject\n" + RCPT + "check_sender_access static:OK,\n  reject",
            SMTP,
        ),
        (
            RELAY + "permit_mynetworks,\n check_sender_access inline:{boss@=OK},\n reject_unauth_destination\nx = 1\n",
            SMTP,
        ),
        ("mynetworks = 0.0.0.0/0\n", SMTP),
        ("", SMTP + "2525 inet n - n - - smtpd\n  -o smtpd_relay_restrictions=permit,reject\n  -o syslog_name=x\n"),
        ("smtpd_authorized_xclient_hosts = 0.0.0.0/0\n", SMTP),
    ],
)
def test_the_patch_closes_what_was_open_and_touches_nothing_itself(tmp_path: Path, main: str, master: str) -> None:
    text = LEVEL + NETWORKS + main
    result = _lint(tmp_path, text, master)
    assert result.verdict is OPEN or "2525" in master
    made = patch(tmp_path, result.findings)
    assert (tmp_path / "main.cf").read_text() == text
    subprocess.run(["patch", "-p0", "-s"], cwd=tmp_path, input=made, text=True, check=True)
    assert lint(tmp_path, None).verdict is CLOSED
    assert lint(tmp_path, ip_address(STRANGER)).can_relay == ()


def test_hostile_patterns_and_huge_tables_take_no_time(tmp_path: Path) -> None:
    evil = "".join(f"/(a|a)*{'(x+x+)+' * 8}y$/ OK{n}\n" for n in range(20))
    table = "".join(f"user{n}@corp{n}.example REJECT\n" for n in range(6_000))
    lists = "check_sender_access regexp:evil, check_sender_access hash:big, check_helo_access regexp:evil, reject"
    result = _lint(tmp_path, LEVEL + NETWORKS + f"smtpd_relay_restrictions = {lists}\n", evil=evil, big=table)
    assert result.verdict in {CLOSED, UNKNOWN}
