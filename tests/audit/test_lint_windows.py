"""Exchange and hMailServer, from what they export: each fault is found, and its repaired twin is closed."""

from __future__ import annotations

import json
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lint_folder import Case, written

from postlatch.audit.lint import exchange, hmailserver
from postlatch.audit.lint.problem import LintError
from postlatch.audit.values import LintResult, Verdict

EVERYWHERE = "0.0.0.0-255.255.255.255,::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
ANONYMOUS = "NT AUTHORITY\\ANONYMOUS LOGON"
RELAY = "{Ms-Exch-SMTP-Accept-Any-Recipient}"
FRONT = {
    "Identity": "EX1\\Default Frontend EX1",
    "Name": "Default Frontend EX1",
    "Bindings": "[::]:25,0.0.0.0:25",
    "RemoteIPRanges": EVERYWHERE,
    "AuthMechanism": "Tls, Integrated, BasicAuth, BasicAuthRequireTLS",
    "PermissionGroups": "AnonymousUsers, ExchangeServers, ExchangeLegacyServers",
    "Enabled": True,
}
PRINTERS = {**FRONT, "Identity": "EX1\\Printers", "Name": "Printers", "RemoteIPRanges": "10.1.2.3,10.1.2.8-10.1.2.9"}
PERMISSIONS = [
    {"Identity": "EX1\\Default Frontend EX1", "User": ANONYMOUS, "ExtendedRights": "{ms-Exch-SMTP-Submit}", "Deny": False},
    {"Identity": "EX1\\Printers", "User": ANONYMOUS, "ExtendedRights": RELAY, "Deny": False},
]
DOMAINS = [{"DomainName": "example.com", "DomainType": "Authoritative", "AddressBookEnabled": True}]


def _export(front: dict[str, object] | None = None, permissions: list[object] | None = None, **more: object) -> dict[str, str]:
    made = {
        "connectors": [{**FRONT, **(front or {})}, PRINTERS],
        "permissions": [*PERMISSIONS, *(permissions or [])],
        "domains": DOMAINS,
        **more,
    }
    return {"exchange.json": json.dumps(made)}


def _right(name: str) -> list[object]:
    return [{"Identity": "EX1\\Default Frontend EX1", "User": ANONYMOUS, "ExtendedRights": [name], "Deny": False}]


GOOD = _export()
EXCHANGE = [
    Case(
        "anonymous relay",
        _export(permissions=_right("Ms-Exch-SMTP-Accept-Any-Recipient")),
        "exchange.anonymous-relay",
        "open",
        GOOD,
    ),
    Case(
        "anonymous in German",
        _export(
            permissions=[
                {"Identity": "Default Frontend EX1", "User": "NT-AUTORITAET\\ANONYMOUS-ANMELDUNG", "ExtendedRights": RELAY}
            ]
        ),
        "exchange.anonymous-relay",
        "open",
        GOOD,
    ),
    Case(
        "externally secured",
        _export({"AuthMechanism": "Tls, ExternalAuthoritative"}),
        "exchange.external-authoritative",
        "open",
        GOOD,
    ),
    Case(
        "every domain",
        _export(domains=[{"DomainName": "*", "DomainType": "InternalRelay", "AddressBookEnabled": True}]),
        "exchange.any-domain",
        "open",
        GOOD,
    ),
    Case("no permissions", {"x.json": json.dumps([FRONT])}, "exchange.permissions-missing", "unknown", GOOD),
    Case("clear passwords", _export({"AuthMechanism": "Tls, BasicAuth"}), "exchange.clear-password", "closed", GOOD),
    Case(
        "local spoof",
        _export(permissions=_right("ms-Exch-SMTP-Accept-Authoritative-Domain-Sender")),
        "exchange.local-spoof",
        "closed",
        GOOD,
    ),
    Case(
        "unknown recipients",
        _export(domains=[{"DomainName": "x.org", "DomainType": "InternalRelay", "AddressBookEnabled": False}]),
        "exchange.unknown-recipients",
        "closed",
        GOOD,
    ),
    Case("direct send", _export(organization={"RejectDirectSend": False}), "exchange.direct-send", "closed", GOOD),
    Case(
        "inbound connector",
        _export(
            inbound=[{"Name": "in", "ConnectorType": "OnPremises", "SenderIPAddresses": [], "TlsSenderCertificateName": None}]
        ),
        "exchange.inbound-connector",
        "closed",
        _export(
            inbound=[{"Name": "in", "ConnectorType": "OnPremises", "SenderIPAddresses": [], "TlsSenderCertificateName": "mx.x"}]
        ),
    ),
]


