"""OpenSMTPD: each fault is found, and its repaired twin is closed."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lint_folder import Case, written

from postlatch.audit.lint.opensmtpd import lint
from postlatch.audit.lint.problem import LintError
from postlatch.audit.values import Verdict

MAIN = """\
table aliases file:/etc/mail/aliases
table trusted { 203.0.113.0/28, "2001:db8:1::/64" }
listen on socket
listen on egress tls pki mx.example.com
listen on egress port submission tls-require pki mx.example.com auth tag users
action "local" maildir alias <aliases>
action "out" relay
match from any for domain { "example.com", "*.example.com" } action "local"
match for local action "local"
match from src <trusted> for any action "out"
match auth from any for any action "out"
match for any action "out"
"""
LAST = 'match for any action "out"\n'
MATCH = "match "


def _with(old: str, new: str) -> dict[str, str]:
    assert old in MAIN
    return {"smtpd.conf": MAIN.replace(old, new)}


GOOD = {"smtpd.conf": MAIN}
ALL = 'match from any for any action "out"\n'
CASES = [
    Case("from any for any", _with(LAST, ALL), "opensmtpd.open-rule", "open", GOOD),
    Case(
        "from anywhere but one",
        _with(LAST, 'match from !src 192.0.2.1 for any action "out"\n'),
        "opensmtpd.open-rule",
        "open",
        GOOD,
    ),
    Case(
        "for anything but ours",
        _with(LAST, 'match from any for ! domain "x.org" action "out"\n'),
        "opensmtpd.open-rule",
        "open",
        GOOD,
    ),
    Case("every address", _with("203.0.113.0/28", "0.0.0.0/0"), "opensmtpd.open-rule", "open", GOOD),
    Case("every IPv6 address", _with("2001:db8:1::/64", "::/0"), "opensmtpd.open-rule", "open", GOOD),
    Case("a provider's network", _with("203.0.113.0/28", "203.0.0.0/17"), "lint.wide-network", "unknown", GOOD),
    Case(
        "by sender",
        _with(LAST, 'match from mail-from "@example.com" for any action "out"\n'),
        "opensmtpd.sender-trust",
        "open",
        GOOD,
    ),
    Case(
        "by sender, as a condition",
        _with(LAST, 'match from any mail-from { "boss@example.com" } for any action "out"\n'),
        "opensmtpd.sender-trust",
        "open",
        GOOD,
    ),
    Case("by HELO", _with(LAST, 'match from any helo "friend" for any action "out"\n'), "opensmtpd.open-rule", "open", GOOD),
    Case("over TLS", _with(LAST, 'match tls from any for any action "out"\n'), "opensmtpd.open-rule", "open", GOOD),
    Case(
        "regex for domains",
        _with('{ "example.com", "*.example.com" }', 'regex ".*" action "out"\n#'),
        "opensmtpd.open-rule",
        "open",
        GOOD,
    ),
    Case(
        "by a tag of an open listener",
        {
            "smtpd.conf": MAIN.replace("mx.example.com\nlisten", "mx.example.com tag mx\nlisten").replace(
                LAST, 'match tag mx from any for any action "out"\n'
            )
        },
        "opensmtpd.open-rule",
        "open",
        GOOD,
    ),
    Case(
        "PROXY from everyone",
        _with("egress tls pki mx.example.com\n", "egress tls pki mx.example.com proxy-v2\n"),
        "opensmtpd.proxy",
        "open",
        GOOD,
    ),
    Case(
        "a table in a database",
        _with('{ 203.0.113.0/28, "2001:db8:1::/64" }', "db:/etc/mail/t.db"),
        "opensmtpd.undecided",
        "unknown",
        GOOD,
    ),
    Case(
        "old grammar",
        {"smtpd.conf": "listen on all\naccept from any for any relay\n"},
        "opensmtpd.open-rule",
        "open",
        {"smtpd.conf": "listen on all\naccept from any for domain x.org deliver to maildir\naccept for any relay\n"},
    ),
    Case(
        "old grammar by sender",
        {"smtpd.conf": "listen on all\naccept sender <s> from any for any relay\ntable s { a@b.org }\n"},
        "opensmtpd.undecided",
        "unknown",
        {"smtpd.conf": "listen on all\naccept from local for any relay\n"},
    ),
    Case(
        "clear passwords",
        _with("tls-require pki mx.example.com auth", "pki mx.example.com auth"),
        "opensmtpd.clear-password",
        "closed",
        GOOD,
    ),
    Case("optional logins", _with("auth tag users", "auth-optional tag users"), "opensmtpd.auth-optional", "closed", GOOD),
    Case(
        "look-alike",
        _with('domain { "example.com", "*.example.com" }', 'domain regex "example\\\\.com$"'),
        "opensmtpd.lookalike-domain",
        "closed",
        GOOD,
    ),
    Case(
        "names of addresses",
        _with(LAST, 'match from rdns "mail.example.com" for any action "out"\n'),
        "opensmtpd.rdns",
        "closed",
        GOOD,
    ),
    Case(
        "no verify",
        _with('action "out" relay', 'action "out" relay host smtp+tls://x tls no-verify'),
        "opensmtpd.no-verify",
        "closed",
        GOOD,
    ),
    Case(
        "order", _with(LAST, LAST + ALL + 'match from any for domain "z.org" action "local"\n'), "opensmtpd.order", "open", GOOD
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


def test_the_first_rule_that_matches_decides(tmp_path: Path) -> None:
    text = MAIN.replace(
        LAST, 'match from src 198.51.100.0/24 for any reject\nmatch from src 198.51.100.0/23 for any action "out"\n'
    )
    folder = written(tmp_path, {"smtpd.conf": text})
    assert lint(folder, ip_address("198.51.100.7")).verdict is Verdict.CLOSED
    assert lint(folder, ip_address("198.51.101.7")).verdict is Verdict.OPEN


def test_a_listener_that_asks_for_a_login_lets_nobody_relay(tmp_path: Path) -> None:
    text = MAIN.replace(LAST, 'match tag users from any for any action "out"\n')
    assert lint(written(tmp_path, {"smtpd.conf": text}), None).verdict is Verdict.CLOSED


def test_a_listener_on_the_loopback_is_not_reached_by_strangers(tmp_path: Path) -> None:
    text = "listen on lo0\naction o relay\nmatch from any for any action o\n"
    assert lint(written(tmp_path, {"smtpd.conf": text}), None).verdict is Verdict.CLOSED


def test_a_filter_that_looks_at_the_client_leaves_it_open(tmp_path: Path) -> None:
    text = MAIN.replace(LAST, ALL).replace("egress tls pki mx.example.com\n", 'egress tls pki x filter "src"\n')
    text += 'filter "src" phase connect match !src <trusted> disconnect "550 no"\n'
    result = lint(written(tmp_path, {"smtpd.conf": text}), None)
    assert result.verdict is Verdict.UNKNOWN
    assert "filter" in result.findings[0].message


def test_macros_includes_and_files_of_tables_are_read(tmp_path: Path) -> None:
    files = {
        "smtpd.conf": 'nets = "198.51.100.0/25"\ninclude "more.conf"\ntable t file:/etc/mail/nets\nlisten on egress\n'
        "action o relay\nmatch from src $nets for any action o\nmatch from src <t> for any \\\n  action o\n",
        "more.conf": 'action "x" mbox\n',
        "nets": "# ours\n192.0.2.0/25\n",
    }
    folder = written(tmp_path, files)
    for address, verdict in (("198.51.100.1", "open"), ("192.0.2.1", "open"), ("192.0.2.200", "closed")):
        assert lint(folder, ip_address(address)).verdict == verdict


def test_the_finding_names_the_line_of_the_rule(tmp_path: Path) -> None:
    finding = lint(written(tmp_path, _with(LAST, ALL)), None).findings[0]
    assert (finding.line, finding.file.endswith("smtpd.conf")) == (12, True)


@pytest.mark.parametrize("text", ["", "hello\n", 'match from "any\n', "listen\nlisten on x\n", "table x\nlisten on y\n"])
def test_what_is_no_smtpd_conf_is_an_error(text: str, tmp_path: Path) -> None:
    with pytest.raises(LintError):
        lint(written(tmp_path, {"smtpd.conf": text}), None)


def test_a_file_that_includes_itself_ends(tmp_path: Path) -> None:
    with pytest.raises(LintError, match="include"):
        lint(written(tmp_path, {"smtpd.conf": 'include "smtpd.conf"\n'}), None)


_TEXT = (
    'match from any for ! src <t> { } , = "x" regex mail-from action out relay listen on egress tag auth tls reject accept '
    "table file:x include $m domain local rdns helo rcpt-to filter disconnect proxy-v2 # sender"
)
_WORDS = st.sampled_from([*_TEXT.split(), "\\\n", "\n", "\n"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(_WORDS, st.text(max_size=8)), max_size=60))
def test_any_text_gives_a_result_or_an_error(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> None:
    text = " ".join(words).encode("utf-8", "replace").decode()
    folder = written(tmp_path_factory.mktemp("smtpd"), {"smtpd.conf": "listen on egress\n" + text})
    try:
        result = lint(folder, None)
    except LintError:
        return
    assert result.verdict in Verdict
    assert all(finding.message.isascii() and len(finding.message) <= 500 for finding in result.findings)
