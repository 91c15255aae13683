"""Anything in main.cf, master.cf and tables: a result, or an error that says why; never a crash."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from postlatch.audit.lint.postfix import lint
from postlatch.audit.lint.postfix.changes import patch
from postlatch.audit.lint.problem import LintError

NAMES = [
    "smtpd_relay_restrictions",
    "smtpd_recipient_restrictions",
    "smtpd_client_restrictions",
    "smtpd_data_restrictions",
    "mynetworks",
    "relay_domains",
    "smtpd_restriction_classes",
    "a",
    "mydestination",
    "smtpd_authorized_xclient_hosts",
    "inet_interfaces",
    "smtpd_sasl_auth_enable",
    "parent_domain_matches_subdomains",
    "relay_recipient_maps",
    "smtpd_upstream_proxy_protocol",
    "smtpd_sender_login_maps",
]
WORDS = (
    *(
        "check_sender_access ",
        "check_client_access ",
        "check_recipient_access ",
        "check_policy_service ",
        "warn_if_reject ",
        " ",
        ", ",
    ),
    *(
        "${",
        "}",
        "$",
        "{",
        "?",
        ":",
        "!",
        "/",
        "#",
        "$mynetworks",
        "regexp:t",
        "hash:t",
        "cidr:t",
        "mysql:x",
        "static:",
        "inline:{a=}",
    ),
    *(
        "permit",
        "permit_mynetworks",
        "reject_unauth_destination",
        "reject",
        "::/0",
        "127.0.0.0/8",
        "a",
        "@",
        "<",
        "yes",
        "é",
        "\x7f",
    ),
    *("permit_mx_backup", "check_relay_domains", "defer_if_permit", "{ a = OK }", "regexp:{{/a/ OK}}"),
)
LINES = (
    "/./ OK\n",
    "!/a/ OK\n",
    "if /b/\n",
    "endif\n",
    "OK",
    "a",
    "@",
    " ",
    "\n",
    "/",
    "10.0.0.0/8 OK\n",
    "/(a/ x\n",
    "<> OK\n",
    "/$1/ $1\n",
)
VALUES = st.lists(st.sampled_from(WORDS), max_size=8).map("".join)
SETTINGS = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=7)
TABLES = st.lists(st.sampled_from(LINES), max_size=8).map("".join)


@settings(max_examples=120, deadline=None)
@given(SETTINGS, SETTINGS, TABLES)
def test_anything_gives_a_result_or_an_error_with_its_reason(
    main: list[tuple[str, str]], options: list[tuple[str, str]], table: str
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in main))
        (folder / "master.cf").write_text(
            "smtp inet n - n - - smtpd\n" + "".join(f" -o {{ {name} = {value} }}\n" for name, value in options)
        )
        (folder / "t").write_text(table)
        _check(folder)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=100))
def test_octets_are_text_or_an_error(main: bytes, master: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "main.cf").write_bytes(main)
        (folder / "master.cf").write_bytes(b"smtp inet n - n - - smtpd\n" + master)
        _check(folder)


def _check(folder: Path) -> None:
    try:
        result = lint(folder, None)
    except LintError:
        return
    texts = [text for finding in result.findings for text in (finding.message, finding.why, finding.fix, finding.file)]
    assert all(text.isprintable() and text.isascii() for text in [*texts, *result.can_relay])
    changes = patch(folder, result.findings)
    assert changes == "" or changes.startswith("--- ")
