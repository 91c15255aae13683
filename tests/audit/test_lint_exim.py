"""Exim: each fault is found, and its repaired twin is closed."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lint_folder import Case, written

from postlatch.audit.lint.exim import lint
from postlatch.audit.lint.problem import LintError
from postlatch.audit.values import Severity, Verdict

MAIN = """\
primary_hostname = mx.example.com
domainlist local_domains = @ : example.com
domainlist relay_to_domains = backup.example.net
hostlist relay_from_hosts = localhost : 127.0.0.1 : 203.0.113.0/28
acl_smtp_rcpt = acl_check_rcpt
acl_smtp_data = acl_check_data
tls_advertise_hosts = *
smtp_banner = $smtp_active_hostname ESMTP
begin acl
acl_check_rcpt:
  accept hosts = :
  deny message = Restricted characters in address
       domains = +local_domains
       local_parts = ^[.] : ^.*[@%!/|]
  deny message = Restricted characters in address
       domains = !+local_domains
       local_parts = ^[./|] : ^.*[@%!] : ^.*/\\\\.\\\\./
  deny dnslists = zen.example.org
  require verify = sender
  accept hosts = +relay_from_hosts
         control = submission
  accept authenticated = *
  require message = relay not permitted
          domains = +local_domains : +relay_to_domains
  require verify = recipient
  accept
acl_check_data:
  deny condition = ${if > {$message_linelength}{998}}
  accept
begin authenticators
PLAIN:
  driver = plaintext
  server_set_id = $auth2
  server_condition = ${if crypteq{$auth3}{${lookup{$auth2}lsearch{/etc/exim.pw}}}}
  server_advertise_condition = ${if def:tls_in_cipher}