def _range(options: int = 96203 | 131072, **more: object) -> dict[str, object]:
    row = {
        "rangename": "Internet",
        "rangepriorityid": 10,
        "rangelowerip1": 0,
        "rangelowerip2": None,
        "rangeupperip1": 4294967295,
    }
    return {**row, "rangeupperip2": None, "rangeoptions": options, "rangeexpires": 0, **more}


def _ranges(*rows: dict[str, object]) -> dict[str, str]:
    return {"ranges.json": json.dumps(rows)}


INTERNET = _ranges(_range())
SQL = (
    "insert into hm_securityranges (rangepriorityid, rangelowerip1, rangelowerip2, rangeupperip1, rangeupperip2, rangeoptions, "
    "rangename, rangeexpires, rangeexpirestime) values "
    "(10, 0, NULL, 4294967295, NULL, {options}, 'The ''net''', 0, '2001-01-01');\n"
)
HMAIL = [
    Case("external to external", _ranges(_range(96203 & ~65536)), "hmailserver.external-to-external", "open", INTERNET),
    Case("local to external", _ranges(_range(96203 & ~16384)), "hmailserver.local-to-external", "open", INTERNET),
    Case("the default has logins in clear", _ranges(_range(96203)), "hmailserver.clear-password", "closed", INTERNET),
    Case(
        "as text with switches",
        _ranges(
            {
                "Name": "Internet",
                "Priority": 10,
                "LowerIP": "0.0.0.0",
                "UpperIP": "255.255.255.255",
                "AllowSMTPConnections": True,
                "AllowDeliveryFromRemoteToRemote": True,
                "RequireSMTPAuthExternalToExternal": False,
            }
        ),
        "hmailserver.external-to-external",
        "open",
        INTERNET,
    ),
    Case(
        "as SQL",
        {"r.sql": SQL.format(options=96203 & ~65536)},
        "hmailserver.external-to-external",
        "open",
        {"r.sql": SQL.format(options=96203 | 131072)},
    ),
]

Lint = Callable[[Path, None], LintResult]


@pytest.mark.parametrize(
    ("lint", "case"),
    [*((exchange.lint, case) for case in EXCHANGE), *((hmailserver.lint, case) for case in HMAIL)],
    ids=[case.name for case in [*EXCHANGE, *HMAIL]],
)
def test_a_fault_is_found_and_its_repair_is_closed(lint: Lint, case: Case, tmp_path: Path) -> None:
    result = lint(_only(written(tmp_path / "bad", case.files)), None)
    assert result.verdict == case.verdict, result
    assert case.finding in {finding.id for finding in result.findings}
    assert all(finding.fix for finding in result.findings)
    repaired = lint(_only(written(tmp_path / "good", case.repaired)), None)
    assert repaired.verdict is Verdict.CLOSED, repaired
    assert case.finding not in {finding.id for finding in repaired.findings}


def _only(folder: Path) -> Path:
    return next(folder.iterdir())


def test_the_connector_with_the_narrowest_range_takes_the_client(tmp_path: Path) -> None:
    folder = written(tmp_path, GOOD)
    assert exchange.lint(folder, ip_address("10.1.2.9")).verdict is Verdict.OPEN
    assert exchange.lint(folder, ip_address("10.1.2.10")).verdict is Verdict.CLOSED
    assert "10.1.2.3, 10.1.2.8/31" in exchange.lint(folder, None).can_relay[0]


def test_a_denied_right_is_none(tmp_path: Path) -> None:
    name = "Ms-Exch-SMTP-Accept-Any-Recipient"
    denied = {"Identity": "EX1\\Default Frontend EX1", "User": ANONYMOUS, "ExtendedRights": name, "Deny": True}
    assert exchange.lint(written(tmp_path, _export(permissions=[*_right(name), denied])), None).verdict is Verdict.CLOSED


def test_a_connector_that_is_off_takes_nobody(tmp_path: Path) -> None:
    files = _export({"Enabled": False, "AuthMechanism": "ExternalAuthoritative"})
    assert exchange.lint(written(tmp_path, files), None).verdict is Verdict.CLOSED


