"""Haraka: each fault is found, and its repaired twin is closed."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lint_folder import Case, written

from postlatch.audit.lint.haraka import lint
from postlatch.audit.lint.problem import LintError
from postlatch.audit.values import Verdict

GOOD = {
    "config/plugins": "# first\ntls\nrelay\nauth/flat_file\nrcpt_to.in_host_list\nqueue/smtp_forward\n",
    "config/relay_acl_allow": "192.0.2.0/28 # printers\n2001:db8::1/128\n",
    "config/host_list": "example.com\n",
    "config/host_list_regex": "(?:.*\\.)?example\\.com\n",
    "config/connection.ini": "[haproxy]\nhosts[] = 10.0.0.5\n",
}
PLUGINS = GOOD["config/plugins"]
DESTINATION = '[domains]\nexample.org = { "action": "%s", "nexthop": "127.0.0.1" }\n'
BY_DESTINATION = {"config/relay.ini": "[relay]\ndest_domains=true\n"}
CASES = [
    Case("all", {**GOOD, "config/relay.ini": "[relay]\nall=true\n"}, "haraka.relay-all", "open", GOOD),
    Case("old plugin", {**GOOD, "config/plugins": PLUGINS + "relay_all\n"}, "haraka.relay-all", "open", GOOD),
    Case("wide", {**GOOD, "config/relay_acl_allow": "128.0.0.0/1\n"}, "haraka.relay-acl", "open", GOOD),
    Case("zero bits", {**GOOD, "config/relay_acl_allow": "0.0.0.0/0\n"}, "haraka.relay-acl", "unknown", GOOD),
    Case("IPv6 without bits", {**GOOD, "config/relay_acl_allow": "2001:db8::1\n"}, "lint.wide-network", "unknown", GOOD),
    Case(
        "by destination",
        {**GOOD, **BY_DESTINATION, "config/relay_dest_domains.ini": DESTINATION % "continue"},
        "haraka.dest-domains",
        "open",
        {**GOOD, **BY_DESTINATION, "config/relay_dest_domains.ini": DESTINATION % "deny"},
    ),
    Case("PROXY", {**GOOD, "config/connection.ini": "[haproxy]\nhosts[] = 0.0.0.0/0\n"}, "haraka.haproxy", "open", GOOD),
    Case("any domain", {**GOOD, "config/host_list_regex": ".*\n"}, "haraka.any-domain", "unknown", GOOD),
    Case("unknown plugin", {**GOOD, "config/plugins": PLUGINS + "our_own\n"}, "haraka.plugin", "unknown", GOOD),
    Case(
        "a plugin that relays",
        {**GOOD, "config/plugins": PLUGINS + "own\n", "plugins/own.js": "connection.relaying = true;\n"},
        "haraka.plugin",
        "unknown",
        {**GOOD, "config/plugins": PLUGINS + "own\n", "plugins/own.js": "next();\n"},
    ),
    Case("look-alike", {**GOOD, "config/host_list_regex": ".*example\\.com\n"}, "haraka.lookalike-domain", "closed", GOOD),
    Case(
        "clear passwords", {**GOOD, "config/plugins": PLUGINS.replace("tls\n", "")}, "haraka.auth-without-tls", "closed", GOOD
    ),
    Case(
        "catch-all",
        {**GOOD, "config/aliases": '@example.com: { "action": "alias", "to": "x@else.org" }\n'},
        "haraka.catch-all",
        "closed",
        GOOD,
    ),
    Case(
        "XCLIENT",
        {**GOOD, "config/plugins": PLUGINS + "xclient\n", "config/xclient.hosts": "198.51.100.9\n"},
        "haraka.xclient",
        "closed",
        {**GOOD, "config/plugins": PLUGINS + "xclient\n", "config/xclient.hosts": "127.0.0.1\n"},
    ),
    Case(
        "version",
        {**GOOD, "config/connection.ini": "[headers]\n; x\nshow_version=true\n"},
        "haraka.version",
        "closed",
        {**GOOD, "config/connection.ini": "[headers]\nshow_version=false\n"},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_fault_is_found_and_its_repair_is_closed(case: Case, tmp_path: Path) -> None:
    result = lint(written(tmp_path / "bad", case.files), None)
    assert result.verdict == case.verdict, result
    assert case.finding in {finding.id for finding in result.findings}
    repaired = lint(written(tmp_path / "good", case.repaired), None)
    assert repaired.verdict is Verdict.CLOSED, repaired
    assert case.finding not in {finding.id for finding in repaired.findings}


def test_the_list_counts_only_with_the_plugin_and_its_switch(tmp_path: Path) -> None:
    wide = {**GOOD, "config/relay_acl_allow": "128.0.0.0/1\n"}
    assert lint(written(tmp_path / "a", {**wide, "config/plugins": "rcpt_to.in_host_list\n"}), None).verdict is Verdict.CLOSED
    assert lint(written(tmp_path / "b", {**wide, "config/relay.ini": "[relay]\nacl=false\n"}), None).verdict is Verdict.CLOSED


def test_all_is_not_reached_behind_a_list_of_destinations(tmp_path: Path) -> None:
    files = {
        **GOOD,
        "config/relay.ini": "[relay]\nall=true\ndest_domains=true\n",
        "config/relay_dest_domains.ini": DESTINATION % "deny",
    }
    assert lint(written(tmp_path, files), None).verdict is Verdict.CLOSED


def test_one_client_is_asked_for_alone(tmp_path: Path) -> None:
    folder = written(tmp_path, GOOD) / "config"
    assert lint(folder, ip_address("192.0.2.3")).verdict is Verdict.OPEN
    assert lint(folder, ip_address("192.0.2.99")).verdict is Verdict.CLOSED
    assert lint(folder, ip_address("2001:db8::1")).verdict is Verdict.OPEN
    assert lint(folder, ip_address("2001:db8::2")).verdict is Verdict.CLOSED


def test_a_folder_without_plugins_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LintError, match="plugins"):
        lint(tmp_path, None)


_NAMES = ("plugins", "relay.ini", "relay_acl_allow", "relay_dest_domains.ini", "connection.ini", "host_list_regex", "aliases")
_LINES = st.one_of(
    st.sampled_from(
        [
            "relay",
            "[relay]",
            "all=true",
            "dest_domains=yes",
            "[domains]",
            "x = {",
            "hosts[] = ::/0",
            "0.0.0.0/33",
            "(a|*",
            "xclient",
        ]
    ),
    st.text(max_size=20),
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(_NAMES), st.lists(_LINES, max_size=8), max_size=7))
def test_any_text_gives_a_result_or_an_error(tmp_path_factory: pytest.TempPathFactory, files: dict[str, list[str]]) -> None:
    clean = {name: "\n".join(lines).encode("utf-8", "replace").decode() for name, lines in {"plugins": [], **files}.items()}
    try:
        result = lint(written(tmp_path_factory.mktemp("haraka"), clean), None)
    except LintError:
        return
    assert result.verdict in Verdict
    assert all(finding.message.isascii() and len(finding.message) <= 500 for finding in result.findings)