"""


def _with(old: str, new: str) -> dict[str, str]:
    assert old in MAIN
    return {"exim.conf": MAIN.replace(old, new)}


GOOD = {"exim.conf": MAIN}
RELAY = "  accept authenticated = *\n"
CASES = [
    Case(
        "accept everything", _with("  accept hosts = +relay_from_hosts\n", "  accept hosts = *\n"), "exim.relay", "open", GOOD
    ),
    Case("no relay rule", _with("          domains = +local_domains : +relay_to_domains\n", ""), "exim.relay", "open", GOOD),
    Case("every host", _with("203.0.113.0/28", "0.0.0.0/0"), "exim.relay-from-hosts", "open", GOOD),
    Case("a provider's network", _with("203.0.113.0/28", "203.0.0.0/17"), "lint.wide-network", "unknown", GOOD),
    Case("half of all", _with("203.0.113.0/28", "128.0.0.0/1"), "exim.relay-from-hosts", "open", GOOD),
    Case("negated list", _with("203.0.113.0/28", "! 192.0.2.0/24"), "exim.relay-from-hosts", "open", GOOD),
    Case("IPv6 alone", _with("203.0.113.0/28", "2000::::/3"), "exim.relay-from-hosts", "open", GOOD),
    Case("every domain", _with("backup.example.net", "*"), "exim.relay-to-domains", "open", GOOD),
    Case("every domain with our MX", _with("backup.example.net", "@mx_any"), "exim.mx-any", "open", GOOD),
    Case("by sender", _with(RELAY, "  accept senders = *@example.com\n"), "exim.sender", "open", GOOD),
    Case("by sender's domain", _with(RELAY, "  accept sender_domains = +local_domains\n"), "exim.sender", "open", GOOD),
    Case("by null sender", _with(RELAY, "  accept senders = :\n"), "exim.sender", "open", GOOD),
    Case("by HELO", _with(RELAY, "  accept condition = ${if eq{$sender_helo_name}{friend}}\n"), "exim.relay", "open", GOOD),
    Case("over TLS", _with(RELAY, "  accept encrypted = *\n"), "exim.relay", "open", GOOD),
    Case("verified sender", _with(RELAY, "  accept verify = sender\n"), "exim.relay", "open", GOOD),
    Case("always true", _with(RELAY, "  accept condition = yes\n"), "exim.relay", "open", GOOD),
    Case(
        "a look-up decides", _with(RELAY, "  accept condition = ${lookup mysql{select 1}}\n"), "exim.undecided", "unknown", GOOD
    ),
    Case("a file elsewhere", _with(RELAY, "  accept hosts = /no/such/file\n"), "exim.undecided", "unknown", GOOD),
    Case("a negated condition", _with(RELAY, "  accept !hosts = 192.0.2.1\n"), "exim.relay", "open", GOOD),
    Case("an inline list", _with("acl_smtp_rcpt = acl_check_rcpt", "acl_smtp_rcpt = accept"), "exim.relay", "open", GOOD),
    Case(
        "percent hack",
        {
            "exim.conf": MAIN.replace("acl_smtp_rcpt", "percent_hack_domains = *\nacl_smtp_rcpt").replace(
                "local_parts = ^[.] : ^.*[@%!/|]", "local_parts = ^[.]"
            )
        },
        "exim.percent-hack",
        "open",
        GOOD,
    ),
    Case(
        "any password",
        _with("${if crypteq{$auth3}{${lookup{$auth2}lsearch{/etc/exim.pw}}}}", "yes"),
        "exim.any-password",
        "open",
        GOOD,
    ),
    Case("PROXY from everyone", _with("tls_advertise_hosts = *", "hosts_proxy = *"), "exim.hosts-proxy", "open", GOOD),
    Case(
        "XCLIENT from everyone",
        _with("tls_advertise_hosts = *", "hosts_xclient = 0.0.0.0/0"),
        "exim.hosts-xclient",
        "open",
        GOOD,
    ),
    Case(
        "clear passwords",
        _with("  server_advertise_condition = ${if def:tls_in_cipher}\n", ""),
        "exim.clear-password",
        "closed",
        GOOD,
    ),
    Case("look-alike", _with(": example.com", ": *example.com"), "exim.lookalike-domain", "closed", GOOD),
    Case("look-alike regex", _with(": example.com", ": ^.*example\\\\.com"), "exim.lookalike-domain", "closed", GOOD),
    Case("banner", _with("smtp_banner = $smtp_active_hostname ESMTP\n", ""), "exim.banner", "closed", GOOD),
    Case("no sync", _with("tls_advertise_hosts = *", "smtp_enforce_sync = false"), "exim.smtp-enforce-sync", "closed", GOOD),
    Case("literals", _with("tls_advertise_hosts = *", "allow_domain_literals"), "exim.domain-literals", "closed", GOOD),
    Case("container", _with("203.0.113.0/28", "172.16.0.0/12"), "lint.container-gateway", "closed", GOOD),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_fault_is_found_and_its_repair_is_closed(case: Case, tmp_path: Path) -> None:
    result = lint(written(tmp_path / "bad", case.files), None)
    assert result.verdict == case.verdict, result
    finding = next((finding for finding in result.findings if finding.id == case.finding), None)
    assert finding is not None, result.findings
    assert finding.fix
    assert bool(result.can_relay) or case.verdict != "open"
    repaired = lint(written(tmp_path / "good", case.repaired), None)
    assert repaired.verdict is Verdict.CLOSED
    assert case.finding not in {finding.id for finding in repaired.findings}


def test_the_finding_names_file_and_line_of_the_list(tmp_path: Path) -> None:
    result = lint(written(tmp_path, _with("203.0.113.0/28", "0.0.0.0/0")), None)
    finding = result.findings[0]
    assert (finding.severity, finding.line) == (Severity.CRITICAL, 4)
    assert finding.file.endswith("exim.conf")
    assert result.can_relay[0].startswith("every IPv4 address, not logged in, could send to anywhere because ")


def test_one_client_is_asked_for_alone(tmp_path: Path) -> None:
    folder = written(tmp_path, GOOD)
    assert lint(folder, ip_address("203.0.113.7")).verdict is Verdict.OPEN
    assert lint(folder, ip_address("203.0.113.99")).verdict is Verdict.CLOSED
    assert lint(folder, ip_address("203.0.113.7")).can_relay[0].startswith("203.0.113.7, not logged in, could send to anywhere")


def test_macros_conditions_and_includes_decide(tmp_path: Path) -> None:
    text = ".ifdef WIDE\nNETS = 0.0.0.0/0\n.else\nNETS = 192.0.2.1\n.endif\n" + MAIN.replace("203.0.113.0/28", "NETS")
    assert lint(written(tmp_path, {"exim.conf": text}), None).verdict is Verdict.CLOSED
    with_include = {"exim.conf": ".include local.conf\n" + text, "local.conf": "WIDE = yes\n"}
    assert lint(written(tmp_path, with_include), None).verdict is Verdict.OPEN


def test_an_include_that_is_not_there_leaves_it_open_what_it_says(tmp_path: Path) -> None:
    result = lint(written(tmp_path, {"exim.conf": ".include /etc/exim/absent.conf\n" + MAIN}), None)
    assert result.verdict is Verdict.UNKNOWN
    assert result.findings[0].id == "exim.include-missing"


def test_hosts_from_a_file_beside_the_configuration(tmp_path: Path) -> None:
    files = {**_with("203.0.113.0/28", "net-iplsearch;/etc/exim/relays"), "relays": "203.0.113.64/26: yes\n198.51.100.1\n"}
    files["exim.conf"] = files["exim.conf"].replace("net-iplsearch", "iplsearch")
    folder = written(tmp_path, files)
    assert lint(folder, ip_address("203.0.113.70")).verdict is Verdict.OPEN
    assert lint(folder, ip_address("198.51.100.1")).verdict is Verdict.OPEN
    assert lint(folder, ip_address("198.51.100.2")).verdict is Verdict.CLOSED


def test_an_earlier_refusal_wins_over_a_later_acceptance(tmp_path: Path) -> None:
    text = MAIN.replace("  accept hosts = :\n", "  deny !hosts = +relay_from_hosts : 192.0.2.0/24\n  accept\n")
    folder = written(tmp_path, {"exim.conf": text})
    assert lint(folder, ip_address("8.8.8.8")).verdict is Verdict.CLOSED
    assert lint(folder, ip_address("192.0.2.9")).verdict is Verdict.OPEN


def test_an_acl_called_by_another_decides(tmp_path: Path) -> None:
    called = MAIN.replace(RELAY, "  accept acl = friends\n").replace(
        "acl_check_data:", "friends:\n  accept hosts = 198.51.100.0/25\n  deny\nacl_check_data:"
    )
    folder = written(tmp_path, {"exim.conf": called})
    assert lint(folder, ip_address("198.51.100.3")).verdict is Verdict.OPEN
    assert lint(folder, ip_address("8.8.8.8")).verdict is Verdict.CLOSED


def test_endpass_refuses_instead_of_going_on(tmp_path: Path) -> None:
    text = MAIN.replace("  require verify = sender\n", "  accept hosts = *\n         endpass\n         hosts = 192.0.2.1\n")
    folder = written(tmp_path, {"exim.conf": text})
    assert lint(folder, ip_address("203.0.113.7")).verdict is Verdict.CLOSED
    assert lint(folder, ip_address("192.0.2.1")).verdict is Verdict.OPEN


def test_another_step_of_the_conversation_may_refuse(tmp_path: Path) -> None:
    text = MAIN.replace("acl_smtp_rcpt = ", "acl_smtp_mail = deny\nacl_smtp_rcpt = ").replace("203.0.113.0/28", "0.0.0.0/0")
    assert lint(written(tmp_path, {"exim.conf": text}), None).verdict is Verdict.CLOSED


def _verdict(tmp_path: Path, acl: str) -> str:
    text = MAIN[: MAIN.index("begin acl")] + "acl_smtp_connect = first\nbegin acl\n" + acl
    folder = written(tmp_path, {"exim.conf": text.replace("acl_smtp_data = acl_check_data\n", "")})
    return str(lint(folder, ip_address("8.8.8.8")).verdict)


@pytest.mark.parametrize(
    ("acl", "verdict"),
    [
        # A star matches no null sender, so its negation does.
        ("first:\n  accept\nacl_check_rcpt:\n  accept senders = ! *\n", "open"),
        # A null sender has an empty domain, which a star matches.
        ("first:\n  accept\nacl_check_rcpt:\n  deny sender_domains = *\n  accept\n", "closed"),
        # What cannot be asked at a stage is a temporary error, also where nothing hangs on it.
        ("first:\n  warn authenticated = *\n  accept\nacl_check_rcpt:\n  accept\n", "closed"),
        ("first:\n  accept hosts = *\n  warn authenticated = *\nacl_check_rcpt:\n  accept\n", "open"),
        # A list that is called and defers decides for its caller, whatever the caller makes of yes and no.
        ("first:\n  accept\nacl_check_rcpt:\n  accept !acl = called\n  accept\ncalled:\n  defer hosts = *\n", "closed"),
        ("first:\n  accept\nacl_check_rcpt:\n  accept !acl = called\ncalled:\n  drop hosts = *\n", "open"),
        # What is discarded is accepted and goes nowhere.
        ("first:\n  accept\nacl_check_rcpt:\n  discard hosts = *\n  accept\n", "closed"),
    ],
)
def test_what_a_real_exim_was_seen_to_do(acl: str, verdict: str, tmp_path: Path) -> None:
    assert _verdict(tmp_path, acl) == verdict


def _debian(nets: str, domains: str = "", split: str = "true") -> dict[str, str]:
    settings_ = (
        "dc_eximconfig_configtype='internet'\ndc_other_hostnames='example.com'\n"
        f"dc_relay_domains='{domains}'\ndc_relay_nets='{nets}'\ndc_use_split_config='{split}'\n"
    )
    main = (
        "domainlist local_domains = MAIN_LOCAL_DOMAINS\ndomainlist relay_to_domains = MAIN_RELAY_TO_DOMAINS\n"
        "hostlist relay_from_hosts = MAIN_RELAY_NETS\nacl_smtp_rcpt = acl_check_rcpt\n"
    )
    acl = (
        "begin acl\nacl_check_rcpt:\n  accept hosts = +relay_from_hosts\n"
        "  require domains = +local_domains : +relay_to_domains\n  accept\n"
    )
    return {
        "update-exim4.conf.conf": settings_,
        "conf.d/main/01_main": main,
        "conf.d/acl/30_rcpt": acl,
        **{f"conf.d/{section}/00_header": "" for section in ("router", "transport", "retry", "rewrite", "auth")},
        "exim4.conf.template": main + acl,
    }


@pytest.mark.parametrize("split", ["true", "false"])
def test_debian_settings_become_macros(split: str, tmp_path: Path) -> None:
    closed = lint(written(tmp_path / "a", _debian("10.0.0.0/8 ; 2001:db8::/48", split=split)), None)
    assert closed.verdict is Verdict.CLOSED
    assert any("10.0.0.0/8" in sentence for sentence in closed.can_relay)
    wide = lint(written(tmp_path / "b", _debian("0.0.0.0/0", split=split)), None)
    assert wide.verdict is Verdict.OPEN
    finding = wide.findings[0]
    assert finding.file.endswith("update-exim4.conf.conf")
    assert finding.line == 4
    assert lint(written(tmp_path / "c", _debian("", "*", split)), None).verdict is Verdict.OPEN


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("begin acl\n  accept\n", 2),
        ("begin acl\na:\n  hosts = *\n", 3),
        (".endif\n", 1),
        ("X = 1\nX = 2\n", 2),
        ("A = " + "x" * 60_000 + "\nB = A A A\n", 2),
    ],
)
def test_what_is_malformed_is_an_error_with_its_line(text: str, line: int, tmp_path: Path) -> None:
    with pytest.raises(LintError) as caught:
        lint(written(tmp_path, {"exim.conf": text}), None)
    assert caught.value.line == line
    assert caught.value.file.endswith("exim.conf")


def test_a_file_that_includes_itself_ends(tmp_path: Path) -> None:
    with pytest.raises(LintError, match="include"):
        lint(written(tmp_path, {"exim.conf": ".include exim.conf\n"}), None)


def test_macros_that_double_each_other_end(tmp_path: Path) -> None:
    text = "".join(f"A{n}Z = {f'A{n - 1}Z' * 2 if n else 'xx'}\n" for n in range(40))
    with pytest.raises(LintError):
        lint(written(tmp_path, {"exim.conf": text}), None)


def test_a_hundred_thousand_networks_are_judged(tmp_path: Path) -> None:
    nets = " : ".join(f"{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}.7" for n in range(1_000_000, 1_003_000))
    result = lint(written(tmp_path, _with("203.0.113.0/28", nets)), ip_address("15.66.64.7"))
    assert result.verdict is Verdict.OPEN


_WORDS = st.sampled_from(
    [
        *MAIN.split("\n"),
        ".ifdef X",
        ".else",
        ".endif",
        "X = y",
        "X == z",
        "accept",
        "deny",
        "  hosts = !*.a : +b : ^(a|b)*$",
        "a:",
        "begin acl",
        "begin routers",
        "acl_smtp_rcpt = ${if eq{a}{b}{c}{d}}",
        "  acl = acl_check_rcpt",
        "\\",
        "${if",
        "  domains = <; a;;b",
    ]
)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.one_of(_WORDS, st.text(max_size=30)), max_size=40))
def test_any_text_gives_a_result_or_an_error(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    folder = written(tmp_path_factory.mktemp("exim"), {"exim.conf": "\n".join(lines).encode("utf-8", "replace").decode()})
    try:
        result = lint(folder, None)
    except LintError:
        return
    assert result.verdict in Verdict
    assert all(finding.message.isascii() and len(finding.message) <= 500 for finding in result.findings)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_octets_give_a_result_or_an_error(tmp_path_factory: pytest.TempPathFactory, octets: bytes) -> None:
    folder = tmp_path_factory.mktemp("exim")
    (folder / "exim.conf").write_bytes(octets)
    try:
        result = lint(folder, None)
    except LintError:
        return
    assert result.verdict in Verdict