def test_exchange_as_csv_in_utf_16_names_the_line(tmp_path: Path) -> None:
    connectors = (
        '#TYPE Selected\r\n"Name","Identity","Bindings","RemoteIPRanges","AuthMechanism","PermissionGroups","Enabled"\r\n'
        '"Relay","EX1\\Relay","0.0.0.0:25","0.0.0.0-255.255.255.255","Tls, ExternalAuthoritative","ExchangeServers","True"\r\n'
    )
    (tmp_path / "connectors.csv").write_bytes(connectors.encode("utf-16"))
    result = exchange.lint(tmp_path, None)
    assert result.verdict is Verdict.OPEN
    assert result.findings[0].line == 3


def test_ranges_as_objects_are_read(tmp_path: Path) -> None:
    made = [{"LowerBound": "10.0.0.1", "UpperBound": "10.0.0.4"}, {"Expression": "192.0.2.0/24"}]
    files = _export({"RemoteIPRanges": made, "AuthMechanism": "ExternalAuthoritative"})
    folder = written(tmp_path, files)
    assert exchange.lint(folder, ip_address("192.0.2.4")).verdict is Verdict.OPEN
    assert exchange.lint(folder, ip_address("192.0.3.4")).verdict is Verdict.CLOSED


def test_the_range_of_highest_priority_decides(tmp_path: Path) -> None:
    inner = _range(0, rangename="Banned", rangepriorityid=20, rangelowerip1=3221225984, rangeupperip1=3221226239)
    folder = written(tmp_path, _ranges(_range(96203 & ~65536), inner))
    assert hmailserver.lint(folder, ip_address("192.0.2.1")).verdict is Verdict.CLOSED
    assert hmailserver.lint(folder, ip_address("192.0.3.1")).verdict is Verdict.OPEN


def test_a_ban_that_ends_is_no_protection(tmp_path: Path) -> None:
    ban = _range(0, rangename="Auto-ban", rangepriorityid=20, rangeexpires=1)
    assert hmailserver.lint(written(tmp_path, _ranges(_range(96203 & ~65536), ban)), None).verdict is Verdict.OPEN


def test_an_ipv6_range_has_two_numbers(tmp_path: Path) -> None:
    low, high = 0x20010DB8_00000000, (1 << 64) - 1
    row = _range(96203 & ~65536, rangelowerip1=low, rangelowerip2=0, rangeupperip1=low, rangeupperip2=high)
    assert hmailserver.lint(written(tmp_path, _ranges(row)), ip_address("2001:db8::5")).verdict is Verdict.OPEN
    assert hmailserver.lint(tmp_path, ip_address("2001:db9::5")).verdict is Verdict.CLOSED


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "a;b\n1;2\n", '{"x": {}}', "[" * 5000])
@pytest.mark.parametrize("lint", [exchange.lint, hmailserver.lint])
def test_what_is_no_export_is_an_error(lint: Lint, text: str, tmp_path: Path) -> None:
    with pytest.raises(LintError):
        lint(_only(written(tmp_path, {"x.json": text})), None)


_KEYS = st.sampled_from(
    [
        "Name",
        "Identity",
        "RemoteIPRanges",
        "Bindings",
        "AuthMechanism",
        "PermissionGroups",
        "ExtendedRights",
        "User",
        "Deny",
        "DomainName",
        "DomainType",
        "rangeoptions",
        "rangelowerip1",
        "rangeupperip1",
        "rangepriorityid",
        "LowerIP",
        "UpperIP",
        "SenderIPAddresses",
        "RejectDirectSend",
    ]
)
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.sampled_from([EVERYWHERE, "::", ANONYMOUS])
)
_JSON = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=8), max_leaves=30
)


@settings(max_examples=150, deadline=None)
@given(_JSON, st.sampled_from([exchange.lint, hmailserver.lint]))
def test_any_objects_give_a_result_or_an_error(tmp_path_factory: pytest.TempPathFactory, made: object, lint: Lint) -> None:
    folder = written(tmp_path_factory.mktemp("export"), {"x.json": json.dumps(made)})
    try:
        result = lint(folder, None)
    except LintError:
        return
    assert result.verdict in Verdict
    assert all(finding.message.isascii() and len(finding.message) <= 500 for finding in result.findings)
